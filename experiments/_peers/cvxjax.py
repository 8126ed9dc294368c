"""cvxjax itself, measured as the others are: arrays in, arrays out."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

import cvxjax as cj
from cvxjax.devices.runtime import configure_jax
from cvxjax.programs.two_layer import TwoLayerProgram
from cvxjax.solvers.choice import default_solver
from experiments._peers.judge import make_program
from experiments._peers.problem import Problem

configure_jax()


def versions() -> dict[str, str]:
    """Of the packages that matter."""
    packages = ("cvxjax", "jax", "jaxlib", "numpy")
    return {package: importlib.metadata.version(package) for package in packages}


def solve(problem: Problem, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Solves by a solver of `cvxjax.solvers`, or by the default one.

    Args:
      problem: with cones or without.
      settings: `solver`, its name, or none; `dtype`, if not float64; `devices` that
        share the patterns, if not one; what else there is are the solver's options.
    """
    options = dict(settings)
    dtype = options.pop("dtype", "float64")
    name, devices = options.pop("solver", None), options.pop("devices", 1)
    if name is not None and not hasattr(cj.solvers, name):
        raise ValueError(f"not in this version: {name}")
    program = make_program(problem, dtype)
    if devices > 1:
        program = spread(program, devices)
    solver = default_solver(program) if name is None else getattr(cj.solvers, name)()
    solution = cj.solve(program, solver.replace(**options))
    jax.block_until_ready(solution.params)
    return {
        "params": np.asarray(solution.params),
        "dual": np.asarray(solution.dual),
        "status": np.asarray(cj.Status(int(solution.status)).name),
        "iterations": np.asarray(int(solution.iterations)),
    }


def spread(program: TwoLayerProgram, devices: int) -> TwoLayerProgram:
    """The program with its pattern axis over the first devices, the rest on each.

    The compiler partitions what is computed from it.
    """
    most, P = len(jax.devices()), len(program.masks)
    if devices > most or P % devices:
        raise ValueError(
            f"want devices <= {most} that divide P = {P}; got devices = {devices}"
        )
    mesh = Mesh(np.asarray(jax.devices()[:devices]), ("patterns",))
    split = NamedSharding(mesh, PartitionSpec("patterns"))
    placed = jax.device_put(program, NamedSharding(mesh, PartitionSpec()))
    masks, gates = (jax.device_put(x, split) for x in (program.masks, program.gates))
    cones = placed.cones
    if program.cones is not None:
        cones = placed.cones.replace(
            masks=jax.device_put(program.cones.masks, split),
            interior=jax.device_put(program.cones.interior, split),
        )
    return placed.replace(masks=masks, gates=gates, cones=cones)
