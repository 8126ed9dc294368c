"""Classification by networks of signs: drawn, refitted, or rounded after training."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import cvxjax as cj
from cvxjax.recovery.signs_refitted import refit
from experiments._frame.clock import timed
from experiments._quantized.planted_signs import cosine_adam, quadratic

_SIDES = ("left", "right")


class Split(NamedTuple):
    """Rows [n, d] and labels [n], -1 and 1."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def sampled(
    split: Split, *, beta: float, num_neurons: int, seed: int
) -> dict[str, Any]:
    """The relaxation, its certificate, and networks drawn from it."""
    program = cj.programs.make_quantized(*split.train, beta=beta)
    solution, (_, solve_seconds) = timed(lambda: cj.solve(program), 2)
    certificate = cj.certify(program, solution)
    Q = np.asarray(program.matrix(solution.params))
    found: dict[str, Any] = {
        "bound": certificate.dual,
        "gap": certificate.gap,
        "rho": np.mean(np.diag(Q)),
        "solve_seconds": solve_seconds,
    }
    d = len(Q) // 2
    fits = [quadratic(Q[:d, d:], X) for X, _ in split]
    found["relaxation_accuracy"] = _shares(fits, split)
    for name, again in (("drawn", False), ("refitted", True)):
        variables, (_, seconds) = timed(
            lambda again=again: program.recover(
                solution.params,
                key=jax.random.key(seed),
                num_neurons=num_neurons,
                refit=again,
            ),
            2,
        )
        found |= _judged(name, variables, split, beta)
        found |= {f"{name}_seconds": solve_seconds + seconds}
    rng = np.random.default_rng(seed)
    u, v = rng.choice([-1, 1], (2, num_neurons, d)).astype(np.int8)
    return found | _judged("random", _refitted(u, v, split, beta), split, beta)


def _refitted(u: Any, v: Any, split: Split, beta: float) -> Any:
    best = refit(u, v, np.zeros(len(u)), *split.train, beta=beta)
    return cj.networks.quantized_variables(best.u, best.v, best.alpha)


def _judged(name: str, variables: Any, split: Split, beta: float) -> dict[str, Any]:
    """Objective, penalty, neurons and accuracies of one network."""
    network = cj.networks.Quantized()
    X, y = map(jnp.asarray, split.train)
    objective = cj.networks.weight_decay_objective(
        network, variables, X, y, beta=beta, penalty=network.penalty
    )
    fits = [np.asarray(network.apply(variables, side)) for side, _ in split]
    alpha = variables["params"]["second"]["kernel"]
    return {
        f"{name}_objective": np.asarray(objective),
        f"{name}_penalty": np.sum(np.abs(alpha)),
        f"{name}_neurons": len(alpha),
        f"{name}_accuracy": _shares(fits, split),
    }


def _shares(fits: Any, split: Split) -> np.ndarray:
    """Of rows with the right sign, [..., 2]: training, test."""
    pairs = zip(fits, split, strict=True)
    return np.stack([np.mean(np.sign(f) == y, axis=-1) for f, (_, y) in pairs], axis=-1)


def _itself(variables: Any) -> Any:
    return variables


@jax.jit
def _fits(variables: Any, X: jax.Array) -> Any:
    """Of all records, [R, n]."""
    return jax.lax.map(lambda one: cj.networks.Quantized().apply(one, X), variables)


def trained(
    split: Split, *, beta: float, num_neurons: int, rate: float, steps: int, seed: int
) -> dict[str, Any]:
    """Real weights by Adam, and their signs, at every record."""
    network = cj.networks.Quantized(num_neurons)
    result = cj.networks.train(
        jax.random.key(seed),
        network,
        split.train,
        cosine_adam(rate, steps),
        steps=steps,
        weight_decay=beta,
        metrics=_itself,
        penalty=network.penalty,
    )
    records = jax.tree.map(lambda leaf: leaf[0], result.metrics)
    signs = cj.networks.round_signs(records)
    accuracies = {
        name: _shares(
            [np.asarray(_fits(these, jnp.asarray(X))) for X, _ in split], split
        )
        for name, these in (("adam_records", records), ("rounded_records", signs))
    }
    last = jax.tree.map(lambda leaf: leaf[-1], signs)
    u, v = (np.asarray(last["params"][side]["kernel"]).T for side in _SIDES)
    refitted = _refitted(u, v, split, beta)
    return (
        accuracies
        | {"adam": np.asarray(result.objective)[0], "adam_seconds": result.seconds}
        | _judged("rounded", last, split, beta)
        | _judged("rounded_refitted", refitted, split, beta)
    )
