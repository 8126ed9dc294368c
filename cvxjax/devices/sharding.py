"""Meshes of devices, and programs spread over them, in one process or several.

A mesh has two axes: rows of the data are divided along `samples`, blocks along
`patterns`. Solvers need no change: from the sharding of a program's arrays, the
compiler divides products and adds up partial sums, predictions over patterns and
gradients over samples. Results are those of one device, to rounding. The memory of
Admm's acceleration is not divided: every device has a copy.

    mesh = make_mesh(samples=2)  # all other devices along patterns
    placed = place(program, mesh)
    solution = gather(cj.solve(placed, Admm()))
    certificate = cj.certify(gather(placed), solution)

`processes.start_processes` comes first where there are several processes, each of
which runs the same lines.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec

Array = jax.Array

SAMPLES, PATTERNS = "samples", "patterns"

# Axes of the arrays in programs and cones; all other arrays are copied to every device.
_LAYOUT = {
    "X": (SAMPLES,),
    "y": (SAMPLES,),
    "weights": (SAMPLES,),
    "masks": (PATTERNS, SAMPLES),
    "gates": (PATTERNS,),
    "rows": (SAMPLES,),
    "lengths": (SAMPLES,),
    "interior": (PATTERNS,),
}


def make_mesh(
    samples: int = 1,
    patterns: int | None = None,
    devices: Sequence[Any] | None = None,
) -> Mesh:
    """A mesh with the axes `samples` and `patterns`.

    Devices of one process are neighbours along `patterns`, so that each process has its
    own samples if `samples` is a multiple of the number of processes.

    Args:
      samples: into how many parts the rows of the data are divided.
      patterns: into how many parts the blocks are divided; default, as many as the
        devices allow.
      devices: default those of all processes.

    Raises:
      ValueError: unless samples times patterns is the number of devices.
    """
    every = list(jax.devices() if devices is None else devices)
    if patterns is None and samples >= 1:
        patterns = len(every) // samples
    if samples < 1 or not patterns or samples * patterns != len(every):
        raise ValueError(
            f"want samples x patterns = {len(every)}, the number of devices; "
            f"got {samples} x {patterns}"
        )
    return Mesh(np.asarray(every).reshape(samples, patterns), (SAMPLES, PATTERNS))


def place(program: Any, mesh: Mesh) -> Any:
    """The program with its arrays divided among the devices of the mesh.

    If the number of patterns is not a multiple of the mesh's, patterns with masks of
    zeros are added, whose blocks are zero at every optimum. Certify the result's
    solutions with `gather(result)`. If the number of samples is not a multiple, every
    device gets all samples.

    Args:
      program: two-layer, or gated with several outputs; whole in every process.
      mesh: from `make_mesh`.

    Raises:
      ValueError: for other programs.
    """
    _check_program(program)
    program = _pad_patterns(jax.tree.map(np.asarray, program), mesh.shape[PATTERNS])
    whole = len(program.X) % mesh.shape[SAMPLES] > 0

    def put(array: np.ndarray, axes: tuple[str, ...]) -> Array:
        kept = [None if whole and axis == SAMPLES else axis for axis in axes]
        sharding = NamedSharding(mesh, PartitionSpec(*kept))
        return jax.make_array_from_callback(
            array.shape, sharding, lambda index: array[index]
        )

    return _spread(program, put)


def join(program: Any, mesh: Mesh) -> Any:
    """The program of all rows, joined from programs that each process made of its own.

    All processes must have as many rows, and the same gates in the same order.
    Processes whose devices hold the same part of the samples must have the same rows.

    Args:
      program: gated, over the rows of this process alone, with patterns
        `Patterns(masks=gates @ X.T >= 0, gates=gates, ...)` of these rows.
      mesh: from `make_mesh`, over all processes.

    Raises:
      ValueError: for programs with cones, whose interior depends on all rows; if the
        rows cannot be divided among the devices; for other programs, as in `place`.
    """
    _check_program(program)
    if program.cones is not None:
        raise ValueError("want a gated program; got one with cones over every row")
    program = _pad_patterns(jax.tree.map(np.asarray, program), mesh.shape[PATTERNS])
    y = global_array(program.y, mesh, PartitionSpec(SAMPLES))
    sizes = {SAMPLES: len(y), PATTERNS: len(program.masks)}

    def put(array: np.ndarray, axes: tuple[str, ...]) -> Array:
        shape = (*(sizes[axis] for axis in axes), *array.shape[len(axes) :])
        return jax.make_array_from_process_local_data(
            NamedSharding(mesh, PartitionSpec(*axes)), array, shape
        )

    return _spread(program, put)


def global_array(local: np.ndarray, mesh: Mesh, spec: PartitionSpec) -> Array:
    """One array over the mesh, from the part `local` that each process loaded.

    Args:
      local: the part of the devices of this process, in the order of the mesh.
      mesh: from `make_mesh`, over all processes.
      spec: for each axis of the array, the mesh's axis along which it is divided.

    Raises:
      ValueError: if `local` cannot be divided among this process's devices.
    """
    return jax.make_array_from_process_local_data(NamedSharding(mesh, spec), local)


def gather(tree: Any) -> Any:
    """The tree with whole NumPy arrays in place of JAX's, in every process.

    Certificates, recovery and files need these. All processes must call it.

    Args:
      tree: a program, a solution, a state or an array.
    """

    def whole(leaf: Any) -> Any:
        if not isinstance(leaf, jax.Array):
            return leaf
        if leaf.is_fully_addressable or leaf.is_fully_replicated:
            return np.asarray(leaf)
        return multihost_utils.process_allgather(leaf, tiled=True)

    return jax.tree.map(whole, tree)


def _check_program(program: Any) -> None:
    """Raises ValueError unless a mesh can divide the program."""
    if not program.splits:
        raise ValueError(
            "want a two-layer program, or a gated one with several outputs; "
            f"got {type(program).__name__}"
        )


def _pad_patterns(program: Any, parts: int) -> Any:
    """The program with patterns added until `parts` divides their number."""
    missing = -len(program.masks) % parts
    if not missing:
        return program
    last = lambda x: np.pad(x, ((0, missing), (0, 0)), mode="edge")  # noqa: E731
    cones = program.cones
    if cones is not None:
        cones = cones.replace(masks=last(cones.masks), interior=last(cones.interior))
    return program.replace(
        masks=np.pad(program.masks, ((0, missing), (0, 0))),
        gates=last(program.gates),
        cones=cones,
        scope=program.scope,
    )


def _spread(program: Any, put: Callable[[np.ndarray, tuple[str, ...]], Array]) -> Any:
    """The program with `put(array, axes)` for every array, its axes by `_LAYOUT`."""

    def one(path: tuple[Any, ...], leaf: Any) -> Array:
        return put(np.asarray(leaf), _LAYOUT.get(path[-1].name, ()))

    return jax.tree_util.tree_map_with_path(one, program)
