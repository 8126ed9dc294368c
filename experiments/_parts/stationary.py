"""Whether a trained network is a stationary point: the convex program of its neurons.

Source: Wang, Lacotte & Pilanci, The Hidden Convex Optimization Landscape of Two-Layer
ReLU Neural Networks (ICLR 2022).
"""

from __future__ import annotations

import numpy as np
from scipy.optimize import LinearConstraint, minimize

import cvxjax as cj

_KINK = 1e-2  # |x^T u| below this share of a neuron's largest: on the kink
_DEAD = 1e-4  # neurons below this share of the largest one


def own_optimum(
    u: np.ndarray, a: np.ndarray, X: np.ndarray, y: np.ndarray, beta: float
) -> float:
    """The optimum of the convex program over a network's own (pattern, sign) pairs.

    Equals the network's objective if and only if it is a stationary point. A neuron on
    a kink has the patterns of all cells around it; dead neurons have none.

    Args:
      u: [m, d].
      a: [m].
      X: [n, d], few samples: all patterns are enumerated.
      y: [n].
      beta: weight decay.

    Returns:
      From a general-purpose solver, good to about five digits; NaN for a network with
      NaN in it.
    """
    if not (np.all(np.isfinite(u)) and np.all(np.isfinite(a))):
        return float("nan")
    size = np.abs(a) * np.linalg.norm(u, axis=1)
    alive = size > _DEAD * max(size.max(), _DEAD)
    values = u[alive] @ X.T
    kink = np.abs(values) <= _KINK * np.abs(values).max(axis=1, keepdims=True)
    masks = np.asarray(cj.arrangements.enumerate_patterns(X).masks)
    fits = np.all(((values > 0)[:, None] == masks) | kink[:, None], axis=2)
    neuron, cell = np.nonzero(fits)
    pairs = np.unique(np.stack([np.sign(a[alive])[neuron], cell], axis=1), axis=0)
    if not len(pairs):
        return float(y @ y / 2)
    sign, active = pairs[:, 0], masks[pairs[:, 1].astype(int)]
    fit = np.einsum("b,bn,nd->nbd", sign, active, X).reshape(len(y), -1)
    cones = np.zeros((len(pairs), len(y), len(pairs), X.shape[1]))
    for b, mask in enumerate(active):
        cones[b, :, b] = np.where(mask[:, None], X, -X)

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        w = flat.reshape(len(pairs), -1)
        norms = np.sqrt(np.sum(w**2, axis=1) + 1e-14)
        residual = fit @ flat - y
        slope = fit.T @ residual + beta * (w / norms[:, None]).reshape(-1)
        return float(residual @ residual / 2 + beta * norms.sum()), slope

    found = minimize(
        objective,
        np.zeros(fit.shape[1]),
        jac=True,
        method="SLSQP",
        constraints=LinearConstraint(cones.reshape(-1, fit.shape[1]), 0, np.inf),
        options={"maxiter": 1000, "ftol": 1e-13},
    )
    return float(found.fun)
