"""Polyhedral cones {u : A_i u >= 0}, one for each activation pattern.

`SignCones` are those of patterns over the rows of one matrix, A_i = (2 D_i - I) X; in
`RowCones` each A_i has rows of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import scipy
from jax.typing import ArrayLike

from cvxjax.algebra import linalg
from cvxjax.algebra.compiled import jit_leanly
from cvxjax.algebra.row_space import DISTORTED, RowSpace, coordinates
from cvxjax.record import Record

Array = jax.Array

_NEWTON_STEPS = 40
_DECREMENT = 1e-2  # Newton decrement, squared, at which a centre is good enough
_CENTRAL = 1e-28  # the same for ||T u||, where T magnifies what is left
_CHUNK_ELEMENTS = 1 << 22  # of a temporary
_QR_BATCH = 1024  # LAPACK calls under vmap hang on larger batches


class Cones(Record):
    """P cones K_i = {u : A_i u >= 0}, each A_i with m rows of unit length.

    For blocks w [S, P, d], A w is [S, P, m]: both signs share the cone of a pattern.
    """

    lengths: Array  # of the rows before they were scaled; 1 for zero rows
    interior: Array  # [P, d], unit, A_i interior_i > 0 on every non-zero row

    @property
    def num_rows(self) -> int:
        """m."""
        ...

    def apply(self, w: Array) -> Array:
        """A w, [..., P, m], for w [..., P, d]."""
        ...

    def adjoint(self, s: Array) -> Array:
        """A^T s, [..., P, d], for s [..., P, m]."""
        ...

    def gram(self) -> Array:
        """A_i^T A_i: [d, d] if it is the same for every i, else [P, d, d]."""
        ...

    def live(self) -> Array:
        """Which rows are not zero, [P, m] or [1, m]."""
        ...

    def rows_of(self, pattern: Array, which: Array) -> Array:
        """Rows `which` [B, k] of the A_i with i = `pattern` [B]: [B, k, d]."""
        ...

    def weighted_grams(self, weights: Array) -> Array:
        """A_b^T diag(weights_b) A_b, [S P, d, d], for weights [S P, m]."""
        ...

    def select(self, pattern: Array) -> Any:
        """The cones of the patterns at positions `pattern` [B]."""
        ...

    def unscaled(self, multipliers: Array) -> Array:
        """Multipliers [S, P, m] of the rows before scaling, from those of unit rows."""
        return multipliers / self._lengths()

    def scaled(self, multipliers: Array) -> Array:
        """The inverse of `unscaled`."""
        return multipliers * self._lengths()

    def _lengths(self) -> Array:
        missing = [1] * (3 - self.lengths.ndim)
        return self.lengths.reshape([*missing, *self.lengths.shape])

    def project(
        self, w: Array, multipliers: Array, steps: ArrayLike
    ) -> tuple[Array, Array]:
        """Moves each block towards its projection onto K_i.

        Takes accelerated projected-gradient steps on the dual problem
        min_{mu >= 0} 1/2 ||w_i + A_i^T mu||^2, restarted where momentum points uphill.

        Args:
          w: [..., P, d].
          multipliers: [..., P, m], where to start, >= 0.
          steps: how many; in the limit the result is the projection.

        Returns:
          w + A^T mu [..., P, d] and mu [..., P, m].

        Source: O'Donoghue & Candes (2015) for the restart.
        """
        largest = jnp.max(jnp.linalg.eigvalsh(self.gram()))
        step = 1 / jnp.where(largest > 0, largest, 1)

        def body(_: int, carry: tuple[Array, Array, Array]):
            mu, ahead, t = carry
            slope = self.apply(w + self.adjoint(ahead))
            new = jnp.maximum(ahead - step * slope, 0)
            uphill = jnp.sum(slope * (new - mu), axis=-1, keepdims=True) > 0
            t_new = jnp.where(uphill, 1, (1 + jnp.sqrt(1 + 4 * t * t)) / 2)
            momentum = jnp.where(uphill, 0, (t - 1) / t_new)
            return new, new + momentum * (new - mu), t_new

        ones = jnp.ones(multipliers.shape[:-1] + (1,), multipliers.dtype)
        start = (multipliers, multipliers, ones)
        mu, _, _ = jax.lax.fori_loop(0, steps, body, start)
        return w + self.adjoint(mu), mu

    def lift(self, w: Array) -> Array:
        """The least t >= 0, [S, P], with A_i (w_i + t_i interior_i) >= 0."""
        margin = self.apply(self.interior[None])
        safe = jnp.where(margin > 0, margin, 1)
        short = jnp.where(margin > 0, jnp.maximum(-self.apply(w), 0) / safe, 0)
        return jnp.max(short, axis=-1, initial=0)

    def violation(self, w: Array) -> Array:
        """max(-A w, 0) / max|A w|, [], which is 0 for w = 0."""
        values = self.apply(w)
        size = jnp.max(jnp.abs(values))
        return jnp.maximum(-jnp.min(values), 0) / jnp.where(size > 0, size, 1)


class SignCones(Cones):
    """A_i = (2 D_i - I) X with rows scaled to unit length, which changes no cone.

    Every A_i has the same Gram matrix, X^T X of the scaled rows, which saves time.
    """

    rows: Array  # [m, d], unit rows; zero rows stay zero
    masks: Array  # [P, m], bool

    @property
    def num_rows(self) -> int:
        return self.rows.shape[0]

    def apply(self, w: Array) -> Array:
        z = linalg.dot(w, self.rows.T)
        return jnp.where(self.masks, z, -z)

    def adjoint(self, s: Array) -> Array:
        return linalg.dot(jnp.where(self.masks, s, -s), self.rows)

    def gram(self) -> Array:
        return linalg.dot(self.rows.T, self.rows)

    def live(self) -> Array:
        return jnp.any(self.rows != 0, axis=1)[None]

    def rows_of(self, pattern: Array, which: Array) -> Array:
        sign = jnp.where(self.masks[pattern[:, None], which], 1, -1)
        return self.rows[which] * sign[..., None]

    def weighted_grams(self, weights: Array) -> Array:
        return linalg.weighted_grams(weights, self.rows)

    def select(self, pattern: Array) -> SignCones:
        return self.replace(masks=self.masks[pattern], interior=self.interior[pattern])

    def in_coordinates(
        self, rows: np.ndarray, change: np.ndarray, root: Array
    ) -> SignCones | None:
        """The same cones in u' = S u; None if rounding leaves one without inner point.

        Args:
          rows: [m, r], the rows in the new coordinates.
          change: S [r, d].
          root: T [d, r], with ||u|| = ||T u'||; centres are with respect to this norm.
        """
        units, lengths = _unit_rows(rows)
        start = np.asarray(self.interior, np.float64) @ change.T
        start = start / np.linalg.norm(start, axis=1, keepdims=True)
        margins = np.where(np.asarray(self.masks), 1, -1) * (start @ units.T)
        if not np.all(margins[:, np.any(units != 0, axis=1)] > 0):
            return None
        parts = jnp.asarray(units), self.masks, jnp.asarray(start)
        return SignCones(
            rows=parts[0],
            lengths=jnp.asarray(lengths),
            masks=self.masks,
            interior=_analytic_centres(*parts, root),
        )


class RowCones(Cones):
    """Every A_i has rows of its own, scaled to unit length; some may be zero."""

    rows: Array  # [P, m, d]
    masks: ClassVar[None] = None  # rows carry their signs

    @property
    def num_rows(self) -> int:
        return self.rows.shape[1]

    def apply(self, w: Array) -> Array:
        return jnp.einsum("...pd,pmd->...pm", w, self.rows, precision="highest")

    def adjoint(self, s: Array) -> Array:
        return jnp.einsum("...pm,pmd->...pd", s, self.rows, precision="highest")

    def gram(self) -> Array:
        return linalg.dot(jnp.swapaxes(self.rows, 1, 2), self.rows)

    def live(self) -> Array:
        return jnp.any(self.rows != 0, axis=2)

    def rows_of(self, pattern: Array, which: Array) -> Array:
        return jnp.take_along_axis(self.rows[pattern], which[..., None], axis=1)

    def weighted_grams(self, weights: Array) -> Array:
        weights = weights.reshape(-1, *self.rows.shape[:2])
        heavy = weights[..., None] * self.rows[None]
        grams = linalg.dot(jnp.swapaxes(heavy, 2, 3), self.rows[None])
        return grams.reshape(-1, *grams.shape[2:])

    def select(self, pattern: Array) -> RowCones:
        return self.replace(
            rows=self.rows[pattern],
            lengths=self.lengths[pattern],
            interior=self.interior[pattern],
        )


def make_sign_cones(
    X: np.ndarray, masks: np.ndarray, gates: np.ndarray
) -> tuple[SignCones, np.ndarray]:
    """Builds the cones of the patterns that have an interior.

    A gate on a hyperplane may have the pattern of no open cell. The cone of such a
    pattern is a face of another cone, adds no network, and is left out.

    Where columns of X have offsets, cells are thin. Interior points are then computed
    in coordinates in which X is well conditioned (`cvxjax.algebra.row_space`), and
    rounded to the dtype of X, which may be too coarse for the thinnest cells.

    Args:
      X: [n, d].
      masks: [P, n], bool.
      gates: [P, d], a point of each closed cell.

    Returns:
      The cones, and `kept` [P], bool: which patterns have one.
    """
    rows, lengths = _unit_rows(X)
    units, sizes = _unit_rows(X.astype(np.float64))
    space = coordinates(X)
    live = np.any(units != 0, axis=1)
    signs = np.where(masks, 1.0, -1.0)
    gates = _unit_rows(gates.astype(np.float64))[0]
    strict = _inside(units[live], signs[:, live], gates)
    if _well_conditioned(space):
        inner, change, points = units, np.eye(X.shape[1]), gates.copy()
        kept = strict.copy()
    else:
        inner, change = _unit_rows(space.rows)[0], space.change
        seen = np.ldexp(sizes, -space.exponents)[:, None] * (units @ gates.T)
        points = (np.linalg.pinv(space.rows) @ seen).T  # the gates in `inner`
        kept = strict & _inside(inner[live], signs[:, live], points)
    for i in np.flatnonzero(~kept):
        point = _interior_point(inner[live], signs[i, live])
        if point is not None:
            points[i], kept[i] = point, True
    masks, signs, gates = masks[kept], signs[kept], gates[kept]
    centres = _analytic_centres(
        jnp.asarray(inner.astype(X.dtype)),
        jnp.asarray(masks),
        jnp.asarray(points[kept].astype(X.dtype)),
    )
    deep = _unit_rows(np.asarray(centres, np.float64) @ change.T)[0]
    deep = deep.astype(X.dtype).astype(np.float64)
    given, found = (
        np.min(signs * (u @ units.T), axis=1, where=live, initial=np.inf)
        for u in (gates, deep)
    )
    better = ~_inside(units[live], signs[:, live], deep) | (given > found)
    interior = np.where((strict[kept] & better)[:, None], gates, deep).astype(X.dtype)
    cones = SignCones(
        rows=jnp.asarray(rows),
        lengths=jnp.asarray(lengths),
        masks=jnp.asarray(masks),
        interior=jnp.asarray(interior),
    )
    return cones, kept


def make_row_cones(rows: np.ndarray, gates: np.ndarray) -> tuple[RowCones, np.ndarray]:
    """Builds the cones {u : rows_i u >= 0} that have an interior.

    Args:
      rows: [P, m, d]; rows of zeros are no constraint.
      gates: [P, d], a point of each closed cone.

    Returns:
      The cones, and `kept` [P], bool: which of the P have an interior.
    """
    scaled, lengths = _unit_rows(rows)
    live = np.any(scaled != 0, axis=2)
    gates = gates.astype(rows.dtype, copy=True)
    kept = np.zeros(len(rows), bool)
    for i, (part, on) in enumerate(zip(rows, live, strict=True)):
        units = _unit_rows(part[on].astype(np.float64))[0]
        ones = np.ones((1, len(units)))
        kept[i] = _inside(units, ones, gates[i : i + 1].astype(np.float64))[0]
        if not kept[i]:
            space = coordinates(units)
            inner = _interior_point(_unit_rows(space.rows)[0], ones[0])
            if inner is not None:
                gates[i], kept[i] = space.change @ inner, True
    units = jnp.asarray(scaled[kept])
    cones = RowCones(
        rows=units,
        lengths=jnp.asarray(lengths[kept]),
        interior=_own_centres(units, jnp.asarray(gates[kept])),
    )
    return cones, kept


def _well_conditioned(space: RowSpace) -> bool:
    """Whether X may keep its own coordinates, as it may if it is zero."""
    d, rank = space.change.shape
    return rank == 0 or (rank == d and np.linalg.cond(space.change) <= DISTORTED)


def _unit_rows(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows scaled to unit length, and their lengths; zero rows stay, with length 1.

    They are first scaled by powers of two, so that squares do not over- or underflow.
    """
    power = np.frexp(np.max(np.abs(rows), axis=-1, initial=0))[1]
    even = np.ldexp(rows, -power[..., None])
    lengths = np.sqrt(np.sum(even * even, axis=-1))
    lengths = np.where(lengths > 0, lengths, 1).astype(rows.dtype)
    live = np.any(rows != 0, axis=-1)
    return even / lengths[..., None], np.where(live, np.ldexp(lengths, power), 1)


