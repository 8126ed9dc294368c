"""Convolutional networks with a scalar output.

`Convolutional` takes patches or signals, as the programs do; `ImageConvolutional` is
the same network on images, with a Flax `Conv`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from cvxjax.algebra.arrays import as_input, check_pair
from cvxjax.arrangements.convolutional import circular_patches
from cvxjax.networks.layers import dense, root, width_of

Array = jax.Array

POOLS = ("sum_pool", "average_pool", "max_pool")
KINDS = (*POOLS, "linear", "circular", "circular_relu")


class Convolutional(nn.Module):
    """Filters u_j on the K patches X_k of every sample, from [n, K, h] to [n].

    sum_pool, average_pool   sum_j sum_k (X_k u_j)_+ a_j, over K for average_pool
    max_pool                 sum_j max_k (X_k u_j)_+ a_j
    linear                   sum_j sum_k X_k u_j a_jk
    circular                 the same; X_k is X [n, d] shifted by k, K = h = d
    circular_relu            sum_j (sum_k X_k u_j w_jk)_+ a_j, X_k as in circular

    Parameters: `first/kernel` [h, m], columns u_j; `second/kernel` [m, 1], or
    [K m, 1] with index k m + j; and for circular_relu `middle` [K, m]. Initialisation
    and `num_neurons` as in `TwoLayer`.
    """

    kind: str
    num_neurons: int | None = None
    init_scale: float = 1.0

    @nn.compact
    def __call__(self, inputs: Array) -> Array:
        inputs = as_input(inputs)
        check_kind(self.kind)
        m = width_of(self, self.num_neurons)
        patches = circular_patches(inputs) if inputs.ndim == 2 else inputs
        n, K, h = patches.shape
        hidden = dense(patches, m, "first", self.init_scale * root(2, h))
        if self.kind in POOLS:
            hidden = pool(nn.relu(hidden), self.kind)
        elif self.kind == "circular_relu":
            draw = nn.initializers.normal(self.init_scale * root(2, K))
            middle = self.param("middle", draw, (K, m), inputs.dtype)
            hidden = nn.relu(jnp.sum(hidden * middle[None], axis=1))
        else:
            hidden = hidden.reshape(n, -1)
        std = self.init_scale * root(1, hidden.shape[1])
        return dense(hidden, 1, "second", std)[..., 0]

    def penalty(self, params: Any) -> Array:
        """What beta multiplies: half the squares of all parameters.

        For circular_relu it is 1/2 sum_j (||u_j||^2 ||w_j||^2 + a_j^2), as if filters
        had unit length.
        """
        first, second = params["first"]["kernel"], params["second"]["kernel"]
        squares = jnp.sum(first**2, axis=0)
        if self.kind == "circular_relu":
            squares = squares * jnp.sum(params["middle"] ** 2, axis=0)
        return (jnp.sum(squares) + jnp.sum(second**2)) / 2


class ImageConvolutional(nn.Module):
    """`Convolutional` of a pooling kind on images, from [n, height, width, c] to [n].

    Parameters: `first/kernel` [height, width, c, m] of a Flax `Conv` without bias, and
    `second/kernel` [m, 1].
    """

    kind: str
    size: int | tuple[int, int]  # of a filter
    num_neurons: int | None = None
    strides: int | tuple[int, int] = (1, 1)
    padding: str | Sequence[tuple[int, int]] = "VALID"
    init_scale: float = 1.0

    @nn.compact
    def __call__(self, images: Array) -> Array:
        images = as_input(images)
        if self.kind not in POOLS:
            raise ValueError(f"want kind, one of {', '.join(POOLS)}; got {self.kind!r}")
        m = width_of(self, self.num_neurons)
        size = check_pair(self.size, "size")
        fan_in = size[0] * size[1] * images.shape[-1]
        hidden = nn.Conv(
            m,
            size,
            check_pair(self.strides, "strides"),
            self.padding,
            use_bias=False,
            name="first",
            param_dtype=images.dtype,
            kernel_init=nn.initializers.normal(self.init_scale * root(2, fan_in)),
            precision=jax.lax.Precision.HIGHEST,
        )(images)
        hidden = pool(nn.relu(hidden).reshape(len(images), -1, m), self.kind)
        return dense(hidden, 1, "second", self.init_scale * root(1, m))[..., 0]


def image_variables(variables: Any, size: tuple[int, int]) -> dict[str, Any]:
    """Variables of `ImageConvolutional` from those of `Convolutional`.

    Args:
      variables: of a pooling kind, on patches of `arrangements.extract_patches`.
      size: of a filter, (height, width).
    """
    params = variables["params"]
    kernel = params["first"]["kernel"]
    kernel = kernel.reshape(*size, -1, kernel.shape[-1])
    return {"params": {"first": {"kernel": kernel}, "second": params["second"]}}


def pool(hidden: Array, kind: str) -> Array:
    """Pools over patches: [n, m] of hidden [n, K, m], for a kind of `POOLS`."""
    if kind == "max_pool":
        return jnp.max(hidden, axis=1)
    total = jnp.sum(hidden, axis=1)
    return total / hidden.shape[1] if kind == "average_pool" else total


def check_kind(kind: str) -> None:
    """ValueError unless `kind` is one of `KINDS`."""
    if kind not in KINDS:
        raise ValueError(f"want kind, one of {', '.join(KINDS)}; got {kind!r}")
