"""Local searches of a network's weights, to compare with its convex program.

All minimise L(f(X), y) + (beta / 2) ||params||^2 from the same starts, those of the
network's own initialisation: Adam on all rows and SGD with momentum in batches, each
with a cosine schedule to zero, and L-BFGS.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy
from jax.flatten_util import ravel_pytree

import cvxjax as cj

_RECORDS = 100  # of a run of L-BFGS
_MOMENTUM = 0.9


class Search(NamedTuple):
    """Runs of one method from several starts."""

    label: str
    network: Any  # that is trained
    objective: np.ndarray  # [start, record], of all rows
    seconds: np.ndarray  # [start, record], without compilation
    variables: list[Any]  # of every start, at its end

    @property
    def last(self) -> np.ndarray:
        """The last objectives, [start]; inf where a run diverged."""
        return np.nan_to_num(self.objective[:, -1], nan=np.inf, posinf=np.inf)

    @property
    def best(self) -> Any:
        """The variables of the start that ends lowest."""
        return self.variables[int(np.argmin(self.last))]


def lowest(searches: Sequence[Search]) -> Search:
    """The one of which a start ends lowest."""
    return min(searches, key=lambda search: float(np.min(search.last)))


def searches(
    kind: str,
    key: jax.Array,
    networks: Sequence[Any],
    data: tuple[Any, Any],
    *,
    rates: Sequence[float] = (),
    **options: Any,
) -> list[Search]:
    """Of one kind, "adam", "lbfgs" or "sgd": every network with every rate.

    Args:
      kind: of `KINDS`.
      key: of the starts.
      networks: of several widths.
      data: (X, y).
      rates: at first; none for L-BFGS.
      **options: of the function of this kind.
    """
    each = [{"rate": rate} for rate in rates] or [{}]
    return [
        KINDS[kind](key, network, data, **rate, **options)
        for network in networks
        for rate in each
    ]


def adam(
    key: jax.Array, network: Any, data: tuple[Any, Any], *, rate: float, **options: Any
) -> Search:
    """Adam on all rows; `rate` is its first one.

    Args:
      key: of the starts.
      network: a Flax module.
      data: (X, y).
      rate: > 0.
      **options: steps, starts, beta, and further ones of `cj.networks.train`.
    """
    optimizer = optax.adam(optax.cosine_decay_schedule(rate, options["steps"]))
    return _trained(f"Adam, rate {rate:g}", key, network, data, optimizer, **options)


def sgd(
    key: jax.Array, network: Any, data: tuple[Any, Any], *, rate: float, **options: Any
) -> Search:
    """SGD of momentum 0.9 in batches; `rate` is its first one, times the rows.

    Args:
      key: of the starts.
      network: a Flax module.
      data: (X, y).
      rate: > 0.
      **options: as in `adam`, with `batch_size`.
    """
    schedule = optax.cosine_decay_schedule(rate / len(data[1]), options["steps"])
    optimizer, label = optax.sgd(schedule, _MOMENTUM), f"SGD, rate {rate:g} / n"
    return _trained(label, key, network, data, optimizer, **options)


def _trained(
    label: str,
    key: jax.Array,
    network: Any,
    data: tuple[Any, Any],
    optimizer: Any,
    *,
    beta: float,
    starts: int,
    **options: Any,
) -> Search:
    """Starts run together, and each has a share of their time."""
    result = cj.networks.train(
        key, network, data, optimizer, weight_decay=beta, num_seeds=starts, **options
    )
    seconds = np.broadcast_to(result.seconds / starts, result.objective.shape)
    each = [
        jax.tree.map(lambda leaf, i=i: np.asarray(leaf[i]), result.variables)
        for i in range(starts)
    ]
    return Search(label, network, np.asarray(result.objective), seconds, each)


def lbfgs(
    key: jax.Array,
    network: Any,
    data: tuple[Any, Any],
    *,
    beta: float,
    steps: int,
    starts: int,
) -> Search:
    """SciPy's L-BFGS-B with its own settings, `steps` iterations at most."""
    X, y = (jnp.asarray(part) for part in data)

    def start(seed: int) -> Any:
        own = jax.random.fold_in(key, seed)
        return network.init(jax.random.fold_in(own, 0), X[:1])  # as in `train`

    unravel = ravel_pytree(start(0))[1]

    @jax.jit
    @jax.value_and_grad
    def objective(weights: Any) -> Any:
        return cj.networks.weight_decay_objective(
            network, unravel(weights), X, y, beta=beta
        )

    first = ravel_pytree(start(0))[0]
    jax.block_until_ready(objective(first))  # compiles
    ends = [
        _descend(objective, ravel_pytree(start(i))[0], steps) for i in range(starts)
    ]
    values, seconds = (np.stack([end[k] for end in ends]) for k in (0, 1))
    variables = [jax.tree.map(np.asarray, unravel(end[2])) for end in ends]
    return Search("L-BFGS", network, values, seconds, variables)


def _descend(
    objective: Any, weights: Any, steps: int
) -> tuple[np.ndarray, np.ndarray, Any]:
    """Objectives and seconds of `_RECORDS` iterations, and the last weights."""
    lines = [(float(objective(weights)[0]), 0.0)]
    begun = time.perf_counter()

    def record(intermediate_result: Any) -> None:
        lines.append((float(intermediate_result.fun), time.perf_counter() - begun))

    found = scipy.optimize.minimize(
        lambda w: [np.asarray(part, np.float64) for part in objective(w)],
        np.asarray(weights, np.float64),
        jac=True,
        method="L-BFGS-B",
        callback=record,
        options={"maxiter": steps, "maxfun": 2 * steps},
    )
    chosen = np.linspace(0, len(lines) - 1, _RECORDS).round().astype(int)
    values, seconds = np.asarray(lines)[chosen].T
    return values, seconds, jnp.asarray(found.x)


KINDS: dict[str, Callable[..., Search]] = {"adam": adam, "lbfgs": lbfgs, "sgd": sgd}
