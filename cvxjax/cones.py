"""Sign cones {u : (2 D_i - I) X u >= 0}, one for each activation pattern."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from scipy.optimize import linprog

from cvxjax import linalg

Array = jax.Array

_NEWTON_STEPS = 40
_DECREMENT = 1e-2  # squared, at which a point is central enough
_CHUNK_ELEMENTS = 1 << 22


class SignCones(struct.PyTreeNode, kw_only=True):
    """K_i = {u : A_i u >= 0}, A_i = (2 D_i - I) X with rows scaled to unit length.

    Scaling rows changes no cone, and every A_i has the same Gram matrix X^T X (of
    the scaled rows), which is what makes the solvers fast. Blocks carry a leading
    sign axis: w is [2, P, d], A w is [2, P, n].
    """

    rows: Array  # [n, d], unit rows; zero rows stay zero
    lengths: Array  # [n], of the rows before scaling; 1 for zero rows
    masks: Array  # [P, n], bool
    interior: Array  # [P, d], unit, A_i interior_i > 0 on every non-zero row

    def apply(self, w: Array) -> Array:
        """A w, [..., P, n]."""
        z = linalg.dot(w, self.rows.T)
        return jnp.where(self.masks, z, -z)

    def adjoint(self, s: Array) -> Array:
        """A^T s, [..., P, d]."""
        return linalg.dot(jnp.where(self.masks, s, -s), self.rows)

    def gram(self) -> Array:
        """A_i^T A_i, [d, d], the same for every i."""
        return linalg.dot(self.rows.T, self.rows)

    def project(self, w: Array, multipliers: Array, steps: int) -> tuple[Array, Array]:
        """Moves each block towards its projection onto K_i.

        Takes `steps` accelerated projected-gradient steps on the dual
        min_{mu >= 0} 1/2 ||w_i + A_i^T mu||^2, restarted where momentum points uphill.

        Args:
          w: [..., P, d].
          multipliers: [..., P, n], where to start, >= 0.
          steps: how many steps; the result is the projection in the limit.

        Returns:
          w + A^T mu [..., P, d] and mu [..., P, n].

        Source: O'Donoghue & Candes (2015) for the restart.
        """
        largest = linalg.largest_eigenvalue(self.gram())
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
        """Least t [2, P] with A_i (w_i + t_i interior_i) >= 0."""
        margin = self.apply(self.interior[None])
        safe = jnp.where(margin > 0, margin, 1)
        short = jnp.where(margin > 0, jnp.maximum(-self.apply(w), 0) / safe, 0)
        return jnp.max(short, axis=-1)

    def violation(self, w: Array) -> Array:
        """max(-A w, 0) / max|A w|, a scalar; 0 for w = 0."""
        values = self.apply(w)
        size = jnp.max(jnp.abs(values))
        return jnp.maximum(-jnp.min(values), 0) / jnp.where(size > 0, size, 1)


def make_sign_cones(
    X: np.ndarray, masks: np.ndarray, gates: np.ndarray
) -> tuple[SignCones, np.ndarray]:
    """Builds the cones of the patterns that have an interior.

    A pattern read off a gate that lies on a hyperplane may belong to no open cell;
    its cone is then a face of a neighbour's, adds no network, and is left out.

    Args:
      X: [n, d].
      masks: [P, n], bool.
      gates: [P, d], points of the closed cells.

    Returns:
      The cones and `kept` [P], bool: which patterns they stand for.
    """
    lengths = np.sqrt(np.sum(X * X, axis=1))
    live = lengths > 0
    rows = np.where(live[:, None], X / np.where(live, lengths, 1)[:, None], 0)
    signs = np.where(masks, 1.0, -1.0).astype(X.dtype)
    margins = signs * (gates @ rows.T)
    sizes = np.sqrt(np.sum(gates * gates, axis=1))
    floor = 8 * np.finfo(X.dtype).eps
    strict = np.all(margins[:, live] > floor * sizes[:, None], axis=1) & (sizes > 0)
    gates = gates.astype(X.dtype, copy=True)
    kept = strict.copy()
    for i in np.flatnonzero(~strict):
        inner = _interior_point(rows[live].astype(np.float64), signs[i, live])
        if inner is not None:
            gates[i], kept[i] = inner, True
    masks, gates = masks[kept], gates[kept]
    interior = _analytic_centres(jnp.asarray(rows), jnp.asarray(masks), gates)
    cones = SignCones(
        rows=jnp.asarray(rows),
        lengths=jnp.asarray(np.where(live, lengths, 1).astype(X.dtype)),
        masks=jnp.asarray(masks),
        interior=interior,
    )
    return cones, kept


def _interior_point(rows: np.ndarray, signs: np.ndarray) -> np.ndarray | None:
    """argmax_u min_j signs_j rows_j^T u over |u|_inf <= 1, if that is positive."""
    n, d = rows.shape
    cost = np.append(np.zeros(d), -1.0)
    matrix = np.hstack([-signs[:, None] * rows, np.ones((n, 1))])
    bounds = [(-1, 1)] * d + [(None, 1)]
    result = linprog(cost, A_ub=matrix, b_ub=np.zeros(n), bounds=bounds)
    if result.status != 0 or result.x[-1] <= 1e-9:
        return None
    return result.x[:d]


@jax.jit
def _analytic_centres(rows: Array, masks: Array, gates: Array) -> Array:
    """Unit vectors deep inside the cells: argmin_u ||u||^2/2 - sum_j log A_ij u.

    Damped Newton from the gates; a deep point makes `lift` cheap in objective.
    """
    live = jnp.sum(rows * rows, axis=1) > 0
    steps = jnp.asarray([1.0, 0.5, 0.25, 0.1, 0.03, 0.01], rows.dtype)
    eye = jnp.eye(rows.shape[1], dtype=rows.dtype)

    def barrier(u: Array, margin: Array) -> Array:
        inside = jnp.all((margin > 0) | ~live)
        logs = jnp.where(live & (margin > 0), jnp.log(jnp.abs(margin) + ~live), 0)
        return jnp.where(inside, jnp.sum(u * u) / 2 - jnp.sum(logs), jnp.inf)

    def centre(mask: Array, gate: Array) -> Array:
        signed = jnp.where(mask[:, None], rows, -rows)

        def newton(carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            u, count, _ = carry
            margin = linalg.dot(signed, u)
            inverse = jnp.where(live, 1 / jnp.where(live, margin, 1), 0)
            slope = u - linalg.dot(signed.T, inverse)
            scaled = signed * inverse[:, None]
            hessian = eye + linalg.dot(scaled.T, scaled)
            move = -jnp.linalg.solve(hessian, slope)
            change = linalg.dot(signed, move)
            ratio = jnp.where(
                live & (change < 0), -margin / jnp.where(change < 0, change, 1), jnp.inf
            )
            reach = jnp.min(ratio)
            sizes = jnp.append(jnp.minimum(0.95 * reach, 1e3) * steps, 0.0)
            values = jax.vmap(lambda t: barrier(u + t * move, margin + t * change))(
                sizes
            )
            best = jnp.argmin(jnp.where(jnp.isnan(values), jnp.inf, values))
            return u + sizes[best] * move, count + 1, -jnp.sum(slope * move)

        def far(carry: tuple[Array, Array, Array]) -> Array:
            _, count, decrement = carry
            return (count < _NEWTON_STEPS) & (decrement > _DECREMENT)

        norm = jnp.sqrt(jnp.sum(gate * gate))
        infinite = jnp.asarray(jnp.inf, rows.dtype)
        zero = jnp.asarray(0, jnp.int32)
        u, _, _ = jax.lax.while_loop(far, newton, (gate / norm, zero, infinite))
        u = u / jnp.sqrt(jnp.sum(u * u))
        start = gate / norm
        deepest = lambda x: jnp.min(jnp.where(live, linalg.dot(signed, x), jnp.inf))  # noqa: E731
        return jnp.where(deepest(u) > deepest(start), u, start)

    chunk = max(1, min(masks.shape[0], _CHUNK_ELEMENTS // max(1, rows.size)))
    return jax.lax.map(lambda pair: centre(*pair), (masks, gates), batch_size=chunk)
