"""The numerical rank of data, and coordinates in which they are well conditioned.

Enumeration, prices, normalisation, judges and scopes all take the rank from here, so
that they agree. Entries are taken as exact, whatever their dtype. Rows and columns are
first scaled by powers of two, which neither changes the rank nor rounds, so that small
ones count beside huge ones. Singular values below max(n, d) eps(float64) times the
largest are then zero, and `left_out` bounds what every row loses by that.

Coordinates are z_i = T^T x_i for a matrix T that absorbs units, offsets and near
dependence of columns. They are computed in twice the precision of float64: the
difference of the dates 20240101 and 20240102 is exact, and what follows from it should
be as well.

Nothing here imports JAX or a solver, since judges use it.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from cvxjax.algebra.exact_products import product

DISTORTED = 100.0  # condition number from which to change coordinates

_EPS = np.finfo(np.float64).eps
_ROUNDS = 8  # of scaling, and of whitening
_ALIKE = 10  # bits by which sizes of rows or columns may differ and stay unscaled
_EVEN = 8.0  # condition number of coordinates at which whitening stops
_MOST = 1 << 28  # scalar products, beyond which float64 must do


@dataclasses.dataclass(frozen=True)
class RowSpace:
    """X [n, d] in well conditioned coordinates, with rows of size about one.

    X change = 2^exponents rows holds, row by row, up to the rounding of `change`.
    """

    rows: np.ndarray  # [n, r], float64, of condition number near one; zero rows stay
    exponents: np.ndarray  # [n], int
    change: np.ndarray  # [d, r], T above; its largest entry is near one
    null: np.ndarray  # [d, d - r], an orthonormal basis of the null space of X
    condition: float  # the factor by which rounding errors of `rows` are magnified

    @property
    def rank(self) -> int:
        """r, the numerical rank."""
        return self.rows.shape[1]


def coordinates(
    X: np.ndarray, precision: float = _EPS, *, axes: tuple[int, ...] = (1, 0)
) -> RowSpace:
    """Well conditioned coordinates of the row space of X [n, d].

    Args:
      X: [n, d], finite.
      precision: machine epsilon of the arithmetic that will use the coordinates;
        singular values below max(n, d) times it, relative, count as zero.
      axes: what may be scaled, rows (1) and columns (0). Neither, where entries carry
        the rounding error of larger ones, as after a mean has been subtracted.
    """
    A, exponents, columns = balanced(X, axes)
    rank, right, sizes, weights = _decided(A, precision, axes)
    if rank == 0:
        none = np.zeros((A.shape[1], 0))
        return RowSpace(A[:, :0], exponents, none, np.eye(A.shape[1]), 1.0)
    right = right / sizes[:, None]
    change = right[:, :rank] / weights[:rank]
    high, low = A @ change, np.zeros((len(A), rank))
    condition = float(weights[0] / weights[rank - 1])
    if condition > _EVEN and A.size * rank <= _MOST:
        high, low = product(A, np.zeros(A.shape), change)
        for _ in range(_ROUNDS):
            _, values, turned = np.linalg.svd(high, full_matrices=False)
            condition = float(values[0] / values[-1])
            if condition <= _EVEN:
                break
            step = turned.T / values
            high, low = product(high, low, step)
            change = change @ step
    change, top = _unscaled(change, columns)
    null = np.linalg.qr(_unscaled(right[:, rank:], columns)[0])[0]
    return RowSpace(high, exponents - top, change, null, max(condition, 1.0))


def row_space(X: np.ndarray) -> np.ndarray:
    """An orthonormal basis [d, r] of the span of the rows of X [n, d]; I for r = d."""
    A, _, columns = balanced(X)
    rank, right, sizes, _ = _decided(A)
    d = A.shape[1]
    if rank == d:
        return np.eye(d)
    spanned = sizes[:, None] * right[:, :rank]  # by the rows of A
    return np.linalg.qr(_unscaled(spanned, -columns)[0])[0]


def rank_of(X: np.ndarray) -> int:
    """The numerical rank of X [n, d]."""
    return _decided(balanced(X)[0])[0]


def left_out(X: np.ndarray, basis: np.ndarray) -> np.ndarray:
    """Upper bounds of ||x_i - B B^T x_i||, [n], with rounding; 0 for B = I.

    For ||u|| <= 1, (x_i^T u)_+ exceeds its value at B B^T u by at most that, which is
    what bounds by way of the row space have to add.

    Args:
      X: [n, d].
      basis: B [d, r], from `row_space`.
    """
    d, r = basis.shape
    if d == r and np.array_equal(basis, np.eye(d)):
        return np.zeros(len(X))
    X = np.asarray(X, np.float64)
    lengths = np.linalg.norm(X, axis=1)
    rest = np.linalg.norm(X - (X @ basis) @ basis.T, axis=1)
    return rest + 4 * (d + r) * _EPS * lengths


def balanced(
    X: np.ndarray, axes: tuple[int, ...] = (1, 0)
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A with X_ij = A_ij 2^(rows_i + columns_j), and these exponents [n] and [d].

    The units of rows and columns are found as medians of exponents, in turns, since
    single large or small entries should not decide them; then the largest entries are
    scaled to about one. Exact but for entries 2^1000 times smaller than others.
    """
    A = np.asarray(X, np.float64)
    rows, columns = np.zeros(A.shape[0], int), np.zeros(A.shape[1], int)
    if A.size == 0:
        return A, rows, columns
    uneven = max(np.ptp(_largest(A, axis)) for axis in (0, 1)) > _ALIKE
    if uneven and len(axes) == 2:
        powers = np.where(A != 0, np.frexp(A)[1], np.nan)
        for _ in range(_ROUNDS):
            step = _middle(powers - rows[:, None] - columns, 0)
            columns = columns + step
            rows = rows + _middle(powers - rows[:, None] - columns, 1)
            if not np.any(step):
                break
        A = np.ldexp(A, -(rows[:, None] + columns))
    for axis in axes:
        step = _largest(A, axis)
        A = np.ldexp(A, -np.expand_dims(step, axis))
        rows, columns = (rows, columns + step) if axis == 0 else (rows + step, columns)
    return A, rows, columns


