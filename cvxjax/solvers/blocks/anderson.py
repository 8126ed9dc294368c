"""Safeguarded Anderson acceleration of a fixed-point map x -> g(x).

The next point is g(x) - sum_j c_j (g_{j+1} - g_j), with c minimising the norm of
f(x) - sum_j c_j (f_{j+1} - f_j) for the residuals f = g - x of the last few points.
If the residual grows after such a move, the move is taken back and memory is cleared.

Source: Walker & Ni (2011), type II; Zhang, O'Donoghue & Boyd (2020) for safeguards.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.record import Record

Array = jax.Array

_GROWTH = 1.5  # of the residual's norm that is still accepted


class Anderson(Record):
    """Differences of the last M images and residuals, in a ring."""

    images: Array  # [M, N], g_{j+1} - g_j
    residuals: Array  # [M, N], f_{j+1} - f_j
    gram: Array  # [M, M], of the residuals' differences
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
            gram=jnp.zeros((memory, memory), like.dtype),
            image=like,
            residual=jnp.zeros_like(like),
            size=jnp.asarray(jnp.inf, like.dtype),
            count=jnp.asarray(0, jnp.int32),
        )

    def move(self, x: Array, g: Array) -> tuple[Array, Anderson]:
        """The point to go on from, after the map took x [N] to g [N].

        Writes one row of either ring and reads them once: what is not counted stays
        there, without weight.
        """
        M, f = len(self.images), g - x
        size = jnp.sqrt(jnp.sum(f * f))
        failed = ~(size <= _GROWTH * self.size)
        grown = (self.count > 0) & ~failed
        slot = (self.count - 1) % M
        row = jnp.where(grown, f - self.residual, 0)
        residuals = self.residuals.at[slot].set(row)
        images = self.images.at[slot].set(jnp.where(grown, g - self.image, 0))
        products = linalg.dot(residuals, jnp.stack([row, f], axis=1))
        gram = self.gram.at[slot].set(products[:, 0]).at[:, slot].set(products[:, 0])

        counted = jnp.arange(M) < jnp.minimum(self.count, M)
        known = jnp.where(counted[:, None] & counted[None], gram, 0)
        ridge = jnp.finfo(f.dtype).eps ** 0.75 * jnp.trace(known)
        shifted = known + jnp.where(ridge > 0, ridge, 1) * jnp.eye(M, dtype=f.dtype)
        weights = jnp.linalg.solve(shifted, jnp.where(counted, products[:, 1], 0))
        ahead = g - linalg.dot(jnp.where(counted, weights, 0), images)
        back = lambda old, new: jnp.where(failed, old, new)  # noqa: E731
        return back(self.image, ahead), Anderson(
            images=images,
            residuals=residuals,
            gram=gram,
            image=back(self.image, g),
            residual=back(self.residual, f),
            size=back(jnp.full_like(size, jnp.inf), size),
            count=back(0, self.count + 1),
        )


def move_if(due: Array, accelerate: Callable[[Any], Any], state: Any) -> Any:
    """accelerate(state) if it is due, else state.

    A loop of one turn or none works on the rings in place, which `cond` would copy.
    """
    once = lambda carry: (jnp.asarray(False), accelerate(carry[1]))  # noqa: E731
    return jax.lax.while_loop(lambda carry: carry[0], once, (due, state))[1]
