"""The record of activation patterns, how many there may be, and checks of data."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from cvxjax.algebra.arrays import as_array
from cvxjax.algebra.row_space import balanced, coordinates
from cvxjax.record import Record, static
from cvxjax.solution import Scope

_CHUNK = 2**21  # numbers in a temporary


class Patterns(Record):
    """Activation patterns 1[X g >= 0], each with a gate g that produces it.

    Enumerated and sampled gates have unit norm and lie strictly inside their cell:
    x_j^T g != 0 for every non-zero row x_j. Zero rows of X are active in every
    pattern. Gates of `from_gates` are kept as they were given.
    """

    masks: jax.Array  # [P, n], bool
    gates: jax.Array  # [P, d], dtype of X
    scope: Scope = static()

    def replace(self, **changes: Any) -> Self:
        """The same record with some fields changed; with other masks it is SAMPLED.

        A scope given among the changes is not checked here, but where it is used.
        """
        if "masks" in changes:
            changes = {"scope": Scope.SAMPLED} | changes
        return super().replace(**changes)


def cells_holding(
    u: np.ndarray, rows: np.ndarray, masks: np.ndarray, on: float
) -> np.ndarray:
    """Which closed cells hold which vectors, [m, P].

    Args:
      u: [m, d].
      rows: [n, d].
      masks: of the cells, [P, n], bool.
      on: of the lengths: a product that counts as zero.
    """
    values = u @ rows.T
    slack = on * np.outer(np.linalg.norm(u, axis=1), np.linalg.norm(rows, axis=1))
    wrong = (values > slack).astype(float) @ ~masks.T
    return wrong + (values < -slack).astype(float) @ masks.T == 0


def count_bound(n: int, rank: int) -> int:
    """The largest number of patterns that `n` rows of the given rank can have.

    Returns 2 sum_{k < rank} C(n - 1, k), attained in general position.

    Source: Cover, Geometrical and statistical properties of systems of linear
    inequalities (1965).
    """
    return 2 * sum(math.comb(n - 1, k) for k in range(min(rank, n)))


def check_data(X: ArrayLike) -> np.ndarray:
    """Returns `X` [n, d] as a finite array of floats that JAX can hold.

    Integers, booleans and half precision are cast to JAX's default float or to
    float32, and float64 becomes float32 unless x64 is enabled.

    Raises:
      ValueError: unless X is a non-empty matrix of finite real numbers.
    """
    data = as_array(X, "X")
    if data.ndim != 2 or data.size == 0:
        raise ValueError(f"want X [n, d] with n, d >= 1; got shape {data.shape}")
    if data.dtype == bool or jnp.issubdtype(data.dtype, np.integer):
        dtype = np.dtype(np.float64)
    elif jnp.issubdtype(data.dtype, np.floating):
        dtype = np.dtype(np.float32 if data.dtype.itemsize <= 4 else np.float64)
    else:
        raise ValueError(f"want X of real numbers; got dtype {data.dtype}")
    dtype = jax.dtypes.canonicalize_dtype(dtype)
    with np.errstate(over="ignore"):
        data = data.astype(dtype)
    bad = int(np.sum(~np.isfinite(data)))
    if bad:
        raise ValueError(f"want X of finite {dtype}; got {bad} infinite or NaN entries")
    return data


@dataclasses.dataclass(frozen=True)
class Lines:
    """The distinct lines that the non-zero rows of X [n, d] span, in float64.

    Parallel rows have the same patterns, so one direction stands for them. For a gate
    g = to_gate u with u [rank], the sign of x_i^T g is that of directions[line[i]]^T u,
    reversed where `flipped`. In these coordinates the directions are white, so that
    rounding has the same scale in each.
    """

    directions: np.ndarray  # [N, rank], unit rows, in order of first appearance
    rows: np.ndarray  # [n'], which rows of X are non-zero
    line: np.ndarray  # [n'], the line of each of them
    flipped: np.ndarray  # [n'], bool
    to_gate: np.ndarray  # [d, rank]
    tolerance: float  # relative rounding error of the directions

    def expand(self, bits: np.ndarray, n: int) -> np.ndarray:
        """Masks [2 C, n] of C cells and then, in reverse order, of their antipodes.

        Args:
          bits: [C, > N / 8], the packed signs of the N directions, then a zero or more.
          n: rows of X.
        """
        half, nonzero = len(bits), np.zeros(n, bool)
        nonzero[self.rows] = True
        # Zero rows, which are active everywhere, read the zero bit, reversed.
        line, flipped = np.full(n, len(self.directions)), ~nonzero
        line[self.rows], flipped[self.rows] = self.line, self.flipped
        masks = np.empty((2 * half, n), bool)
        size = max(1, _CHUNK // n)
        for start in range(0, half, size):
            flags = np.unpackbits(bits[start : start + size], axis=1).view(bool)
            active = np.take(flags, line, axis=1) ^ flipped
            stop = start + len(active)
            masks[start:stop] = active
            masks[2 * half - stop : 2 * half - start] = (active ^ nonzero)[::-1]
        return masks


def find_lines(X: np.ndarray) -> Lines:
    """The distinct lines of `X` [n, d], in coordinates of its numerical row space.

    Entries are taken as exact. Rows are parallel if they are so to float64 rounding.
    """
    rows = np.flatnonzero(np.any(X != 0, axis=1))
    if not rows.size:
        empty = np.zeros(0, int)
        return Lines(
            np.zeros((0, 0)), rows, empty, empty > 0, np.zeros((X.shape[1], 0)), 0.0
        )
    A, space = balanced(X)[0][rows], coordinates(X)
    sign = np.sign(A[np.arange(len(A)), np.argmax(A != 0, axis=1)])
    _, first, same = np.unique(
        sign[:, None] * A, axis=0, return_index=True, return_inverse=True
    )
    twin = first[same.reshape(-1)]
    U, to_gate, condition = unit(space.rows[rows]), space.change, space.condition
    for _ in range(10):
        U, s, Vt = np.linalg.svd(U, full_matrices=False)
        U, to_gate = unit(U), to_gate @ (Vt.T / s)
        condition = max(condition, float(s[0] / s[-1]))
    U = (sign * sign[twin])[:, None] * U[twin]  # equal rows stay equal
    tolerance = 1e-14 * condition

    key = U @ np.random.default_rng(0).standard_normal(space.rank)
    positive = np.where(key < 0, -1.0, 1.0)[:, None] * U
    order = np.argsort(np.abs(key), kind="stable")
    jump = np.max(np.abs(np.diff(positive[order], axis=0)), axis=1, initial=0.0)
    label = np.empty(rows.size, int)
    label[order] = np.cumsum(np.concatenate([[False], jump > tolerance]))
    _, first, label = np.unique(label, return_index=True, return_inverse=True)
    seen = np.argsort(first)
    line = np.argsort(seen)[label]
    flipped = (key < 0) != (key[first[seen]] < 0)[line]
    return Lines(U[first[seen]], rows, line, flipped, to_gate, tolerance)


def unit(vectors: np.ndarray) -> np.ndarray:
    """Vectors scaled to Euclidean norm one, however large or small; zeros stay."""
    power = np.frexp(np.max(np.abs(vectors), axis=-1, keepdims=True))[1]
    even = np.ldexp(vectors, -power)
    lengths = np.linalg.norm(even, axis=-1, keepdims=True)
    return even / np.where(lengths > 0, lengths, 1)


def strict_gates(X: np.ndarray, masks: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """Unit gates in the dtype of `X`, strictly inside the cells of `masks`.

    Gates so near a hyperplane that rounding might carry them across are moved inwards.

    Args:
      X: [n, d].
      masks: [C, n].
      gates: [C, d], float64, in or next to their cells.

    Warns:
      UserWarning: if a cell is too thin for a gate in the dtype of `X`.
    """
    nonzero = np.any(X != 0, axis=1)
    if not np.all(nonzero):
        X, masks = X[nonzero], masks[:, nonzero]
    rows = unit(X.astype(np.float64))
    gates = unit(gates)
    cast = gates.astype(X.dtype)
    margin = _margins(rows, cast, masks)
    bad, thin = np.flatnonzero(margin <= 0), 0
    for part in np.array_split(bad, -(-bad.size * len(X) // _CHUNK) or 1):
        inner = _centred(rows, 2.0 * masks[part] - 1, gates[part]).astype(X.dtype)
        better = _margins(rows, inner, masks[part])
        moved = better > margin[part]
        cast[part[moved]] = inner[moved]
        thin += int(np.sum(np.maximum(better, margin[part]) <= 0))
    if thin:
        warnings.warn(
            f"{2 * thin} of {2 * len(gates)} cells are too thin for a gate in"
            f" {X.dtype}: their masks are right, but X @ gate may round to another"
            " pattern; float64 (jax_enable_x64) resolves thinner cells",
            stacklevel=3,
        )
    return cast


def _margins(rows: np.ndarray, gates: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """The least |x^T g| of each gate less its rounding; < 0 on a wrong side, [C]."""
    rounding = 2 * rows.shape[1] * np.finfo(gates.dtype).eps
    gates = gates.astype(rows.dtype)
    margin = np.empty(len(gates))
    size = max(1, 2**17 // len(rows))
    for start in range(0, len(gates), size):
        part = slice(start, start + size)
        values = gates[part] @ rows.T
        signed = np.where(masks[part], values, -values)
        margin[part] = np.min(signed, axis=1) - rounding
        # A bound on rounding from the entries is smaller than from the lengths.
        near = np.flatnonzero(margin[part] <= 0)
        sizes = np.abs(gates[start + near]) @ np.abs(rows).T
        margin[start + near] = np.min(signed[near] - rounding * sizes, axis=1)
    return margin


def _centred(rows: np.ndarray, signs: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Moves points away from the hyperplanes nearest to them, and keeps the deepest.

    Each step goes along the normal to the middle of the chord inside the cell.
    """
    best, most = points, np.full(len(points), -np.inf)
    for _ in range(30):
        values = signs * (points @ rows.T)
        nearest, margin = np.argmin(values, axis=1), np.min(values, axis=1)
        better = margin > most
        best = np.where(better[:, None], points, best)
        most = np.where(better, margin, most)
        step = signs[np.arange(len(points)), nearest, None] * rows[nearest]
        slopes = signs * (step @ rows.T)
        with np.errstate(divide="ignore", invalid="ignore"):
            times = -values / slopes
        high = np.min(np.where(slopes < 0, times, np.inf), axis=1)
        low = np.max(np.where(slopes > 0, times, -np.inf), axis=1)
        move = np.where(np.isfinite(high), (low + high) / 2, low + 1)
        points = unit(points + move[:, None] * step)
    return best
