"""Data without their mean, in an orthonormal basis, as normalisation sees them.

The first layer of a normalised network has no penalty, so units of columns mean
nothing: they, and offsets, are taken out before the rank is decided.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy

from cvxjax.algebra.row_space import coordinates

_WORST = 1e-3  # of predictions, that rounding in the network's first layer may cost


class Factors(NamedTuple):
    """Of a matrix [n, d]: matrix mix = columns, orthonormal, and matrix null = 0."""

    columns: np.ndarray  # [n, r]
    mix: np.ndarray  # [d, r]
    null: np.ndarray  # [d, d - rank], orthonormal
    whole: bool  # r is the rank; else the precision is too coarse for some directions


def centred(X: np.ndarray, centre: bool) -> np.ndarray:
    """X [n, d] less the mean of its rows, if `centre`; twice, for large offsets."""
    if not centre:
        return X
    constant = np.ptp(X, axis=0) == 0
    less = X - X.mean(axis=0)
    return np.where(constant, 0, less - less.mean(axis=0))


def factors(
    X: np.ndarray,
    centre: bool,
    dtype: np.dtype | type = np.float64,
    *,
    exact: bool = True,
) -> Factors:
    """The factors of C X [n, d], its leading singular directions first.

    Args:
      dtype: of the network: directions below max(n, d) eps of it are left out.
      exact: whether entries are; else they are rounded to eps of their column.
    """
    precision = float(np.finfo(dtype).eps)
    units = np.linalg.norm(X, axis=0)
    units = np.where((units > 0) & centre & (not exact), units, 1)
    matrix = centred(X / units, centre)
    axes = (1, 0) if not centre else (0,) if exact else ()
    space = coordinates(matrix, precision, axes=axes)
    seen = np.ldexp(space.rows, space.exponents[:, None])  # = matrix change
    order = np.argsort(-np.max(np.abs(seen), axis=1, initial=0), kind="stable")
    columns, mix = np.zeros(seen.shape), np.zeros(space.change.shape)
    if space.rank:
        # Rows of any sizes: large ones first, and pivots, keep small ones' digits.
        parts: Any = scipy.linalg.qr(seen[order], mode="economic", pivoting=True)
        left, upper, pivot = parts
        columns[order] = left
        mix = scipy.linalg.solve_triangular(upper, space.change[:, pivot].T, trans=1).T
        turn = np.linalg.svd(columns.T @ matrix)[0]
        columns, mix = columns @ turn, mix @ turn
        # Entries of mix are as precise as its largest one so far.
        mix = mix + mix @ (columns.T @ (columns - matrix @ mix))
    full = space
    if precision > np.finfo(np.float64).eps:
        full = coordinates(matrix, axes=axes)
    null = np.linalg.qr(full.null / units[:, None])[0]
    return Factors(columns, mix / units[:, None], null, full.rank == space.rank)


def with_shift(columns: np.ndarray, shift: bool) -> np.ndarray:
    """`columns` [n, r] and, if `shift`, one more of 1 / sqrt(n)."""
    if not shift:
        return columns
    constant = np.full((len(columns), 1), len(columns) ** -0.5)
    return np.hstack([columns, constant]).astype(columns.dtype)


def resolution(X: np.ndarray, mix: np.ndarray) -> float:
    """What rounding in a network's first layer on X may cost, of columns X mix.

    Offsets and near dependence of columns cancel in these products, in the dtype of X.
    """
    sizes = np.abs(X).astype(np.float64) @ np.abs(mix)
    lost = np.finfo(X.dtype).eps * np.sqrt(len(X)) * np.max(sizes, initial=0)
    return float(lost)


def check_resolution(X: np.ndarray, mix: np.ndarray) -> None:
    """ValueError where a network on X [n, d] cannot compute X mix to a thousandth."""
    lost = resolution(X, mix)
    if lost > _WORST:
        raise ValueError(
            f"want columns of X that {X.dtype} tells apart in a network's first layer; "
            f"got some whose offset or near dependence would make predictions wrong by "
            f"{lost:.1g} of their size: subtract offsets, leave a column out"
            + (", or use float64" if X.dtype == np.float32 else "")
        )
