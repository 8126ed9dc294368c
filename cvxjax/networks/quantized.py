"""The bilinear network with weights -1 and 1, its rounding, and its packed form."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.algebra.arrays import as_input
from cvxjax.networks.layers import dense, root, width_of
from cvxjax.record import Record

Array = jax.Array

_SIDES = ("left", "right")


class Quantized(nn.Module):
    """f(X) = sum_j (X u_j)(X v_j) alpha_j, from [n, d] to [n].

    Parameters: `left/kernel` and `right/kernel` [d, m], columns u_j and v_j, and
    `second/kernel` [m, 1]. Kernels of integers, int8, are signs and are used as given.
    Kernels of floats, which `init` makes and training changes, are used with columns
    scaled to norm sqrt(d), the norm of signs, so that the penalty means the same. A
    column of zeros stays zero.

    At initialisation `second` has standard deviation `init_scale` / (d sqrt(m)), so
    that outputs have the size of ||x||^2 / d. `num_neurons` as in `TwoLayer`.
    """

    num_neurons: int | None = None
    init_scale: float = 1.0

    @nn.compact
    def __call__(self, X: Array) -> Array:
        X = as_input(X)
        d, m = X.shape[-1], width_of(self, self.num_neurons, layer="left")
        left, right = (_Signs(m, name=side)(X) for side in _SIDES)
        std = self.init_scale * root(1, m) / d
        return dense(left * right, 1, "second", std)[..., 0]

    def penalty(self, params: Any) -> Array:
        """What beta multiplies: sum_j |alpha_j|."""
        return jnp.sum(jnp.abs(params["second"]["kernel"]))


class _Signs(nn.Module):
    """X W, [n, m], with W = `kernel` [d, m] if that is of integers, else scaled."""

    num_neurons: int

    @nn.compact
    def __call__(self, X: Array) -> Array:
        X = as_input(X)
        shape = X.shape[-1], self.num_neurons
        kernel: Any = self.param("kernel", nn.initializers.normal(1), shape, X.dtype)
        if jnp.issubdtype(kernel.dtype, jnp.integer):
            return linalg.dot(X, kernel.astype(X.dtype))
        squares = jnp.sum(kernel * kernel, axis=0, keepdims=True)
        # Never the root of zero, where its derivative is infinite.
        sizes = jnp.sqrt(jnp.where(squares > 0, squares, 1) / X.shape[-1])
        return linalg.dot(X, kernel / sizes)


def quantized_variables(u: Any, v: Any, alpha: Any) -> dict[str, Any]:
    """Variables of `Quantized` with neurons u [m, d], v [m, d], alpha [m]."""
    kernels = jnp.asarray(u).T, jnp.asarray(v).T, jnp.asarray(alpha)[:, None]
    layers = zip((*_SIDES, "second"), kernels, strict=True)
    return {"params": {name: {"kernel": kernel} for name, kernel in layers}}


def round_signs(variables: Any) -> dict[str, Any]:
    """Variables with both kernels replaced by their signs, int8; sign(0) is 1."""
    params = variables["params"]
    signs = {
        side: {"kernel": jnp.where(params[side]["kernel"] >= 0, 1, -1).astype(jnp.int8)}
        for side in _SIDES
    }
    return {"params": {**signs, "second": params["second"]}}


class Packed(Record):
    """A network of signs that takes one bit for each of them."""

    left: Array  # [ceil(d / 8), m], uint8
    right: Array  # [ceil(d / 8), m], uint8
    alpha: Array  # [m]


def pack(variables: Any) -> Packed:
    """The variables of a `Quantized` network with eight signs in a byte.

    Raises:
      ValueError: if a weight is not -1 or 1 (`round_signs` makes it so).
    """
    params = variables["params"]
    kernels = [np.asarray(params[side]["kernel"]) for side in _SIDES]
    if any(np.any(np.abs(kernel) != 1) for kernel in kernels):
        raise ValueError("want weights -1 and 1, as of round_signs; got others")
    left, right = (jnp.packbits(kernel > 0, axis=0) for kernel in kernels)
    return Packed(left=left, right=right, alpha=params["second"]["kernel"][:, 0])


def unpack(packed: Packed, d: int) -> dict[str, Any]:
    """The inverse of `pack`: variables of `Quantized`, with int8 kernels [d, m].

    Raises:
      ValueError: if `packed` has another number of bytes for d.
    """
    if packed.left.shape[0] != -(-d // 8):
        raise ValueError(f"want {packed.left.shape[0]} bytes a neuron; got d = {d}")

    def signs(packed: Array) -> Array:
        if packed.size == 0:  # which jnp.unpackbits does not take
            return jnp.zeros((packed.shape[1], d), jnp.int8)
        bits = jnp.unpackbits(packed, axis=0, count=d).astype(jnp.int8)
        return (2 * bits - 1).T

    return quantized_variables(signs(packed.left), signs(packed.right), packed.alpha)


@jax.jit
def apply_packed(packed: Packed, X: Array) -> Array:
    """f(X), [n], of X [n, d], unpacking the signs as part of the computation."""
    network: Any = Quantized()
    return network.apply(unpack(packed, X.shape[-1]), X)
