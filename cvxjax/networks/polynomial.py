"""Networks with an activation of degree two and first-layer weights of unit norm."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cvxjax import linalg
from cvxjax.networks.layers import dense, root, width_of

Array = jax.Array


class Polynomial(nn.Module):
    """f(X) = sigma(X U) A, sigma(t) = a t^2 + b t + c, from [n, d] to [n] or [n, c].

    From patches [n, K, h], averaged in windows of `pool` of them, default all:
    f = sum_k sum_j mean_l sigma(x_l^T u_j) A_kj over the patches l of window k.

    Parameters: `first/kernel` [d, m], whose columns stand for u_j, themselves over
    their norm (a column of zeros stays zero), and `second/kernel` [W m, c], A_kj in row
    k m + j. Without the unit norm, which the convex program needs, the penalty would
    not see the scale of u_j. Initialisation and `num_neurons` as in `TwoLayer`.
    """

    coefficients: tuple[float, float, float]
    num_outputs: int | None = None  # None: f is [n]
    pool: int | None = None
    num_neurons: int | None = None
    init_scale: float = 1.0

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        a, b, c = self.coefficients
        m = width_of(self, self.num_neurons)
        t = _UnitColumns(m, name="first")(inputs)
        hidden = (a * t + b) * t + c
        if inputs.ndim == 3:
            n, K, _ = inputs.shape
            pool = K if self.pool is None else self.pool
            if pool < 1 or K % pool:
                raise ValueError(f"want pool that divides {K} patches; got {pool}")
            hidden = jnp.mean(hidden.reshape(n, K // pool, pool, m), axis=2)
            hidden = hidden.reshape(n, -1)
        outputs = 1 if self.num_outputs is None else self.num_outputs
        std = self.init_scale * root(1, hidden.shape[1])
        out = dense(hidden, outputs, "second", std)
        return out[..., 0] if self.num_outputs is None else out

    def penalty(self, params: Any) -> Array:
        """What beta multiplies: the sum of |A_kj|."""
        return jnp.sum(jnp.abs(params["second"]["kernel"]))


class _UnitColumns(nn.Module):
    """X U, [..., m]; `kernel` [d, m] is U up to the norms of its columns."""

    num_neurons: int

    @nn.compact
    def __call__(self, X: Array) -> Array:
        shape = X.shape[-1], self.num_neurons
        kernel: Any = self.param("kernel", nn.initializers.normal(1), shape, X.dtype)
        squares = jnp.sum(kernel * kernel, axis=0, keepdims=True)
        # The root is taken of positive numbers only: its derivative at 0 is infinite.
        return linalg.dot(X, kernel / jnp.sqrt(jnp.where(squares > 0, squares, 1)))
