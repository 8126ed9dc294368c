"""The price of a dual vector over listed cells, in NumPy float64.

On the closed cell of a mask D the maximum of w^T (X u)_+ over ||u|| <= 1 is the length
of the projection of q = X^T D w onto the cell, q + A^T mu with the rows A = (2D - I) X
and mu >= 0. Cells are solved in the order of their bounds ||q||, until these fall below
the best value.
"""

from __future__ import annotations

import numpy as np
import scipy

from cvxjax.solvers.columns.neurons import Rows
from cvxjax.watch import Watch

_FEASIBLE = 1e-12  # A u of a unit vector above minus this counts as >= 0
_ATTEMPTS = 100  # rounds of rows that join one projection
_MOST = 5_000  # cells that are solved in one pricing
_CHUNK_ELEMENTS = 1 << 24


def listed_price(
    rows: Rows, w: np.ndarray, masks: np.ndarray, floor: float, watch: Watch
) -> tuple[float, np.ndarray]:
    """An upper bound of the price over the cells, and neurons worth more than `floor`.

    The bound is the price itself, or `floor`, unless more than 5,000 cells are near it.

    Args:
      rows: the data.
      w: weights [n K] of unit rows.
      masks: [P, n K].
      floor: a price below which it does not matter.
      watch: ends the pricing by `watch.Stopped`.

    Returns:
      The bound, and directions [k, d], unit.
    """
    size = max(1, _CHUNK_ELEMENTS // len(rows.unit))
    parts = range(0, len(masks), size)
    slopes = [np.where(masks[i : i + size], w, 0) @ rows.unit for i in parts]
    bounds = np.linalg.norm(np.concatenate(slopes), axis=1)
    best, found = 0.0, []
    for count, i in enumerate(np.argsort(-bounds)):
        if bounds[i] <= max(best, floor):
            best = max(best, min(float(bounds[i]), floor))
            break
        if count == _MOST:
            best = float(bounds[i])
            break
        watch.ask()
        point = _projected(rows.unit, masks[i] | (rows.lengths == 0), w)
        value = float(np.linalg.norm(point))
        best = max(best, value)
        if value > floor:
            found.append(point / value)
    return best, np.reshape(found, (-1, rows.unit.shape[1]))


def _projected(unit: np.ndarray, mask: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The projection of X^T D w onto the cell of D; X^T D w itself where that fails.

    NNLS on few rows, to which violated ones are added until none is left.
    """
    signs, q = np.where(mask, 1.0, -1.0), np.where(mask, w, 0) @ unit
    size = np.linalg.norm(q)
    if size == 0:
        return q
    used = np.zeros(0, int)
    for _ in range(_ATTEMPTS):
        part = signs[used, None] * unit[used]
        try:
            mu = scipy.optimize.nnls(part.T, -q / size)[0] if len(used) else used
        except RuntimeError:
            return q
        point = q / size + mu @ part
        slacks = signs * (unit @ point)
        slacks[used] = 0
        short = np.flatnonzero(slacks < -_FEASIBLE)
        if len(short) == 0:
            return size * point
        worst = short[np.argsort(slacks[short])[: 2 * unit.shape[1]]]
        used = np.concatenate([used, worst])
    return q
