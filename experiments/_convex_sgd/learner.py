"""One side of a comparison of training runs: its first state, its step, its judge."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cvxjax.devices.sharding import SAMPLES
from experiments._convex_sgd.rows import Rows

METRICS = (
    "objective",  # per row, of what is trained
    "network_objective",  # per row, of the ReLU network with the same weights
    "violation",  # of the cones, relative: sum (-(2 D - 1) x w)_+ / sum |x w|
    "train_accuracy",  # of what is trained
    "test_accuracy",
    "network_train_accuracy",  # of the ReLU network with the same weights
    "network_test_accuracy",
    "zero_blocks",  # share of blocks, or of neurons, that are exactly zero
)


class Cost(NamedTuple):
    """What a step takes."""

    flops: int  # of its products
    parameters: int
    compile_seconds: float
    peak_bytes: int  # of a device, by the compiler's count
    held_bytes: int  # of these: parameters, optimizer, gates and one batch


class Learner(NamedTuple):
    """A run to be made.

    Attributes:
      state: before the first step; any pytree of arrays.
      step: compiled, (state, x, y) -> (state, loss per row before it); it takes over
        the state's memory.
      measure: from a state to the METRICS.
      cost: of a step.
    """

    state: Any
    step: Callable[[Any, Any, Any], tuple[Any, Any]]
    measure: Callable[[Any], Mapping[str, Any]]
    cost: Cost


def memory_of(compiled: Any) -> tuple[int, int]:
    """Peak bytes of a compiled function on a device, and of these its arguments."""
    sizes = compiled.memory_analysis()
    held = sizes.argument_size_in_bytes
    made = sizes.output_size_in_bytes - sizes.alias_size_in_bytes
    return held + made + sizes.temp_size_in_bytes, held


def replicated(mesh: Mesh) -> NamedSharding:
    """Where arrays lie that every device has."""
    return NamedSharding(mesh, PartitionSpec())


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Where the rows of a batch lie."""
    return NamedSharding(mesh, PartitionSpec(SAMPLES))


def batch_shapes(rows: Rows, size: int, mesh: Mesh) -> tuple[Any, Any]:
    """A batch without its numbers, to compile for."""
    x, y = (
        jax.ShapeDtypeStruct(
            (size, array.shape[1]), array.dtype, sharding=batch_sharding(mesh)
        )
        for array in rows
    )
    return x, y


def chunks(rows: Rows, size: int, mesh: Mesh) -> Iterator[tuple[Any, Any]]:
    """All rows in order, `size` at a time, on every device."""
    for start in range(0, len(rows.x), size):
        part = slice(start, start + size)
        yield jax.device_put((rows.x[part], rows.y[part]), replicated(mesh))


def add_up(parts: Sequence[Any]) -> Any:
    """The sum of equal trees of numbers, in float64."""
    numbers = [jax.tree.map(np.float64, jax.device_get(part)) for part in parts]
    return jax.tree.map(lambda *leaves: sum(leaves), *numbers)
