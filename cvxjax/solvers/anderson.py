"""Safeguarded Anderson acceleration of a fixed-point map x -> g(x).

The next point is g(x) - sum_j c_j (g_{j+1} - g_j), with c minimising the norm of
f(x) - sum_j c_j (f_{j+1} - f_j) for the residuals f = g - x of the last few points.
If the residual grows after such a move, the move is taken back and memory is cleared.

Source: Walker & Ni (2011), type II; Zhang, O'Donoghue & Boyd (2020) for safeguards.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import struct

from cvxjax import linalg

Array = jax.Array

_GROWTH = 1.5  # of the residual's norm that is still accepted


class Anderson(struct.PyTreeNode, kw_only=True):
    """Differences of the last M images and residuals, in a ring."""

    images: Array  # [M, N], g_{j+1} - g_j
    residuals: Array  # [M, N], f_{j+1} - f_j
    image: Array  # [N], the last g, where a failed move returns to
    residual: Array  # [N], the last f
    size: Array  # [], the last residual's norm; inf at the start
    count: Array  # [], int32, points seen since the memory was cleared

    @classmethod
    def start(cls, like: Array, memory: int) -> Anderson:
        nothing = jnp.zeros((memory, like.size), like.dtype)
        return cls(
            images=nothing,
            residuals=nothing,
            image=like,
            residual=jnp.zeros_like(like),
            size=jnp.asarray(jnp.inf, like.dtype),
            count=jnp.asarray(0, jnp.int32),
        )

    def cleared(self) -> Anderson:
        """Forgets everything, as after a change of the map."""
        return self.replace(
            images=jnp.zeros_like(self.images),
            residuals=jnp.zeros_like(self.residuals),
            size=jnp.full_like(self.size, jnp.inf),
            count=jnp.zeros_like(self.count),
        )

    def move(self, x: Array, g: Array) -> tuple[Array, Anderson]:
        """The point to go on from, after the map took x [N] to g [N]."""
        f = g - x
        size = jnp.sqrt(jnp.sum(f * f))
        failed = ~(size <= _GROWTH * self.size)

        def back() -> tuple[Array, Anderson]:
            return self.image, self.cleared()

        def onward() -> tuple[Array, Anderson]:
            slot = (self.count - 1) % len(self.images)
            known = self.count > 0
            put = lambda ring, row: jnp.where(known, ring.at[slot].set(row), ring)  # noqa: E731
            images = put(self.images, g - self.image)
            residuals = put(self.residuals, f - self.residual)
            gram = linalg.dot(residuals, residuals.T)
            eps = jnp.finfo(f.dtype).eps ** 0.75
            ridge = eps * jnp.trace(gram)
            eye = jnp.eye(len(gram), dtype=gram.dtype)
            shifted = gram + jnp.where(ridge > 0, ridge, 1) * eye
            weights = jnp.linalg.solve(shifted, linalg.dot(residuals, f))
            ahead = g - linalg.dot(weights, images)
            return ahead, Anderson(
                images=images,
                residuals=residuals,
                image=g,
                residual=f,
                size=size,
                count=self.count + 1,
            )

        return jax.lax.cond(failed, back, onward)
