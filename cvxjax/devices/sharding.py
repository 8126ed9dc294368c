"""Meshes of devices, and programs spread over them, in one process or several.

A mesh has two axes: rows of the data lie over `samples`, blocks over `patterns`.
Solvers need no change. From where a program's arrays lie, the compiler divides their
products and adds up what devices hold in parts: predictions are sums over patterns,
gradients of blocks sums over samples. Results are those of one device to rounding.
What Admm remembers for its acceleration, every device has all of.

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

# Axes of the arrays in programs and in their cones; every device has all the others.
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

    Devices of one process are neighbours along `patterns`, so that processes divide
    the samples where `samples` is a multiple of their number.

    Args:
      samples: how many parts the rows of the data are in.
      patterns: how many parts the blocks are in; default as many as there are devices
        for.
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
    """The program with its arrays spread over the mesh; every process has all of it.

    Where the mesh does not divide the number of patterns, patterns are added whose
    masks are all zero. Their blocks are zero at every optimum, and this program is the
    one that solutions fit and that is to be certified. Where it does not divide the
    number of samples, every device has all samples.

    Args:
      program: two-layer, or gated with several outputs.
      mesh: of `make_mesh`.

    Raises:
      ValueError: for other programs, whose arrays are laid out in another way.
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
    """The program of all rows, of the program that each process made of its own.

    Processes whose devices hold the same part of the samples must bring the same rows,
    and all processes as many rows, with the same patterns' gates in the same order.

    Args:
      program: gated, over the rows of this process alone; their parts of the patterns
        are `Patterns(masks=X @ gates.T >= 0, ...)`.
      mesh: of `make_mesh`, over all processes.

    Raises:
      ValueError: for programs with cones, whose interior depends on every row; if
        devices do not divide the rows; for other programs, as in `place`.
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
    """The array over the mesh of which each process has `local`, the part it loaded.

    Args:
      local: what the devices of this process hold, in the order of the mesh.
      mesh: of `make_mesh`, over all processes.
      spec: the mesh's axes of the array's; those that are not named are whole
        in every process.

    Raises:
      ValueError: if this process's devices do not divide `local`.
    """
    return jax.make_array_from_process_local_data(NamedSharding(mesh, spec), local)


def gather(tree: Any) -> Any:
    """The tree with whole NumPy arrays in place of JAX's, in every process.

    Certificates, recovery and files need them. All processes have to call it.

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
    """Raises ValueError unless blocks are patterns' and the rows of X samples."""
    if not program.splits:
        raise ValueError(
            "want a two-layer program, or a gated one with several outputs; "
            f"got {type(program).__name__}"
        )


def _pad_patterns(program: Any, parts: int) -> Any:
    """Adds patterns until `parts` divides their number."""
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
    """The program with every array put where its name says."""

    def one(path: tuple[Any, ...], leaf: Any) -> Array:
        return put(np.asarray(leaf), _LAYOUT.get(path[-1].name, ()))

    return jax.tree_util.tree_map_with_path(one, program)
