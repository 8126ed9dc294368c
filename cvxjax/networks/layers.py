"""Layers without bias, in the dtype of the data, for all networks."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import numpy as np

Array = jax.Array


def root(gain: float, fan_in: int) -> float:
    """(gain / fan_in)^(1/2), the standard deviation of initial weights."""
    return (gain / max(fan_in, 1)) ** 0.5


def dense(X: Array, features: int, name: str, std: float) -> Array:
    """X W, [..., features], inside a module; W is `name`/kernel, from N(0, std^2)."""
    return nn.Dense(
        features,
        use_bias=False,
        name=name,
        param_dtype=X.dtype,
        kernel_init=nn.initializers.normal(std),
        precision=jax.lax.Precision.HIGHEST,
    )(X)


def width_of(
    module: nn.Module, num_neurons: int | None, *, layer: str = "first"
) -> int:
    """`num_neurons`, or if that is None the width of the variables of `layer`.

    Raises:
      ValueError: if it is None and there are no variables yet.
    """
    if num_neurons is not None:
        return num_neurons
    if not module.has_variable("params", layer):
        raise ValueError("want num_neurons to initialise a network; got None")
    variables: Any = module.get_variable("params", layer)
    return variables["kernel"].shape[-1]


def hash_gated(self: Any) -> int:
    """A hash, by value, of a module with an array `gates`, which `jit` needs."""
    gates = np.asarray(self.gates)
    return hash((type(self), gates.shape, gates.tobytes(), self.init_scale))


def equal_gated(self: Any, other: object) -> bool:
    """Whether two such modules are equal by value."""
    if type(self) is not type(other):
        return False
    names = ("gates", "init_scale", "num_outputs")
    pairs = [(getattr(self, name, 0), getattr(other, name, 0)) for name in names]
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)