def _inside(rows: np.ndarray, signs: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Whether signs (rows p) > 0 beyond rounding, for each of the points p [P, d]."""
    floor = (rows.shape[1] + 2) * np.finfo(np.float64).eps
    values = signs * (points @ rows.T)
    sizes = np.linalg.norm(points, axis=1)
    near = np.min(values, axis=1, initial=np.inf) <= floor * sizes
    inside = ~near & (sizes > 0)
    for i in np.flatnonzero(near):  # entry by entry the rounding is smaller
        rounding = floor * (np.abs(rows) @ np.abs(points[i]))
        inside[i] = bool(np.all(values[i] > rounding))
    return inside


def _interior_point(rows: np.ndarray, signs: np.ndarray) -> np.ndarray | None:
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


@jit_leanly
def _analytic_centres(
    rows: Array, masks: Array, gates: Array, root: Array | None = None
) -> Array:
    """Unit vectors deep inside the cells: argmin_u ||T u||^2/2 - sum_j log A_ij u.

    By Newton's method with damping, from the gates. The deeper they are, the less does
    `lift` add to the objective. T is `root` [k, d], or the identity if that is None.
    """
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
def _own_centres(rows: Array, gates: Array) -> Array:
    """`_analytic_centres` for `RowCones`, rows [P, m, d]."""
    every = jnp.ones((1, rows.shape[1]), bool)
    return jax.vmap(lambda a, gate: _centres(a, every, gate[None], None)[0])(
        rows, gates
    )


def _centres(rows: Array, masks: Array, gates: Array, root: Array | None) -> Array:
    """`_analytic_centres` of a chunk of the cells."""
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
