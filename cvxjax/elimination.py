"""Free coordinates taken out of a system of inequalities, exactly."""

from __future__ import annotations

import itertools

import numpy as np
from scipy.optimize import nnls

from cvxjax.whitening import centred, factors

_MOST_ROWS = 20_000  # of a cone after elimination


def eliminated(kept: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Rows R with R q >= 0 exactly if kept q + free z >= 0 for some z.

    By Farkas' lemma they are mu^T kept for the extreme rays of {mu >= 0, free^T mu =
    0}, whose supports are the minimally dependent sets of rows of `free`.

    Args:
      kept: [m, r].
      free: [m, k].

    Raises:
      ValueError: if there may be too many rays.
    """
    sizes = np.linalg.norm(free, axis=1)
    scale = np.max(np.linalg.norm(kept, axis=1), initial=0) + np.max(sizes, initial=0)
    bound = sizes > 1e-12 * scale
    rows = [kept[~bound]]
    inner = free[bound] / sizes[bound, None]
    m, k = inner.shape
    total = 0
    found: list[tuple[int, ...]] = []
    for count in range(2, k + 2):
        for chosen in itertools.combinations(range(m), count):
            total += 1
            if total > _MOST_ROWS:
                raise ValueError(
                    f"want patterns with more active samples; got one with {k} free "
                    f"directions and {m} inequalities on them, too many to eliminate"
                )
            if any(set(smaller) <= set(chosen) for smaller in found):
                continue
            ray = _positive_ray(inner[list(chosen)])
            if ray is None:
                continue
            found.append(chosen)
            weights = ray / sizes[bound][list(chosen)]
            rows.append((weights @ kept[bound][list(chosen)])[None])
    return np.vstack(rows)


def _positive_ray(rows: np.ndarray) -> np.ndarray | None:
    """mu > 0 with rows^T mu = 0, unique up to scale; None if there is none."""
    _, values, right = np.linalg.svd(rows.T)
    rank = int(np.sum(values > 1e-10 * values[0]))
    if rank != len(rows) - 1:
        return None
    ray = right[-1]
    ray = ray if ray.sum() > 0 else -ray
    return ray if np.all(ray > 1e-10) else None


def completed(
    X: np.ndarray, mask: np.ndarray, u: np.ndarray, centre: bool
) -> np.ndarray:
    """u + z with C D X z = 0 and (2 D - I) X (u + z) >= 0, and ||z|| least.

    Source: Lawson & Hanson, Solving Least Squares Problems (1974), chapter 23 (LDP).
    """
    active = np.where(mask[:, None], X, 0)
    free = factors(centred(active, centre))[2]
    signed = np.where(mask[:, None], X, -X)
    short, moves = -signed @ u, signed @ free
    if free.shape[1] == 0 or np.all(short <= 0):
        return u
    size = np.max(np.abs(short))
    stack = np.vstack([moves.T, short / size])
    target = np.append(np.zeros(len(stack) - 1), 1.0)
    mu, _ = nnls(stack, target)
    residual = stack @ mu - target
    if abs(residual[-1]) < 1e-12:  # no z: u is outside the cone
        return u
    return u - size * (free @ (residual[:-1] / residual[-1]))
