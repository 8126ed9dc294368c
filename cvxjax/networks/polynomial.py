"""Two-layer networks with an activation of degree two and first layer of unit norm."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cvxjax.algebra.arrays import as_input
from cvxjax.networks.layers import dense, root, width_of

Array = jax.Array


class Polynomial(nn.Module):
    """f(X) = sigma(X U) A, sigma(t) = a t^2 + b t + c, from [n, d] to [n] or [n, c].

    On patches X [n, K, h], averaged over windows of P = `pool` patches,

        f(X) = sum_k sum_j A_kj (1/P) sum_(l in window k) sigma(x_l^T u_j),

    k = 1..W, W = K / P; `pool=None` is P = K, global average pooling. A row x [d] is
    one patch.

    Parameters: `first/kernel` [d, m], whose columns over their norms are the u_j (a
    column of zeros stays zero), and `second/kernel` [W m, c], A_kj in row k m + j, k
    from 0. The output is [n] if `num_outputs` is None, with c = 1. `num_neurons` as in
    `TwoLayer`; at initialisation columns of `first` have norms near 1, and `second`
    has variance `init_scale`^2 / (W m).

    The penalty of the convex program is the l1 norm of A at ||u_j|| = 1. If norms were
    free, u_j could grow and A shrink, for b = c = 0 until the penalty is nothing.
    Weight decay is another penalty, as `programs.polynomial` says.

    Source: Bartan & Pilanci, Neural Spectrahedra and Semidefinite Lifts (2021).
    """

    coefficients: tuple[float, float, float]  # a, b, c
    num_outputs: int | None = None
    pool: int | None = None
    num_neurons: int | None = None
    init_scale: float = 1.0

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        inputs = as_input(inputs)
        a, b, c = self.coefficients
        patches = inputs[:, None] if inputs.ndim == 2 else inputs
        n, K, h = patches.shape
        pool = K if self.pool is None else self.pool
        if pool < 1 or K % pool:
            raise ValueError(f"want a pool that divides K = {K} patches; got {pool}")
        m, windows = width_of(self, self.num_neurons), K // pool
        t = dense(patches, m, "first", root(1, h))
        t = t / jnp.broadcast_to(self._norms(), t.shape)
        hidden = (a * t + b) * t + c
        hidden = jnp.mean(hidden.reshape(n, windows, pool, m), axis=2)
        hidden = hidden.reshape(n, windows * m)
        std = self.init_scale * root(1, windows * m)
        outputs = 1 if self.num_outputs is None else self.num_outputs
        f = dense(hidden, outputs, "second", std)
        return f[..., 0] if self.num_outputs is None else f

    def _norms(self) -> Array:
        """The norms of the columns of `first`, [m], with 1 for a column of zeros."""
        variables: Any = self.get_variable("params", "first")
        squares = jnp.sum(variables["kernel"] ** 2, axis=0)
        # Never the root of zero, where its derivative is infinite.
        return jnp.sqrt(jnp.where(squares > 0, squares, 1))

    def penalty(self, params: Any) -> Array:
        """What beta multiplies: the sum of the absolute values of `second`."""
        return jnp.sum(jnp.abs(params["second"]["kernel"]))
