"""Networks of signs learn a planted one: errors against the number of neurons."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import numpy as np
import optax

import cvxjax as cj
from cvxjax.recovery.signs import sample_signs
from cvxjax.recovery.signs_refitted import refit

_TEST = 1000  # rows


class Planted(NamedTuple):
    """Gaussian rows and what the planted network says, without noise."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]


def make_planted(seed: int, n: int, d: int, num_neurons: int) -> Planted:
    """Signs u_j, v_j drawn uniformly and alpha_j ~ N(0, 1 / d^2)."""
    rng = np.random.default_rng(seed)
    u, v = (rng.choice([-1.0, 1.0], (num_neurons, d)) for _ in range(2))
    Z = (u.T * rng.standard_normal(num_neurons) / d) @ v
    sides = [rng.standard_normal((rows, d)) for rows in (n, _TEST)]
    train, test = ((X, quadratic(Z, X)) for X in sides)
    return Planted(train, test)


def quadratic(Z: np.ndarray, X: np.ndarray) -> np.ndarray:
    """x_i^T Z x_i, [n]."""
    return np.sum((X @ Z) * X, axis=1)


def errors(fits: Any, data: Planted) -> np.ndarray:
    """||f - y|| / ||y|| of two vectors of predictions, [training, test]."""
    pairs = zip(fits, data, strict=True)
    return np.asarray(
        [np.linalg.norm(f - y) / np.linalg.norm(y) for f, (_, y) in pairs]
    )


def form_errors(Z: Any, data: Planted) -> np.ndarray:
    """`errors` of the quadratic form Z."""
    return errors([quadratic(np.asarray(Z), X) for X, _ in data], data)


def sampled(
    data: Planted, widths: tuple[int, ...], *, beta: float, refit_most: int, seed: int
) -> dict[str, np.ndarray]:
    """The relaxation, and networks of `widths` neurons drawn from it.

    Returns:
      gap []; relaxation [2]; drawn and refitted [widths, 2], training and test, the
      latter NaN above `refit_most` neurons.
    """
    X, y = data.train
    program = cj.programs.make_quantized(X, y, beta=beta)
    solution = cj.solve(program)
    Q = np.asarray(program.matrix(solution.params))
    drawn, refitted = [], []
    for m in widths:
        key = jax.random.fold_in(jax.random.key(seed), m)
        u, v, alpha = (np.asarray(part) for part in sample_signs(key, Q, m))
        drawn.append(form_errors((u.T * alpha) @ v, data))
        if m > refit_most:
            refitted.append(np.full(2, np.nan))
            continue
        best = refit(u, v, alpha, X, y, beta=beta)
        refitted.append(form_errors((best.u.T * best.alpha) @ best.v, data))
    d = X.shape[1]
    return {
        "gap": np.asarray(cj.certify(program, solution).gap),
        "relaxation": form_errors(Q[:d, d:], data),
        "drawn": np.asarray(drawn),
        "refitted": np.asarray(refitted),
    }


@functools.cache
def cosine_adam(rate: float, steps: int) -> optax.GradientTransformation:
    """Adam from this rate down to zero; the same one, so that nothing recompiles."""
    return optax.adam(optax.cosine_decay_schedule(rate, steps))


def trained(
    data: Planted,
    widths: tuple[int, ...],
    *,
    beta: float,
    rate: float,
    steps: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Real weights by Adam, 50 rows a step, and the network of their signs.

    Returns:
      adam and rounded [widths, 2], training and test.
    """
    real, rounded = [], []
    for m in widths:
        network = cj.networks.Quantized(m)
        variables, _ = cj.networks.train(
            jax.random.key(seed),
            network,
            data.train,
            cosine_adam(rate, steps),
            steps=steps,
            weight_decay=beta,
            penalty=network.penalty,
            batch_size=min(50, len(data.train[1])),
        ).best()
        for found, these in (
            (real, variables),
            (rounded, cj.networks.round_signs(variables)),
        ):
            fits = [np.asarray(network.apply(these, X)) for X, _ in data]
            found.append(errors(fits, data))
    return {"adam": np.asarray(real), "rounded": np.asarray(rounded)}
