"""Convex programs over fixed gates, a few rows at a time: predictions and gradients.

With b of n rows x_j, masks D_ij = 1[x_j^T g_i >= 0], and weights w_sik of sign s, gate
i and output k,

    (1/b) [L(F w, y) + rho sum_{s,i,k} sum_j (-(2 D_ij - 1) x_j^T w_sik)_+]
        + (beta / n) R(w),                (F w)_jk = sum_{s,i} s D_ij x_j^T w_sik,

estimates 1/n of the convex objective, and of rho times the violation of the cones,
without bias. Nothing of size n P is kept: masks are made from the gates of each batch.
With a group norm the outputs share gates and nothing else, so that c outputs are c
programs of one. With a nuclear norm they are one program.

Source: the stochastic experiments of Pilanci & Ergen (ICML 2020). There the cones'
penalty takes each block's sum over outputs, which leaves no block in its cone; `summed`
is that.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.interfaces import Loss, Proximal
from cvxjax.record import Record, static

Array = jax.Array


class Sums(NamedTuple):
    """Values of the weights on some rows; those of all rows add up."""

    loss: Array  # [], L of the convex model
    network_loss: Array  # [], L of the ReLU network with the same weights
    right: Array  # [], rows that the convex model classifies rightly
    network_right: Array  # [], rows that the network does
    violation: Array  # [], sum of all (-(2 D_ij - 1) x_j^T w)_+
    reach: Array  # [], sum of all |x_j^T w|


class GateModel(Record):
    """The estimate above; weights are [S, P, c, d].

    Signs are 1 and -1; S = 1 leaves out the second, which gated programs do without.

    Args:
      gates: [P, d]; where patterns are spread over a mesh, this device's share.
      beta: weight decay of the sum over all n rows.
      loss: L, smooth.
      regulariser: R, a group norm of the last axis or a nuclear norm of the last two.
      cone_weight: rho; None: gated.
      num_samples: n, static.
      summed: penalise the cones of sums over outputs, static.
      products: dtype to which factors of products are rounded; sums stay in that of
        the weights. None: factors as they are. Static.
      axis: of a mesh, over which patterns are spread, static.
      rows_axis: of a mesh, over which the rows of a batch are spread, static.
    """

    gates: Array
    beta: Any
    loss: Loss
    regulariser: Proximal
    cone_weight: Any = None
    num_samples: int = static()
    summed: bool = static(default=False)
    products: Any = static(default=None)
    axis: str | None = static(default=None)
    rows_axis: str | None = static(default=None)

    def predict(self, w: Array, x: Array) -> Array:
        """F w of rows x [b, d], [b, c]."""
        z = self._dot(_difference(w), x.T)
        return self._total(jnp.where(self._masks(x), z, 0))

    def slope(self, w: Array, x: Array, y: Array) -> tuple[Array, Array]:
        """The gradient of the estimate without R, and its part L / b.

        Args:
          w: [S, P, c, d].
          x: [b, d].
          y: [b, c].

        Returns:
          [S, P, c, d] and [].
        """
        masks, b = self._masks(x), x.shape[0]
        if self.rows_axis is not None:
            b *= jax.lax.axis_size(self.rows_axis)
        if self._cones_of_each():
            both = self._dot(w, x.T)
            z = both[0] - both[1]
        else:
            both, z = None, self._dot(_difference(w), x.T)
        fit = self._total(jnp.where(masks, z, 0))
        pull = jnp.where(masks, self.loss.gradient(fit, y).T[None] / b, 0)
        if both is not None:
            kinks = _kinks(masks[None], both) * (self.cone_weight / b)
            slope = self._dot(jnp.stack([pull, -pull]) + kinks, x)
        else:
            slope = self._dot(pull, x)
            slope = slope[None] if w.shape[0] == 1 else jnp.stack([slope, -slope])
            if self.cone_weight is not None:
                sums = self._dot(jnp.sum(w, axis=2, keepdims=True), x.T)
                kinks = _kinks(masks[None], sums) * (self.cone_weight / b)
                slope = slope + self._dot(kinks, x)
        loss = self.loss.value(fit, y) / b
        if self.rows_axis is not None:
            slope, loss = jax.lax.psum((slope, loss), self.rows_axis)
        return slope, loss

    def sums(self, w: Array, x: Array, y: Array) -> Sums:
        """What rows x [b, d] with targets y [b, c] say of w [S, P, c, d].

        A class is the largest of several outputs, the sign of one.
        """
        masks, z = self._masks(x)[None], self._dot(w, x.T)
        convex = self._total(_difference(jnp.where(masks, z, 0)))
        network = self._total(_difference(jnp.maximum(z, 0)))
        violation = jnp.sum(jnp.maximum(jnp.where(masks, -z, z), 0))
        reach = jnp.sum(jnp.abs(z))
        if self.axis is not None:
            violation, reach = jax.lax.psum((violation, reach), self.axis)
        return Sums(
            loss=self.loss.value(convex, y),
            network_loss=self.loss.value(network, y),
            right=_right(convex, y),
            network_right=_right(network, y),
            violation=violation,
            reach=reach,
        )

    def penalty(self, w: Array) -> Array:
        """R(w), without beta."""
        total = jnp.sum(self.regulariser.norms(w))
        return total if self.axis is None else jax.lax.psum(total, self.axis)

    def penalty_slope(self, w: Array) -> Array:
        """A subgradient of (beta / n) R at w, 0 in blocks that are 0; group norms."""
        norms = self.regulariser.norms(w)[..., None]
        unit = jnp.where(norms > 0, w / jnp.where(norms > 0, norms, 1), 0)
        return (self.beta / self.num_samples) * unit

    def prox(self, w: Array, step: Array) -> Array:
        """argmin_u 1/2 ||u - w||^2 + step (beta / n) R(u)."""
        return self.regulariser.prox(w, step * self.beta / self.num_samples)

    def flops(self, shape: tuple[int, ...], b: int) -> int:
        """Floating-point operations of the products of one `slope` of b rows."""
        S, P, c, d = shape
        blocks = S * c if self._cones_of_each() else c
        if self.cone_weight is not None and not self._cones_of_each():
            blocks += S
        return 2 * b * P * d * (1 + 2 * blocks)

    def _cones_of_each(self) -> bool:
        return self.cone_weight is not None and not self.summed

    def _masks(self, x: Array) -> Array:
        """[P, 1, b]; never of rounded factors."""
        return (linalg.dot(self.gates, x.T) >= 0)[:, None]

    def _dot(self, a: Array, b: Array) -> Array:
        """a @ b, [..., m, k] with [k, l], as one product."""
        dtype = b.dtype
        if self.products is not None:
            a, b = a.astype(self.products), b.astype(self.products)
        product = jnp.matmul(
            a.reshape(-1, a.shape[-1]),
            b,
            precision=jax.lax.Precision.HIGHEST,
            preferred_element_type=dtype,
        )
        return product.reshape(*a.shape[:-1], b.shape[-1])

    def _total(self, z: Array) -> Array:
        """The sum of [P, c, b] over all patterns, [b, c]."""
        total = jnp.sum(z, axis=0).T
        return total if self.axis is None else jax.lax.psum(total, self.axis)


def _difference(w: Array) -> Array:
    """sum_s s w_s of [S, ...]."""
    return w[0] if w.shape[0] == 1 else w[0] - w[1]


def _kinks(masks: Array, z: Array) -> Array:
    """The slope of (-(2 D - 1) z)_+ in z."""
    outside = jnp.where(masks, z < 0, z > 0)
    return jnp.where(outside, jnp.where(masks, -1.0, 1.0), 0).astype(z.dtype)


def _right(fit: Array, y: Array) -> Array:
    """How many rows have their class."""
    if y.shape[1] == 1:
        return jnp.sum(jnp.sign(fit) == jnp.sign(y))
    return jnp.sum(jnp.argmax(fit, axis=1) == jnp.argmax(y, axis=1))
