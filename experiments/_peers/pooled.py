"""CVXPY on a program of pooled filters, in this process."""

from __future__ import annotations

import time
import warnings
from typing import Any, NamedTuple

import cvxpy as cp
import numpy as np

TOL = 1e-4  # of Clarabel's gap and residuals, absolute and relative


class Answer(NamedTuple):
    """What came, judged as it is: its cones may be violated by `TOL`."""

    objective: float  # NaN without a point
    seconds: float  # CVXPY's own work included


def solve_by_cvxpy(program: Any, limit: float) -> Answer | None:
    """The program by CVXPY and Clarabel; None if `limit` seconds are none.

    Args:
      program: `cvxjax.programs.convolutional.PooledProgram`.
      limit: seconds that Clarabel may take.
    """
    if limit <= 0:
        return None
    features = np.asarray(program.features)
    P, n, h = features.shape
    flat = features.transpose(1, 0, 2).reshape(n, P * h)
    rows, masks = np.asarray(program.rows), np.asarray(program.masks)
    sides = 2.0 * masks.T - 1
    start = time.perf_counter()
    blocks = [cp.Variable((h, P)) for _ in range(2)]
    fit = flat @ cp.vec(blocks[0] - blocks[1], order="F")
    penalty = cp.sum([cp.sum(cp.norm(block, 2, axis=0)) for block in blocks])
    cones: list[Any] = [cp.multiply(sides, rows @ block) >= 0 for block in blocks]
    loss = 0.5 * cp.sum_squares(fit - np.asarray(program.y))
    problem = cp.Problem(cp.Minimize(loss + float(program.beta) * penalty), cones)
    options = {f"tol_{name}": TOL for name in ("gap_abs", "gap_rel", "feas")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            problem.solve(solver="CLARABEL", time_limit=limit, **options)
        except cp.SolverError:
            return Answer(float("nan"), time.perf_counter() - start)
    solved = problem.status in ("optimal", "optimal_inaccurate")
    value: Any = problem.value if solved else float("nan")
    return Answer(float(value), time.perf_counter() - start)
