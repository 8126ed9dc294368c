"""Two-layer networks with several outputs: ReLU, and ReLU with fixed gates."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cvxjax.algebra.arrays import as_input
from cvxjax.networks.layers import dense, equal_gated, hash_gated, root, width_of
from cvxjax.networks.training import half_squared_norm

Array = jax.Array


class VectorOutput(nn.Module):
    """f(X) = (X W1)_+ W2, from [n, d] to [n, c].

    Parameters: `first/kernel` [d, m] and `second/kernel` [m, c]. Initialisation and
    `num_neurons` as in `TwoLayer`.
    """

    num_outputs: int
    num_neurons: int | None = None
    init_scale: float = 1.0

    penalty = staticmethod(half_squared_norm)  # what beta multiplies

    @nn.compact
    def __call__(self, X: Array) -> Array:
        X = as_input(X)
        m = width_of(self, self.num_neurons)
        hidden = nn.relu(dense(X, m, "first", self.init_scale * root(2, X.shape[1])))
        return dense(hidden, self.num_outputs, "second", self.init_scale * root(1, m))


class GatedVectorOutput(nn.Module):
    """f(X) = sum_j 1[X g_j >= 0] (X u_j) v_j^T, from [n, d] to [n, c].

    Parameters: `first/kernel` [d, m], columns u_j, and `second/kernel` [m, c]. The
    gates are the collection `gates`, [m, d], which training leaves alone; `gates` is
    only needed to initialise.
    """

    num_outputs: int
    gates: Any = None
    init_scale: float = 1.0

    __hash__ = hash_gated
    __eq__ = equal_gated

    penalty = staticmethod(half_squared_norm)  # what beta multiplies

    @nn.compact
    def __call__(self, X: Array) -> Array:
        X = as_input(X)
        if self.gates is None and not self.has_variable("gates", "gates"):
            raise ValueError("want gates to initialise a network; got None")
        gates = self.variable("gates", "gates", jnp.asarray, self.gates, X.dtype).value
        active = jnp.matmul(X, gates.T, precision=jax.lax.Precision.HIGHEST) >= 0
        m = len(gates)
        hidden = dense(X, m, "first", self.init_scale * root(2, X.shape[1]))
        hidden = jnp.where(active, hidden, 0)
        return dense(hidden, self.num_outputs, "second", self.init_scale * root(1, m))
