"""Two-layer networks with a scalar output: ReLU, and ReLU with fixed gates.

Neither has biases: append a column of ones to X for them. `cvxjax.programs.two_layer`
has the convex programs of their training with weight decay.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra.arrays import as_input
from cvxjax.networks.layers import dense, equal_gated, hash_gated, root, width_of
from cvxjax.networks.training import half_squared_norm

Array = jax.Array


class TwoLayer(nn.Module):
    """f(X) = (X W1)_+ W2, from [n, d] to [n].

    Parameters: `first/kernel` [d, m] and `second/kernel` [m, 1], of the dtype of the X
    given to `init`. `num_neurons=0` is legal and is the zero network.

    At initialisation `first` has variance 2/d (He) and `second` 1/m, so that outputs
    have the size of ||x|| / sqrt(d); `init_scale` multiplies both standard deviations.

    `num_neurons=None` takes the width of the variables it is applied to, and cannot
    be initialised.
    """

    num_neurons: int | None
    init_scale: float = 1.0

    penalty = staticmethod(half_squared_norm)  # what beta multiplies

    @nn.compact
    def __call__(self, X: Array) -> Array:
        X = as_input(X)
        d, m = X.shape[-1], width_of(self, self.num_neurons)
        hidden = nn.relu(dense(X, m, "first", self.init_scale * root(2, d)))
        return dense(hidden, 1, "second", self.init_scale * root(1, m))[..., 0]


class GatedTwoLayer(nn.Module):
    """f(X) = sum_i 1[X g_i >= 0] (X w_i) a_i, from [n, d] to [n].

    Gated ReLU: gates g_i are fixed, so that f is linear in u_i = w_i a_i, and
    (beta/2) (||w_i||^2 + a_i^2) is beta ||u_i|| at its minimum for given u_i.

    Parameters: `first/kernel` [d, P] (columns w_i) and `second/kernel` [P, 1]. The
    gates are copied to the collection `gates`, which training does not change, and
    read from there: the variables alone determine f. Initialisation as in `TwoLayer`.
    """

    gates: Any  # [P, d], concrete
    init_scale: float = 1.0

    __hash__ = hash_gated
    __eq__ = equal_gated

    penalty = staticmethod(half_squared_norm)  # what beta multiplies

    @nn.compact
    def __call__(self, X: Array) -> Array:
        X = as_input(X)
        P, d = np.shape(self.gates)
        if d != X.shape[-1]:
            raise ValueError(f"want X [n, {d}] for gates [{P}, {d}]; got {X.shape}")
        gates = self.variable("gates", "gates", jnp.asarray, self.gates, X.dtype).value
        active = jnp.matmul(X, gates.T, precision=jax.lax.Precision.HIGHEST) >= 0
        hidden = dense(X, P, "first", self.init_scale * root(2, d))
        hidden = jnp.where(active, hidden, 0)
        return dense(hidden, 1, "second", self.init_scale * root(1, P))[..., 0]
