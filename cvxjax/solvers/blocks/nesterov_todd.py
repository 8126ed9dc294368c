"""Second-order cones {(t, w) : ||w|| <= t}: Jordan algebra and Nesterov-Todd scaling.

Points of a cone are pairs: `head` [...] and `tail` [..., d]. For x = (t, w) and
z = (s, q) inside, the scaling W is the symmetric map with W^{-1} x = W z.

Source: Vandenberghe, The CVXOPT linear and quadratic cone program solvers (2010),
section 4.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from cvxjax.record import Record

Array = jax.Array
Pair = tuple[Array, Array]


def inner(a: Array, b: Array) -> Array:
    """a^T b over the last axis."""
    return jnp.sum(a * b, axis=-1)


def norm(a: Array) -> Array:
    """||a|| over the last axis."""
    return jnp.sqrt(inner(a, a))


def product(x: Pair, z: Pair) -> Pair:
    """The Jordan product (x_0 z_0 + x_1^T z_1, x_0 z_1 + z_0 x_1)."""
    head = x[0] * z[0] + inner(x[1], z[1])
    return head, x[0][..., None] * z[1] + z[0][..., None] * x[1]


def divide(d: Pair, x: Pair) -> Pair:
    """u with product(x, u) = d, for x inside the cone."""
    determinant = (x[0] - norm(x[1])) * (x[0] + norm(x[1]))
    head = (x[0] * d[0] - inner(x[1], d[1])) / determinant
    return head, (d[1] - head[..., None] * x[1]) / x[0][..., None]


def map_eigenvalues(x: Pair, function) -> Pair:
    """Applies `function` to x_0 + ||x_1|| and x_0 - ||x_1||, keeping the axes."""
    size = norm(x[1])
    axis = x[1] / jnp.where(size > 0, size, 1)[..., None]
    high, low = function(x[0] + size), function(x[0] - size)
    return (high + low) / 2, axis * ((high - low) / 2)[..., None]


def room(x: Pair, move: Pair) -> Array:
    """The largest a with x + a move inside, for x inside; inf if there is none."""
    a = (move[0] - norm(move[1])) * (move[0] + norm(move[1]))
    b = x[0] * move[0] - inner(x[1], move[1])
    c = (x[0] - norm(x[1])) * (x[0] + norm(x[1]))
    square = b * b - a * c
    root = jnp.sqrt(jnp.maximum(square, 0))
    q = -(b + jnp.where(b >= 0, root, -root))
    leaves = (square >= 0) & ~((a >= 0) & (move[0] >= 0))

    def positive(top: Array, bottom: Array) -> Array:
        value = top / jnp.where(bottom != 0, bottom, 1)
        return jnp.where(leaves & (bottom != 0) & (value > 0), value, jnp.inf)

    return jnp.minimum(positive(q, a), positive(c, q))


class Scaling(Record):
    """W = eta [[h, k^T], [k, I + k k^T / (1 + h)]], h^2 - ||k||^2 = 1."""

    head: Array  # [...], h
    tail: Array  # [..., d], k
    eta: Array  # [...]

    @classmethod
    def between(cls, x: Pair, z: Pair) -> Scaling:
        size_x, size_z = norm(x[1]), norm(z[1])
        root_x = jnp.sqrt((x[0] - size_x) * (x[0] + size_x))
        root_z = jnp.sqrt((z[0] - size_z) * (z[0] + size_z))
        x0, x1 = x[0] / root_x, x[1] / root_x[..., None]
        z0, z1 = z[0] / root_z, z[1] / root_z[..., None]
        gamma = jnp.sqrt((1 + x0 * z0 + inner(x1, z1)) / 2)
        return cls(
            head=(x0 + z0) / (2 * gamma),
            tail=(x1 - z1) / (2 * gamma)[..., None],
            eta=jnp.sqrt(root_x / root_z),
        )

    def apply(self, x: Pair) -> Pair:
        """W x."""
        return self._move(x, self.tail, self.eta)

    def inverse(self, x: Pair) -> Pair:
        """W^{-1} x."""
        return self._move(x, -self.tail, 1 / self.eta)

    def _move(self, x: Pair, k: Array, scale: Array) -> Pair:
        along = inner(k, x[1])
        bend = x[0] + along / (1 + self.head)
        head = (self.head * x[0] + along) * scale
        return head, (x[1] + k * bend[..., None]) * scale[..., None]

    @property
    def _axis(self) -> Array:
        size = norm(self.tail)
        return self.tail / jnp.where(size > 0, size, 1)[..., None]

    @property
    def _thin(self) -> Array:
        return 1 / (2 * self.head**2 - 1)

    def curvature(self, w: Array) -> Array:
        """S w, with S what W^{-2} leaves on tails once the head is eliminated.

        S = (I - k^ k^^T + k^ k^^T / (2 h^2 - 1)) / eta^2, k^ = k / ||k||.
        """
        axis = self._axis
        along = axis * inner(axis, w)[..., None]
        return (w - along + self._thin[..., None] * along) / self.eta[..., None] ** 2

    def root(self) -> Array:
        """S^{1/2}, [..., d, d]."""
        axis, shrink = self._axis, 1 - jnp.sqrt(self._thin)
        outer = axis[..., :, None] * axis[..., None, :]
        eye = jnp.broadcast_to(jnp.eye(axis.shape[-1], dtype=axis.dtype), outer.shape)
        return (eye - shrink[..., None, None] * outer) / self.eta[..., None, None]

    def head_of(self, target: Array, w: Array) -> Array:
        """t with (W^{-2} (t, w))_0 = target."""
        slope = 2 * self.head * inner(self.tail, w)
        return (target * self.eta**2 + slope) * self._thin