def _largest(A: np.ndarray, axis: int) -> np.ndarray:
    """k with max |A| = m 2^k, 0.7 < m <= 1.4, of each row or column; 0 for zeros."""
    size, power = np.frexp(np.max(np.abs(A), axis=axis, initial=0.0))
    return np.where(size > 0, power - (size < np.sqrt(0.5)), 0)


def _middle(powers: np.ndarray, axis: int) -> np.ndarray:
    """The rounded median exponent of each row or column; 0 if all are NaN."""
    some = np.where(np.all(np.isnan(powers), axis=axis, keepdims=True), 0, powers)
    return np.round(np.nanmedian(some, axis=axis)).astype(int)


def _decided(
    A: np.ndarray, precision: float = _EPS, axes: tuple[int, ...] = (1, 0)
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
    """The rank of a balanced A [n, d], after scaling to unit rows, then unit columns.

    Returns:
      The rank; right singular vectors [d, d]; the lengths of the columns [d], 1 for
      those of zeros; and the singular values.
    """
    lengths = np.linalg.norm(A, axis=1)
    live, d = lengths > 0, A.shape[1]
    if not np.any(live):
        return 0, np.eye(d), np.ones(d), np.zeros(0)
    unit = A[live] / (lengths[live, None] if 1 in axes else 1)
    sizes = np.linalg.norm(unit, axis=0)
    sizes = np.where((sizes > 0) & (0 in axes), sizes, 1)
    _, values, right = np.linalg.svd(unit / sizes, full_matrices=len(unit) < d)
    floor = max(A.shape) * precision * values[0]
    return int(np.sum(values > floor)), right.T, sizes, values


def _unscaled(vectors: np.ndarray, columns: np.ndarray) -> tuple[np.ndarray, int]:
    """2^-(columns + top) vectors [d, k], and top, by which the largest is near 1."""
    size, power = np.frexp(np.max(np.abs(vectors), axis=1, initial=0.0))
    shift = power - columns
    top = int(np.max(shift, where=size > 0, initial=-(2**14)))
    top = 0 if not np.any(size > 0) else top
    return np.ldexp(vectors, np.clip(-columns - top, -4000, 4000)[:, None]), top
