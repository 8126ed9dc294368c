"""Points deep inside polyhedral cones {u : A u >= 0}, and whether there are any."""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.algebra import linalg
from cvxjax.algebra.compiled import few_sizes, jit_leanly

Array = jax.Array

_NEWTON_STEPS = 40
_DECREMENT = 1e-2  # Newton decrement, squared, at which a centre is good enough
_CENTRAL = 1e-28  # the same for ||T u||, where T magnifies what is left
_CHUNK_ELEMENTS = 1 << 22  # of a temporary
_QR_BATCH = 1024  # LAPACK calls under vmap hang on larger batches
_DOUBLED = 128  # patterns and rows, up to which sizes are powers of two
_LEAST_SIZE = 32


def inside(rows: np.ndarray, signs: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether signs (rows p) > 0 beyond rounding, for each of the points p [P, d]."""
    floor = (rows.shape[1] + 2) * np.finfo(np.float64).eps
    values = signs * (points @ rows.T)
    sizes = np.linalg.norm(points, axis=1)
    near = np.min(values, axis=1, initial=np.inf) <= floor * sizes
    within = ~near & (sizes > 0)
    for i in np.flatnonzero(near):  # entry by entry the rounding is smaller
        rounding = floor * (np.abs(rows) @ np.abs(points[i]))
        within[i] = bool(np.all(values[i] > rounding))
    return within


def interior_point(rows: np.ndarray, signs: np.ndarray) -> np.ndarray | None:
    """A point u with signs_j rows_j^T u > 0 for all unit rows [m, r]; None without.

    For r = 2 it is the middle of the cone; else argmax_u min_j signs_j rows_j^T u over
    |u|_inf <= 1, by a linear program.
    """
    m, r = rows.shape
    if r == 2 and m:
        return _middle(signs[:, None] * rows)
    cost = np.append(np.zeros(r), -1.0)
    matrix = np.hstack([-signs[:, None] * rows, np.ones((m, 1))])
    bounds = [(-1, 1)] * r + [(None, 1)]
    result = scipy.optimize.linprog(cost, A_ub=matrix, b_ub=np.zeros(m), bounds=bounds)
    if result.status != 0 or result.x[-1] <= 1e-9:
        return None
    return result.x[:r]


def _middle(rows: np.ndarray) -> np.ndarray | None:
    """The unit vector in the middle of {u : rows u >= 0}, rows [m, 2]; or None."""
    angles = np.sort(np.arctan2(rows[:, 1], rows[:, 0]))
    gaps = np.diff(angles, append=angles[0] + 2 * np.pi)
    k = int(np.argmax(gaps))
    if gaps[k] <= np.pi:
        return None
    angle = angles[k] + gaps[k] / 2 + np.pi
    point = np.array([np.cos(angle), np.sin(angle)])
    return point if np.min(rows @ point) > 0 else None


def analytic_centres(
    rows: Array, masks: Array, gates: Array, root: Array | None = None
) -> np.ndarray:
    """Unit vectors deep inside the cells: argmin_u ||T u||^2/2 - sum_j log A_ij u.

    By Newton's method with damping, from the gates. The deeper they are, the less does
    `lift` add to the objective. T is `root` [k, d], or the identity if that is None.
    """
    P, n = masks.shape
    if P == 0:
        return np.asarray(gates)
    more, rest = (0, _padded(P) - P), (0, _padded(n) - n)
    listed = np.pad(np.asarray(masks), (more, (0, 0)), mode="edge")
    parts = (
        np.pad(np.asarray(rows), (rest, (0, 0))),  # rows of zeros count for nothing
        np.pad(listed, ((0, 0), rest)),
        np.pad(np.asarray(gates), (more, (0, 0)), mode="edge"),
    )
    return np.asarray(_all_centres(*parts, root))[:P]


def _padded(count: int) -> int:
    """The size to which patterns or rows are padded, so that few are compiled."""
    if count <= _DOUBLED:
        return max(_LEAST_SIZE, 2 ** math.ceil(math.log2(max(count, 1))))
    return few_sizes(count)


@jit_leanly
def _all_centres(rows: Array, masks: Array, gates: Array, root: Array | None) -> Array:
    (P, n), d = masks.shape, rows.shape[1]
    size = max(1, min(P, _CHUNK_ELEMENTS // max(1, n * d)))
    chunks = -(-P // size)
    missing = chunks * size - P
    masks = jnp.pad(masks, ((0, missing), (0, 0)), mode="edge")
    gates = jnp.pad(gates, ((0, missing), (0, 0)), mode="edge")
    parts = masks.reshape(chunks, size, n), gates.reshape(chunks, size, d)
    found = jax.lax.map(lambda part: _centres(rows, part[0], part[1], root), parts)
    return found.reshape(-1, d)[:P]


@jit_leanly
def own_centres(rows: Array, gates: Array) -> Array:
    """`analytic_centres` for `RowCones`, rows [P, m, d]."""
    every = jnp.ones((1, rows.shape[1]), bool)
    return jax.vmap(lambda a, gate: _centres(a, every, gate[None], None)[0])(
        rows, gates
    )


def _centres(rows: Array, masks: Array, gates: Array, root: Array | None) -> Array:
    """`analytic_centres` of a chunk of the cells."""
    live = jnp.any(rows != 0, axis=1)
    eye = jnp.eye(rows.shape[1], dtype=rows.dtype)
    enough = _DECREMENT if root is None else _CENTRAL
    reach_of = lambda u: jnp.where(masks, u, -u)  # noqa: E731
    over = lambda x, m: jnp.where(live, x / jnp.where(live, m, 1), 0)  # noqa: E731
    norm = lambda u: jnp.sqrt(jnp.sum(u * u, axis=1, keepdims=True))  # noqa: E731
    tails = lambda u: u if root is None else linalg.dot(u, root.T)  # noqa: E731

    def solved(gram: Array, slope: Array) -> Array:
        """(T^T T + gram)^{-1} slope."""
        if root is None:
            factor = jnp.linalg.cholesky(eye[None] + gram)
            return jax.scipy.linalg.cho_solve((factor, True), slope[..., None])[..., 0]
        return _solved_together(root, gram, slope)

    def newton(carry: tuple[Array, Array, Array, Array]) -> Any:
        u, margin, count, _ = carry
        inverse = over(1, margin)
        pull = u if root is None else linalg.dot(tails(u), root)
        slope = pull - linalg.dot(reach_of(inverse), rows)
        move = -solved(linalg.weighted_grams(inverse**2, rows), slope)
        change = reach_of(linalg.dot(move, rows.T))
        decrement = -jnp.sum(slope * move, axis=1)
        room = 1 / jnp.maximum(jnp.max(over(-change, margin), axis=1), 1e-3)
        # Self-concordance makes the first step length safe; longer ones mostly win.
        safe = 1 / (1 + jnp.sqrt(jnp.maximum(decrement, 0)))
        longer = [jnp.maximum(safe, jnp.minimum(a * room, 2)) for a in (0.5, 0.9)]
        lengths = jnp.stack([safe, *longer])

        def barrier(t: Array) -> Array:
            t = t[:, None]
            ahead = jnp.where(live, margin + t * change, 1)
            logs = jnp.log(jnp.where(ahead > 0, ahead, 1))
            value = jnp.sum(tails(u + t * move) ** 2 / 2, axis=1) - jnp.sum(
                logs, axis=1
            )
            return jnp.where(jnp.all(ahead > 0, axis=1), value, jnp.inf)

        best = jnp.argmin(jnp.stack([barrier(t) for t in lengths]), axis=0)
        length = jnp.take_along_axis(lengths, best[None], axis=0)[0]
        length = jnp.where(decrement > enough, length, 0)[:, None]
        ahead = margin + length * change
        return u + length * move, ahead, count + 1, jnp.max(decrement)

    # At the centre ||T u||^2 is the number of rows, since the slope along u is zero.
    start = jnp.sqrt(jnp.sum(live, dtype=rows.dtype)) * gates / norm(tails(gates))
    margin = reach_of(linalg.dot(start, rows.T))
    begin = (start, margin, jnp.asarray(0), jnp.asarray(jnp.inf, rows.dtype))
    far = lambda carry: (carry[2] < _NEWTON_STEPS) & (carry[3] > enough)  # noqa: E731
    u = jax.lax.while_loop(far, newton, begin)[0]
    start, u = gates / norm(gates), u / norm(u)

    def depth(u: Array) -> Array:
        margin = reach_of(linalg.dot(u, rows.T))
        return jnp.min(jnp.where(live, margin, jnp.inf), axis=1, keepdims=True)

    least = depth(start) if root is None else 0
    return jnp.where(depth(u) > least, u, start)


def _solved_together(root: Array, gram: Array, slope: Array) -> Array:
    """(T^T T + gram)^{-1} slope by a QR factorisation, which does not square T.

    Args:
      root: T [k, d].
      gram: [P, d, d], positive semidefinite.
      slope: [P, d].
    """
    d = gram.shape[-1]
    ridge = 1e-15 * jnp.trace(gram, axis1=1, axis2=2)

    def one(parts: tuple[Array, Array, Array]) -> Array:
        gram, slope, ridge = parts
        lower = jnp.linalg.cholesky(gram + ridge * jnp.eye(d, dtype=gram.dtype))
        stack = jnp.concatenate([root, lower.T])
        scale = 1 / jnp.sqrt(jnp.sum(stack**2, axis=0))
        upper = jnp.linalg.qr(stack * scale[None], mode="r")
        return scale * jax.scipy.linalg.cho_solve((upper, False), scale * slope)

    return jax.lax.map(one, (gram, slope, ridge), batch_size=_QR_BATCH)
