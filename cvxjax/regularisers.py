"""The group norm: value, proximal map, dual norm."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

Array = jax.Array


def group_norms(w: Array) -> Array:
    """||w_b||_2 of every block b; the block is the last axis."""
    return jnp.sqrt(jnp.sum(w * w, axis=-1))


def group_penalty(w: Array) -> Array:
    """sum_b ||w_b||_2, a scalar."""
    return jnp.sum(group_norms(w))


def prox_group(w: Array, threshold: ArrayLike) -> Array:
    """Shrinks each block of `w` by its Euclidean norm.

    Returns argmin_u 1/2 ||u - w||^2 + threshold sum_b ||u_b||_2.

    Args:
      w: [..., d], one group per last axis.
      threshold: [], step size times beta, >= 0.

    Returns:
      [..., d], dtype of `w`; small blocks become exactly 0.

    Source: Parikh & Boyd, Proximal Algorithms (2014), section 6.5.
    """
    norms = group_norms(w)[..., None]
    safe = jnp.where(norms > 0, norms, 1)
    return w * jnp.maximum(1 - threshold / safe, 0)


def group_dual_norm(q: Array) -> Array:
    """max_b ||q_b||_2, the dual norm of `group_penalty`."""
    return jnp.max(group_norms(q))
