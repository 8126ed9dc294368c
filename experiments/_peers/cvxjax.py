"""cvxjax itself, measured as the others are: arrays in, arrays out."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cvxjax as cj
from cvxjax.arrangements.patterns import Patterns
from cvxjax.runtime import configure_jax
from cvxjax.solve import default_solver
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
      settings: `solver`, its name, or none; what else there is are its options.
    """
    options = dict(settings)
    name = options.pop("solver", None)
    if name is not None and not hasattr(cj.solvers, name):
        raise ValueError(f"not in this version: {name}")
    patterns = Patterns(
        masks=jnp.asarray(problem.masks),
        gates=jnp.asarray(problem.gates),
        scope=cj.Scope.SAMPLED,
    )
    program = cj.programs.make_two_layer(
        problem.X, problem.y, patterns, beta=problem.beta, gated=problem.gated
    )
    solver = default_solver(program) if name is None else getattr(cj.solvers, name)()
    solution = cj.solve(program, solver.replace(**options))
    jax.block_until_ready(solution.params)
    return {
        "params": np.asarray(solution.params),
        "dual": np.asarray(solution.dual),
        "status": np.asarray(cj.Status(int(solution.status)).name),
        "iterations": np.asarray(int(solution.iterations)),
    }
