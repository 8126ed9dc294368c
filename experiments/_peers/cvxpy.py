"""CVXPY: one vectorised problem, handed to Clarabel or SCS.

All patterns stand in one expression: a Python loop over them takes longer to compile
than Clarabel takes to solve.
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Mapping
from typing import Any

import cvxpy as cp
import numpy as np

from experiments._peers.problem import Problem


def versions() -> dict[str, str]:
    """Of the packages that matter."""
    packages = ("cvxpy", "clarabel", "scs", "numpy")
    return {package: importlib.metadata.version(package) for package in packages}


def solve(problem: Problem, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Solves by the solver named.

    Args:
      problem: with cones or without.
      settings: `solver`, CLARABEL or SCS; `tol`, of its gap and its residuals;
        `seconds`, after which SCS returns what it has.
    """
    options = _clarabel if settings["solver"] == "CLARABEL" else _scs
    masks = problem.masks.T.astype(np.float64)  # [n, P]
    blocks = [
        cp.Variable((problem.X.shape[1], masks.shape[1]))
        for _ in range(1 if problem.gated else 2)
    ]
    images = [problem.X @ block for block in blocks]
    difference = images[0] if problem.gated else images[0] - images[1]
    fit = cp.sum(cp.multiply(masks, difference), axis=1)
    penalty = cp.sum([cp.sum(cp.norm(block, 2, axis=0)) for block in blocks])
    cones: list[cp.Constraint] = []
    if not problem.gated:
        cones += [cp.multiply(2 * masks - 1, z) >= 0 for z in images]
    objective = 0.5 * cp.sum_squares(fit - problem.y) + problem.beta * penalty
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cp.Problem(cp.Minimize(objective), cones).solve(
            solver=settings["solver"], **options(settings)
        )
    params = np.zeros(problem.shape)
    for s, block in enumerate(blocks):
        if block.value is None:
            raise RuntimeError(f"{settings['solver']} gave no point")
        params[s] = block.value.T
    return {"params": params}


def _clarabel(settings: Mapping[str, Any]) -> dict[str, float]:
    return {f"tol_{name}": settings["tol"] for name in ("gap_abs", "gap_rel", "feas")}


def _scs(settings: Mapping[str, Any]) -> dict[str, float]:
    tol, seconds = settings["tol"], settings.get("seconds", 0)
    limits = {"max_iters": 1_000_000, "time_limit_secs": seconds}
    return limits | {"eps_abs": tol, "eps_rel": tol}
