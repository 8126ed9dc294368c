"""Polyhedral cones {u : A_i u >= 0}, one for each activation pattern.

`SignCones` are those of patterns over the rows of one matrix, A_i = (2 D_i - I) X; in
`RowCones` each A_i has rows of its own.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from cvxjax.algebra import linalg
from cvxjax.algebra.row_space import DISTORTED, RowSpace, coordinates
from cvxjax.record import Record
from cvxjax.terms.interiors import (
    analytic_centres,
    inside,
    interior_point,
    own_centres,
)

Array = jax.Array


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
        """The least t >= 0, [S, P], with A_i (w_i + t_i interior_i) >= 0.

        It is inf where the cone is so thin that rounding takes its interior point
        outside, and w_i is outside by more than rounding there.
        """
        margin, missed = self.apply(self.interior[None]), -self.apply(w)
        unit = (w.shape[-1] + 1) * float(jnp.finfo(w.dtype).eps)
        unseen = unit * jnp.linalg.norm(w, axis=-1, keepdims=True)
        safe = jnp.where(margin > 0, margin, 1)
        thin = jnp.where(missed > unseen, jnp.inf, 0)
        short = jnp.where(margin > 0, jnp.maximum(missed, 0) / safe, thin)
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
            interior=jnp.asarray(analytic_centres(*parts, root)),
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
    strict = inside(units[live], signs[:, live], gates)
    if _well_conditioned(space):
        inner, change, points = units, np.eye(X.shape[1]), gates.copy()
        kept = strict.copy()
    else:
        inner, change = _unit_rows(space.rows)[0], space.change
        seen = np.ldexp(sizes, -space.exponents)[:, None] * (units @ gates.T)
        points = (np.linalg.pinv(space.rows) @ seen).T  # the gates in `inner`
        kept = strict & inside(inner[live], signs[:, live], points)
    for i in np.flatnonzero(~kept):
        point = interior_point(inner[live], signs[i, live])
        if point is not None:
            points[i], kept[i] = point, True
    masks, signs, gates = masks[kept], signs[kept], gates[kept]
    centres = analytic_centres(
        jnp.asarray(inner.astype(X.dtype)),
        jnp.asarray(masks),
        jnp.asarray(points[kept].astype(X.dtype)),
    )
    deep = _unit_rows(centres.astype(np.float64) @ change.T)[0]
    deep = deep.astype(X.dtype).astype(np.float64)
    given, found = (
        np.min(signs * (u @ units.T), axis=1, where=live, initial=np.inf)
        for u in (gates, deep)
    )
    better = ~inside(units[live], signs[:, live], deep) | (given > found)
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
        kept[i] = inside(units, ones, gates[i : i + 1].astype(np.float64))[0]
        if not kept[i]:
            space = coordinates(units)
            inner = interior_point(_unit_rows(space.rows)[0], ones[0])
            if inner is not None:
                gates[i], kept[i] = space.change @ inner, True
    units = jnp.asarray(scaled[kept])
    cones = RowCones(
        rows=units,
        lengths=jnp.asarray(lengths[kept]),
        interior=own_centres(units, jnp.asarray(gates[kept])),
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
