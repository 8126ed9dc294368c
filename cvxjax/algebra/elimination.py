"""Elimination of free variables from a system of linear inequalities."""

from __future__ import annotations

import itertools

import numpy as np
import scipy

_ROUNDING = 1e-13  # rows below this, relative to the largest, count as zero
_OUTSIDE = 1e-9  # miss of an inequality, relative to the largest, that is accepted
_MOST_ROWS = 20_000  # subsets of rows that are tried


def eliminated(kept: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Rows R such that R q >= 0 if and only if kept q + free z >= 0 for some z.

    By Farkas' lemma they are mu^T kept for the extreme rays of {mu >= 0, free^T mu =
    0}, whose supports are the minimally dependent sets of rows of `free`.

    Args:
      kept: [m, r].
      free: [m, k], rows of about the same size.

    Returns:
      R, [number of rays, r].

    Raises:
      ValueError: if there may be too many rays.
    """
    sizes = np.linalg.norm(free, axis=1)
    bound = sizes > _ROUNDING * np.max(sizes, initial=0)
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
    """mu > 0 with rows^T mu = 0, if it exists and is unique up to scale; else None."""
    _, values, right = np.linalg.svd(rows.T)
    rank = int(np.sum(values > 1e-10 * values[0]))
    if rank != len(rows) - 1:
        return None
    ray = right[-1]
    ray = ray if ray.sum() > 0 else -ray
    return ray if np.all(ray > 1e-10) else None


def completed(kept: np.ndarray, free: np.ndarray) -> np.ndarray:
    """The shortest z with kept + free z >= 0; if there is none, one that misses least.

    Args:
      kept: [m].
      free: [m, k].

    Returns:
      [k].

    Source: Lawson & Hanson, Solving Least Squares Problems (1974), chapter 23 (LDP).
    """
    sizes = np.linalg.norm(free, axis=1)
    bound = sizes > _ROUNDING * np.max(sizes, initial=0)
    short = -kept[bound] / sizes[bound]
    size = np.max(short, initial=0)
    if size <= 0:
        return np.zeros(free.shape[1])
    moves = free[bound] / sizes[bound, None]
    stack = np.vstack([moves.T, short / size])
    target = np.append(np.zeros(free.shape[1]), 1.0)
    mu, _ = scipy.optimize.nnls(stack, target)
    residual = stack @ mu - target
    z = -residual[:-1] / residual[-1] if residual[-1] < 0 else 0 * residual[:-1]
    if np.min(moves @ z - short / size) < -_OUTSIDE:
        z = _least_wrong(moves, short / size)
    return size * z


def _least_wrong(moves: np.ndarray, short: np.ndarray) -> np.ndarray:
    """argmin_z max(short - moves z), by a linear program, for unit rows of `moves`."""
    m, k = moves.shape
    cost = np.append(np.zeros(k), 1.0)
    matrix = np.hstack([-moves, -np.ones((m, 1))])
    result = scipy.optimize.linprog(
        cost, A_ub=matrix, b_ub=-short, bounds=[(None, None)] * (k + 1)
    )
    return result.x[:k] if result.status == 0 else np.zeros(k)
