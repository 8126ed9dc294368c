"""Two-layer networks with normalisation before or after the ReLU.

With C v = v - mean(v) if `centre`, else v, and

    N_{g, a}(v) = g C v / ||C v|| + a / sqrt(n),    a = 0 unless `shift`,

over the n samples of training, f = sum_j N_j(X u_j)_+ b_j for order "before", and
f = sum_j N_j((X u_j)_+) b_j for "after". C v / ||C v|| has unit length, not unit
variance.
"""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cvxjax.algebra.arrays import as_input
from cvxjax.networks.layers import dense, root, width_of
from cvxjax.networks.training import half_squared_norm

Array = jax.Array

ORDERS = ("before", "after")


class BatchNorm(nn.Module):
    """The network above, from [n, d] to [n], or to [n, c] with `num_outputs`.

    Parameters: `first/kernel` [d, m], columns u_j, whose lengths do not matter; `scale`
    [m], g; with `shift`, `shift` [m], a; `second/kernel` [m, 1] or [m, c],
    b.

    The collection `batch_stats` has the statistics of the training samples: `mean` [m],
    zero unless `centre`, `norm` [m] and `root` [], sqrt(n). With `batch=True` those of
    the samples given are used instead and nothing is stored: for training with all
    samples in every step.
    """

    order: str = "before"
    centre: bool = True
    shift: bool = True
    num_neurons: int | None = None
    batch: bool = False
    init_scale: float = 1.0
    num_outputs: int | None = None

    @nn.compact
    def __call__(self, X: Array) -> Array:
        X = as_input(X)
        check_order(self.order)
        m = width_of(self, self.num_neurons)
        hidden = dense(X, m, "first", self.init_scale * root(2, X.shape[1]))
        if self.order == "before":
            hidden = nn.relu(self._normalised(hidden))
        else:
            hidden = self._normalised(nn.relu(hidden))
        std, several = self.init_scale * root(1, m), self.num_outputs is not None
        result = dense(hidden, self.num_outputs or 1, "second", std)
        return result if several else result[..., 0]

    def _normalised(self, hidden: Array) -> Array:
        m, dtype = hidden.shape[1], hidden.dtype
        scale = self.param("scale", nn.initializers.ones, (m,), dtype)
        at_hand = statistics_of(hidden, self.centre)
        if not self.batch:
            at_hand = {
                name: self.variable("batch_stats", name, lambda v=value: v).value
                for name, value in at_hand.items()
            }
        centred = hidden - at_hand["mean"][None]
        result = scale[None] * centred / at_hand["norm"][None]
        if self.shift:
            shift = self.param("shift", nn.initializers.zeros, (m,), dtype)
            result = result + shift[None] / at_hand["root"]
        return result

    def penalty(self, params: Any) -> Array:
        """What beta multiplies: half the squares of scale, shift and second."""
        return half_squared_norm({k: v for k, v in params.items() if k != "first"})


def statistics_of(hidden: Array, centre: bool) -> dict[str, Array]:
    """`mean` [m], zero unless `centre`, `norm` [m] and `root`, sqrt(n), of [n, m].

    A norm that is zero is replaced by one.
    """
    mean = jnp.mean(hidden, axis=0) if centre else jnp.zeros_like(hidden[0])
    squares = jnp.sum((hidden - mean[None]) ** 2, axis=0)
    safe = jnp.where(squares > 0, squares, 1)  # sqrt has no derivative at zero
    root = jnp.sqrt(jnp.asarray(len(hidden), hidden.dtype))
    return {"mean": mean, "norm": jnp.sqrt(safe), "root": root}


def check_order(order: str) -> None:
    """ValueError unless `order` is one of `ORDERS`."""
    if order not in ORDERS:
        raise ValueError(f"want order, one of {', '.join(ORDERS)}; got {order!r}")
