"""Centred data in an orthonormal basis, for networks with normalisation.

The first layer of such a network has no penalty, so that units of columns have no
effect: they, and offsets, are removed before the rank is decided.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy

from cvxjax.algebra.row_space import coordinates

_WORST = 1e-3  # relative error of predictions from rounding that is still accepted


class Factors(NamedTuple):
    """Factors of a matrix M [n, d]: M mix = columns, and M null = 0."""

    columns: np.ndarray  # [n, r], orthonormal
    mix: np.ndarray  # [d, r]
    null: np.ndarray  # [d, d - rank], orthonormal
    whole: bool  # whether r is the rank; else some directions were left out


def centred(X: np.ndarray, centre: bool) -> np.ndarray:
    """X [n, d] minus the mean of its rows if `centre`, else X itself."""
    if not centre:
        return X
    constant = np.ptp(X, axis=0) == 0
    rest = X - X.mean(axis=0)
    return np.where(constant, 0, rest - rest.mean(axis=0))  # for large offsets


def factors(
    X: np.ndarray,
    centre: bool,
    dtype: np.dtype | type = np.float64,
    *,
    exact: bool = True,
) -> Factors:
    """The factors of C X, X [n, d], by decreasing singular values.

    Args:
      X: the data.
      centre: whether C subtracts the mean of the rows; else C is the identity.
      dtype: of the network; directions below max(n, d) eps of it are left out.
      exact: whether the entries of X are exact; else each is taken to have an error of
        eps times the length of its column.
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
        # With large rows first, and pivoting, small rows keep their relative precision.
        parts: Any = scipy.linalg.qr(seen[order], mode="economic", pivoting=True)
        left, upper, pivot = parts
        columns[order] = left
        mix = scipy.linalg.solve_triangular(upper, space.change[:, pivot].T, trans=1).T
        turn = np.linalg.svd(columns.T @ matrix)[0]
        columns, mix = columns @ turn, mix @ turn
        # A step of refinement: so far entries are as precise as the largest one.
        mix = mix + mix @ (columns.T @ (columns - matrix @ mix))
    full = space
    if precision > np.finfo(np.float64).eps:
        full = coordinates(matrix, axes=axes)
    null = np.linalg.qr(full.null / units[:, None])[0]
    return Factors(columns, mix / units[:, None], null, full.rank == space.rank)


def with_shift(columns: np.ndarray, shift: bool) -> np.ndarray:
    """`columns` [n, r] with, if `shift`, a constant column 1 / sqrt(n) appended."""
    if not shift:
        return columns
    constant = np.full((len(columns), 1), len(columns) ** -0.5)
    return np.hstack([columns, constant]).astype(columns.dtype)


def resolution(X: np.ndarray, mix: np.ndarray) -> float:
    """The relative error of X mix, computed in the dtype of X as a network does.

    It is large where offsets or nearly dependent columns cancel in these products.

    Args:
      X: [n, d].
      mix: [d, r], with orthonormal columns X mix.
    """
    sizes = np.abs(X).astype(np.float64) @ np.abs(mix)
    lost = np.finfo(X.dtype).eps * np.sqrt(len(X)) * np.max(sizes, initial=0)
    return float(lost)


def check_resolution(X: np.ndarray, mix: np.ndarray) -> None:
    """Raises ValueError if `resolution` is above a thousandth."""
    lost = resolution(X, mix)
    if lost > _WORST:
        raise ValueError(
            f"want columns of X that {X.dtype} tells apart in a network's first layer; "
            f"got some whose offset or near dependence would make predictions wrong by "
            f"{lost:.1g} of their size: subtract offsets, leave a column out"
            + (", or use float64" if X.dtype == np.float32 else "")
        )
