"""Regularisers R(w), a sum over blocks: norms, proximal maps, dual norms.

Parameters are [S, P, ...], one block for each sign and pattern. All but `ProductNorms`
meet `interfaces.Gauge`; all but that and `EllipsoidNorm` meet `interfaces.Proximal`.
Their methods are documented there.

`GroupNorm` and `EllipsoidNorm` are norms ||T w_b||_2; solvers for second-order cones
||T w_b||_2 <= t read T by `tails` and its companions.
"""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from cvxjax.algebra import linalg
from cvxjax.algebra.rounding import lengths
from cvxjax.record import Record, static

Array = jax.Array


class GroupNorm(Record):
    """sum_b ||w_b||_2 for blocks [..., d]; T is the identity."""

    norm: ClassVar[str] = "group"
    degree: ClassVar[int] = 1
    shape: ClassVar[None] = None

    def norms(self, w: Array) -> Array:
        return group_norms(w)

    def prox(self, w: Array, threshold: ArrayLike) -> Array:
        return prox_group(w, threshold)

    def dual_norms(self, q: Array) -> Array:
        return group_norms(q)

    def tails(self, w: Array) -> Array:
        """T w_b: vectors whose Euclidean norms are the norms of w."""
        return w

    def adjoint_tails(self, p: Array) -> Array:
        """T^T p_b, the transpose of `tails`."""
        return p

    def dual_tails(self, q: Array) -> Array:
        """T^{-T} q_b: vectors whose Euclidean norms are the dual norms of q."""
        return q

    def inverse_products(self, size: int) -> Array:
        """Inverses of the matrices of inner products from w^T w to (T w)^T T w.

        A solver takes its first step's size from the fits of least norm in each.

        Returns:
          [k, d, d], d = size.
        """
        return jnp.eye(size)[None]

    def tails_of_rows(self, rows: Array) -> Array:
        """M T for rows M [..., k, d]: a map of T w as a map of w."""
        return rows

    def lengths(self, rows: Array) -> Array:
        """`dual_norms` of rows [..., d], right where squares over- or underflow."""
        return lengths(rows, jnp)


class EllipsoidNorm(Record):
    """sum_b ||T w_b||_2 for blocks [..., d]: the group norm in other coordinates.

    Methods without a docstring have it in `GroupNorm`.
    """

    norm: ClassVar[str] = "ellipsoid"
    degree: ClassVar[int] = 1
    root: Array  # T [d, d], invertible
    inverse: Array  # [d, d], of T

    def norms(self, w: Array) -> Array:
        return group_norms(self.tails(w))

    def dual_norms(self, q: Array) -> Array:
        return group_norms(self.dual_tails(q))

    def tails(self, w: Array) -> Array:
        return linalg.dot(w, self.root.T)

    def adjoint_tails(self, p: Array) -> Array:
        return linalg.dot(p, self.root)

    def dual_tails(self, q: Array) -> Array:
        return linalg.dot(q, self.inverse)

    def inverse_products(self, size: int) -> Array:
        """I, and (I + T^T T / t_k^2)^{-1} for every singular value t_k of T."""
        _, t, turn = jnp.linalg.svd(self.root, full_matrices=False)
        shares = 1 / (1 + (t[None] / t[:, None]) ** 2)
        between = linalg.dot(turn.T[None] * shares[:, None], turn[None])
        return jnp.concatenate([jnp.eye(size, dtype=t.dtype)[None], between])

    def tails_of_rows(self, rows: Array) -> Array:
        return linalg.dot(rows, self.root)

    def lengths(self, rows: Array) -> Array:
        return lengths(self.dual_tails(rows), jnp)


class PairNorms(Record):
    """sum_b sum_k ||(w_b,2k, w_b,2k+1)||_2 for blocks [..., 2 G]: complex l1 norms."""

    norm: ClassVar[str] = "pairs"
    degree: ClassVar[int] = 1
    shape: ClassVar[None] = None

    def norms(self, w: Array) -> Array:
        return jnp.sum(group_norms(_pairs(w)), axis=-1)

    def prox(self, w: Array, threshold: ArrayLike) -> Array:
        return prox_group(_pairs(w), threshold).reshape(w.shape)

    def dual_norms(self, q: Array) -> Array:
        return jnp.max(group_norms(_pairs(q)), axis=-1)


class NuclearNorm(Record):
    """sum_b ||W_b||_*, the sum of singular values of each block.

    Args:
      shape: (rows, columns) of blocks that are stored as vectors [..., rows columns];
        None for blocks [..., rows, columns].
    """

    norm: ClassVar[str] = "nuclear"
    degree: ClassVar[int] = 1
    shape: tuple[int, int] | None = static(default=None)

    def norms(self, w: Array) -> Array:
        return jnp.sum(self._values(w), axis=-1)

    def prox(self, w: Array, threshold: ArrayLike) -> Array:
        left, values, right = jnp.linalg.svd(self._matrices(w), full_matrices=False)
        values = jnp.maximum(values - threshold, 0)
        product = jnp.matmul(
            left * values[..., None, :], right, precision=jax.lax.Precision.HIGHEST
        )
        return product.reshape(w.shape)

    def dual_norms(self, q: Array) -> Array:
        return jnp.max(self._values(q), axis=-1)

    def _matrices(self, w: Array) -> Array:
        return w if self.shape is None else w.reshape(*w.shape[:-1], *self.shape)

    def _values(self, w: Array) -> Array:
        return jnp.linalg.svd(self._matrices(w), compute_uv=False)


class ProductNorms(Record):
    """sum_j ||u_j||_2 ||v_j||_2 for neurons (u_j, v_j) of [..., d + c].

    The least value for given predictions is a gauge of these, NP-hard in general.
    """

    norm: ClassVar[str] = "products"
    degree: ClassVar[int] = 2
    split: int = static()  # d

    def norms(self, w: Array) -> Array:
        return group_norms(w[..., : self.split]) * group_norms(w[..., self.split :])


def group_norms(w: Array) -> Array:
    """||w_b||_2 of every block b; the block is the last axis.

    The derivative at a block of zeros is 0, the subgradient of least norm.
    """
    squares = jnp.sum(w * w, axis=-1)
    live = squares > 0
    return jnp.where(live, jnp.sqrt(jnp.where(live, squares, 1)), squares)


def prox_group(w: Array, threshold: ArrayLike) -> Array:
    """Shrinks each block of `w` by its Euclidean norm.

    Returns argmin_u 1/2 ||u - w||^2 + threshold sum_b ||u_b||_2.

    Args:
      w: [..., d], one group per last axis.
      threshold: [], >= 0; step size times beta in proximal gradient methods.

    Returns:
      [..., d], dtype of `w`; small blocks become exactly 0.

    Source: Parikh & Boyd, Proximal Algorithms (2014), section 6.5.
    """
    norms = group_norms(w)[..., None]
    safe = jnp.where(norms > 0, norms, 1)
    return w * jnp.maximum(1 - threshold / safe, 0)


def _pairs(w: Array) -> Array:
    return w.reshape(*w.shape[:-1], -1, 2)
