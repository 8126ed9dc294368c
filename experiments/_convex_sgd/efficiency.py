"""How fast products can be on the devices of a mesh, measured."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from experiments._frame.clock import timed

_SIDES = {"cpu": 2_048}
_SIDE = 8_192  # of an accelerator
_REPEATS = 5


def gemm_rate(mesh: Mesh, dtype: Any) -> float:
    """Flops per second of a square product on every device at once, median of 5.

    Args:
      mesh: of the devices.
      dtype: of the factors; sums are in float32, without TF32.
    """
    side = _SIDES.get(mesh.devices.flat[0].platform, _SIDE)
    axes = PartitionSpec(mesh.axis_names)

    @functools.partial(jax.shard_map, mesh=mesh, in_specs=axes, out_specs=axes)
    def square(a: Any) -> Any:
        product = jnp.matmul(
            a[0],
            a[0],
            precision=jax.lax.Precision.HIGHEST,
            preferred_element_type=jnp.float32,
        )
        return product[None]

    def ones() -> Any:
        return jnp.ones((mesh.size, side, side), dtype)

    a = jax.jit(ones, out_shardings=NamedSharding(mesh, axes))()
    compiled = jax.jit(square).lower(a).compile()
    _, seconds = timed(lambda: compiled(a), 1 + _REPEATS)
    return 2 * side**3 * mesh.size / float(np.median(seconds[1:]))
