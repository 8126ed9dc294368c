"""All neurons moved together by L-BFGS, to a local minimum of the network's objective.

    minimise  L(sum_j f(u_j) a_j, y) + beta/2 sum_j (||u_j||^2 + a_j^2)

Where f sums over many rows of a sample its kinks are small, and L-BFGS is far ahead of
Adam. Where a sample is one row it stops at the first kink, and Adam ends lower.

Source: Liu & Nocedal, On the Limited Memory BFGS Method (1989).
"""

from __future__ import annotations

import numpy as np

from cvxjax.interfaces import SeparableLoss
from cvxjax.solvers.columns.neurons import Neurons, Rows
from cvxjax.solvers.lbfgs import minimised
from cvxjax.watch import Watch

_STEPS = 200
_MEMORY = 10
_FLAT = 1e-14  # relative decrease at which it ends


def descended(
    loss: SeparableLoss,
    y: np.ndarray,
    beta: float,
    rows: Rows,
    neurons: Neurons,
    watch: Watch,
) -> Neurons:
    """The neurons where L-BFGS ends that starts at these, in float64.

    Args:
      loss: L.
      y: [n].
      beta: > 0.
      rows: of the data.
      neurons: m of them.
      watch: may stop it early.
    """
    X, (m, d) = rows.unit * rows.lengths[:, None], neurons.u.shape
    each = len(X) // rows.samples

    def value_and_slope(flat: np.ndarray) -> tuple[float, np.ndarray]:
        u, a = _split(flat, m, d)
        products = X @ u.T
        hidden = np.maximum(products, 0).reshape(-1, each, m).sum(axis=1)
        z = hidden @ a
        g = np.asarray(loss.gradient(z, y), np.float64)
        back = np.where(products > 0, np.repeat(g, each)[:, None], 0).T @ X
        slope = np.column_stack([back * a[:, None], g @ hidden]).ravel() + beta * flat
        return float(loss.value(z, y)) + beta / 2 * float(flat @ flat), slope

    sizes = np.sqrt(neurons.sizes)[:, None]
    first = np.column_stack([neurons.u, neurons.signs]) * sizes
    found = minimised(
        value_and_slope,
        first.ravel(),
        watch,
        most=_STEPS,
        memory=_MEMORY,
        ftol=_FLAT,
        gtol=0.0,
    )
    u, a = _split(found.x, m, d)
    return Neurons.of(u * np.abs(a)[:, None], np.sign(a))


def _split(flat: np.ndarray, m: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of both layers, u [m, d] and a [m]."""
    both = flat.reshape(m, d + 1)
    return both[:, :d], both[:, d]
