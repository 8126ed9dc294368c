"""Every activation pattern: the open cells of the arrangement {u : x_i^T u = 0}.

Cells come in antipodal pairs. Fix a generic c. Of a pair, either

* both are cut by the hyperplane c^T u = 0: they are cells of the arrangement on that
  hyperplane, of rank one less; or
* one lies in c^T u > 0, and its slice c^T u = 1 is a bounded polytope, which has one
  lowest vertex for a generic objective b. That vertex is a ray, the null vector of
  r - 1 independent rows; if no other row vanishes on it, the cell that has it as its
  lowest vertex is known by a sign of each of those rows.

Around a ray on which more rows vanish (or that ties in b or c) all cells are listed:
they are those of the rows that vanish there, an arrangement of rank one less. Every
candidate is a point, whose signs are then evaluated, so that only real cells are
returned.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array, lax
from numpy.typing import ArrayLike

from cvxjax.algebra.linalg import dot
from cvxjax.arrangements.known import remember
from cvxjax.arrangements.patterns import (
    Patterns,
    check_data,
    count_bound,
    find_lines,
    strict_gates,
    unit,
)
from cvxjax.solution import Scope

_CHUNK = 2**21  # numbers in a temporary
FEW = 4096  # patterns that are enumerated if the user gives none


def enumerate_patterns(X: ArrayLike, *, limit: int = 2_000_000) -> Patterns:
    """All patterns 1[X u >= 0] of vectors u with no ties, for any rank of `X`.

    Runs on the host's CPU in float64, taking the entries of `X` as exact. Cells whose
    width is about 1e-14 times the data's condition number or less cannot be told from
    rounding, and count as empty. The order is lexicographic, active first. Masks take
    P n bytes.

    Args:
      X: [n, d]; duplicate, parallel and zero rows and any rank are fine.
      limit: the most patterns there may be, by `count_bound`.

    Returns:
      Patterns of scope EXHAUSTIVE, with gates in the dtype and the row space of `X`.

    Raises:
      ValueError: if `X` is not a matrix of finite numbers, or there may be more than
        `limit` patterns.

    Warns:
      UserWarning: if cells are too thin for a gate in the dtype of `X`; their masks
        are right, but recomputing them from the gates may not be.

    Source: Edelsbrunner, Algorithms in Combinatorial Geometry (1987), chapter 7, for
    cells by their lowest vertex; the treatment of degenerate rays is ours.
    """
    data = check_data(X)
    lines = find_lines(data)
    count, rank = lines.directions.shape
    if rank == 0:
        return Patterns(
            masks=jnp.ones((1, data.shape[0]), bool),
            gates=jnp.eye(1, data.shape[1], dtype=data.dtype),
            scope=Scope.EXHAUSTIVE,
        )
    bound = count_bound(count, rank)
    if bound > limit:
        raise ValueError(
            f"X has up to {bound:,} patterns (rank {rank}, {count:,} distinct lines),"
            f" more than limit={limit:,}; raise limit=, or use sample_patterns"
        )
    rows = np.zeros((1, _padded(count), rank))
    rows[0, :count] = lines.directions
    with jax.enable_x64(True), _on_host():
        _, points, bits = _cells(rows, np.array([count]), lines.tolerance)
    masks = lines.expand(bits[::-1], data.shape[0])
    gates = points[::-1] @ lines.to_gate.T
    gates = strict_gates(data, masks[: len(gates)], gates)
    remember(data, masks)
    return Patterns(
        masks=jnp.asarray(masks),
        gates=jnp.asarray(np.concatenate([gates, -gates[::-1]])),
        scope=Scope.EXHAUSTIVE,
    )


def few_patterns(X: ArrayLike, patterns: Patterns | None) -> Patterns:
    """`patterns`, or if that is None every pattern of X.

    Raises:
      ValueError: if it is None and X may have more than 4,096.
    """
    if patterns is not None:
        return patterns
    lines = find_lines(check_data(X))
    bound = count_bound(*lines.directions.shape)
    if bound > FEW:
        raise ValueError(
            f"want patterns, since there may be {bound:,} (all are taken up to "
            f"{FEW:,}): sample_patterns draws some, enumerate_patterns lists all"
        )
    return enumerate_patterns(X)


def _on_host() -> contextlib.AbstractContextManager:
    """JAX on the CPU, unless its CPU backend is switched off."""
    try:
        return jax.default_device(jax.local_devices(backend="cpu")[0])
    except RuntimeError:
        return contextlib.nullcontext()


def _padded(count: int) -> int:
    """A number above `count`, of few values, so that few shapes are compiled."""
    return 8 if count < 8 else 32 if count < 32 else (count // 128 + 1) * 128


# A batch of G arrangements is rows [G, N, r] of unit vectors, zero beyond counts [G].
# Its cells, one of each antipodal pair, are (owner [C], points [C, r], bits [C, N/8]).
_Points = tuple[np.ndarray, np.ndarray]
_Cells = tuple[np.ndarray, np.ndarray, np.ndarray]


def _cells(rows: np.ndarray, counts: np.ndarray, tolerance: float) -> _Cells:
    """The cells of a batch of arrangements of full rank r, sorted, each once."""
    G, N, rank = rows.shape
    if rank == 1:
        found = [(np.arange(G), np.ones((G, 1)))]
    elif rank == 2:
        found = [_sectors(rows, counts, tolerance)]
    elif G == 1 and counts[0] == rank:
        free = itertools.product([1.0, -1.0], repeat=rank - 1)
        signs = np.array([(1.0, *rest) for rest in free])
        points = signs @ np.linalg.inv(rows[0, :rank]).T
        found = [(np.zeros(len(signs), int), unit(points))]
    else:
        found = list(_candidates(rows, counts, tolerance))
    owner, points = (np.concatenate(parts) for parts in zip(*found, strict=True))
    points, bits, margin = _in_chunks(_signs, rows, owner, points)
    real = np.flatnonzero(margin > 0)
    order = real[np.argsort(-margin[real], kind="stable")]
    _, first = np.unique(_named(owner[order], bits[order]), return_index=True)
    keep = order[first]  # of equal cells, the point deepest inside
    return owner[keep], points[keep], bits[keep]


def _sectors(rows: np.ndarray, counts: np.ndarray, tolerance: float) -> _Points:
    """Points in the cells of rank two: gaps between angles at which a row vanishes."""
    G, N, _ = rows.shape
    valid = np.arange(N) < counts[:, None]
    angles = np.arctan2(rows[..., 1], rows[..., 0]) % np.pi
    angles = np.sort(np.where(valid, angles, np.inf), axis=1)
    after = np.concatenate([angles[:, 1:], np.full((G, 1), np.inf)], axis=1)
    after[np.arange(G), counts - 1] = angles[:, 0] + np.pi
    owner, start = np.nonzero(valid)
    low, high = angles[owner, start], after[owner, start]
    wide = high - low > tolerance
    middle = (low[wide] + high[wide]) / 2
    return owner[wide], np.stack([-np.sin(middle), np.cos(middle)], axis=1)


def _candidates(
    rows: np.ndarray, counts: np.ndarray, tolerance: float
) -> Iterator[_Points]:
    """A point in every cell, at least one of each pair; rank three and more."""
    G, N, rank = rows.shape
    c, b = unit(np.random.default_rng(rank).standard_normal((2, rank)))

    plane = np.linalg.svd(c[None])[2][1:].T
    cut, valid = rows @ plane, np.arange(N) < counts[:, None]
    cut[valid] = unit(cut[valid])
    owner, points, _ = _cells(cut, counts, tolerance)
    yield owner, points @ plane.T

    groups, subsets = [], []
    for count in np.unique(counts):
        members = np.flatnonzero(counts == count)
        chosen = itertools.combinations(range(count), rank - 1)
        subset = np.fromiter(chosen, np.dtype((np.int32, rank - 1)))
        groups.append(np.repeat(members, len(subset)))
        subsets.append(np.tile(subset, (len(members), 1)))
    owner, subset = np.concatenate(groups), np.concatenate(subsets)
    points, rays, on, simple, tied = _in_chunks(
        _lowest_cells, rows, owner, subset, settings=(c, b, tolerance)
    )
    yield owner[simple], points[simple]

    if np.any(tied):
        _, first = np.unique(_named(owner[tied], on[tied]), return_index=True)
        which = np.flatnonzero(tied)[first]
        yield _around(rows, owner[which], rays[which], on[which], tolerance)


def _around(
    rows: np.ndarray,
    owner: np.ndarray,
    rays: np.ndarray,
    on: np.ndarray,
    tolerance: float,
) -> _Points:
    """A point in every cell around each of the `rays` [M, r].

    The rows flagged in `on` [M, N/8] vanish there; they form an arrangement of rank
    r - 1 on the complement of the ray.
    """
    flags = np.unpackbits(on, axis=1)
    counts = np.sum(flags, axis=1, dtype=int)
    width = min(_padded(int(np.max(counts))), flags.shape[1])
    members = np.argsort(1 - flags, axis=1, kind="stable")[:, :width]
    valid = np.arange(width) < counts[:, None]
    basis = np.linalg.svd(rays[:, None, :])[2][:, 1:]
    local = np.einsum("mkr,msr->mks", rows[owner[:, None], members], basis)
    local[valid] = unit(local[valid])
    local[~valid] = 0.0
    child, points, _ = _cells(local, counts, tolerance)
    steps = np.einsum("cs,csr->cr", points, basis[child])
    child, steps = np.concatenate([child, child]), np.concatenate([steps, -steps])
    owner = owner[child]
    (points,) = _in_chunks(_step_off, rows, owner, rays[child], steps, on[child])
    return owner, points


def _named(owner: np.ndarray, bits: np.ndarray) -> np.ndarray:
    """A sortable scalar for each pair of owner and bits, to find equal ones by."""
    head = owner.astype(">u4").view(np.uint8).reshape(-1, 4)
    name = np.ascontiguousarray(np.concatenate([head, bits], axis=1))
    return name.view(f"V{name.shape[1]}")[:, 0]


def _in_chunks(
    kernel: Callable,
    rows: np.ndarray,
    owner: np.ndarray,
    *cells: np.ndarray,
    settings: tuple = (),
) -> list[np.ndarray]:
    """Maps a kernel over cells, in chunks of a few sizes, since each is compiled."""
    G, N, rank = rows.shape
    shared = G == 1 and N > 32
    cap = max(256, _CHUNK // (N * (1 if shared else rank)))
    size = min(1 << (cap.bit_length() - 1), 2**12 if len(owner) <= 2**12 else 2**18)
    pad = 0 if shared else (2**8 if G <= 2**8 else 1 << (G - 1).bit_length()) - G
    batch = jnp.asarray(np.concatenate([rows, np.zeros((pad, N, rank))]))
    outputs: list[np.ndarray] = []
    for start in range(0, len(owner), size):
        part = [a[start : start + size] for a in (owner, *cells)]
        length = len(part[0])
        part = [np.concatenate([a, np.repeat(a[-1:], size - length, 0)]) for a in part]
        results = kernel(batch, part[0], tuple(part[1:]), settings)
        results = [np.asarray(a)[:length] for a in results]
        if not outputs:
            outputs = [np.empty((len(owner), *a.shape[1:]), a.dtype) for a in results]
        for output, result in zip(outputs, results, strict=True):
            output[start : start + length] = result
    return outputs


def _kernel(one: Callable) -> Callable:
    """Compiles `one(rows [N, r], *cell, *settings)` for a batch of cells."""

    def batched(rows: Array, owner: Array, cells: tuple, settings: tuple) -> tuple:
        if rows.shape[0] == 1:
            return jax.vmap(lambda *cell: one(rows[0], *cell, *settings))(*cells)
        each = jax.vmap(lambda own, *cell: one(own, *cell, *settings))
        return each(rows[owner], *cells)

    return jax.jit(batched)


def _products(rows: Array, vector: Array) -> Array:
    """rows @ vector, for few columns as a sum that XLA fuses, which is much faster."""
    if rows.shape[1] > 8:
        return dot(rows, vector)
    return sum((a * v for a, v in zip(rows.T, vector, strict=True)), jnp.zeros(()))


def _orthonormal(B: Array) -> tuple[Array, Array, Array]:
    """Q = inverse @ B with orthonormal rows, and a unit vector orthogonal to them.

    By Gram-Schmidt with two passes, elementwise, because LAPACK calls are slow for many
    small matrices, and two at once can block each other's threads.

    Args:
      B: [k, k + 1].

    Returns:
      Q [k, k + 1] with orthonormal rows, inverse [k, k], and a vector [k + 1]. The
      entries of `inverse` are huge if rows of B are dependent.
    """

    def off(v: Array, w: Array, Q: Array, W: Array) -> tuple[Array, Array]:
        for _ in range(2):
            shares = jnp.sum(Q * v[None], axis=1)[:, None]
            v, w = v - jnp.sum(shares * Q, axis=0), w - jnp.sum(shares * W, axis=0)
        length = jnp.maximum(jnp.sqrt(jnp.sum(v * v)), 1e-100)
        return v / length, w / length

    def add(k: Array, found: tuple[Array, Array]) -> tuple[Array, Array]:
        q, w = off(B[k], (jnp.arange(B.shape[0]) == k).astype(B.dtype), *found)
        return found[0].at[k].set(q), found[1].at[k].set(w)

    empty = jnp.zeros_like(B), jnp.zeros((B.shape[0], B.shape[0]), B.dtype)
    Q, W = lax.fori_loop(0, B.shape[0], add, empty)
    free = jnp.argmin(jnp.sum(Q * Q, axis=0))
    axis = (jnp.arange(B.shape[1]) == free).astype(B.dtype)
    ray, _ = off(axis, jnp.zeros_like(W[0]), Q, W)
    return Q, W, ray


@_kernel
def _signs(rows: Array, point: Array) -> tuple[Array, Array, Array]:
    """The point or its antipode, whichever row 0 is active on; its bits and margin.

    The margin is the least |x^T u| over the rows x that are not zero.
    """
    point = jnp.where(dot(rows[0], point) < 0, -point, point)
    values = _products(rows, point)
    valid = jnp.any(rows != 0, axis=1)
    margin = jnp.min(jnp.where(valid, jnp.abs(values), jnp.inf))
    return point, jnp.packbits(values > 0), margin


def _step(rows: Array, ray: Array, step: Array, on: Array) -> Array:
    """A unit vector from `ray` along `step`, half way to where another row vanishes."""
    heights, slopes = _products(rows, ray), _products(rows, step)
    inverse = jnp.max(jnp.where(on | (heights == 0), 0.0, -slopes / heights))
    length = jnp.linalg.norm(step)
    point = ray + jnp.tan(jnp.arctan2(length, inverse) / 2) / length * step
    return point / jnp.linalg.norm(point)


@_kernel
def _step_off(rows: Array, ray: Array, step: Array, on: Array) -> tuple[Array]:
    return (_step(rows, ray, step, jnp.unpackbits(on) > 0),)


@_kernel
def _lowest_cells(
    rows: Array, subset: Array, c: Array, b: Array, tolerance: Array
) -> tuple[Array, Array, Array, Array, Array]:
    """The ray on which a subset of r - 1 rows vanishes, and its lowest cell.

    Returns:
      A point of the cell of c^T u > 0 whose lowest vertex in b, on c^T u = 1, is the
      ray; the ray [r]; packed flags of the rows that vanish on it [N/8]; whether the
      point is to be trusted; and whether the ray needs all the cells around it.
    """
    rank = rows.shape[1]
    Q, inverse, ray = _orthonormal(rows[subset])
    size = jnp.max(jnp.sum(jnp.abs(inverse), axis=1))
    independent = tolerance * size < 1

    # x = sum_k a_k b_k + h ray, where rounding of the rows moves h by 1 + |a|_1 of it.
    ray = jnp.where(dot(c, ray) < 0, -ray, ray)
    dual = jnp.sum(inverse[:, :, None] * Q[:, None, :], axis=0)
    parts = [jnp.abs(_products(rows, row)) for row in dual]
    on = jnp.abs(_products(rows, ray)) <= tolerance * sum(parts, jnp.ones(()))
    on = (on & jnp.any(rows != 0, axis=1)).at[subset].set(True)

    upright = jnp.abs(dot(c, ray)) > 1e-9
    level = b - dot(b, ray) / jnp.where(upright, dot(c, ray), 1.0) * c
    weights = _products(dual, level)
    clear = jnp.abs(weights) > 1e-12 * size * jnp.max(jnp.abs(weights))
    simple = upright & jnp.all(clear) & (jnp.sum(on) == rank - 1)
    step = _products(dual.T, jnp.sign(weights))
    point = _step(rows, ray, step, on)
    return point, ray, jnp.packbits(on), independent & simple, independent & ~simple
