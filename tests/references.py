"""Independent answers: CVXPY + Clarabel for the programs, local search for networks."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np


def cvxpy_loss(loss: Any, z: Any, y: np.ndarray) -> tuple[Any, list[Any]]:
    """The loss as an expression and constraints."""
    margins = cp.multiply(y, z)
    match loss.name:
        case "squared":
            return 0.5 * cp.sum_squares(z - y), []
        case "logistic":
            return cp.sum(cp.logistic(-margins)), []
        case "hinge":
            return cp.sum(cp.pos(1 - margins)), []
        case "squared_hinge":
            return 0.5 * cp.sum_squares(cp.pos(1 - margins)), []
        case "huber":
            return 0.5 * cp.sum(cp.huber(z - y, float(loss.delta))), []
        case "interpolation":
            return cp.Constant(0), [z == y]
        case "hard_margin":
            return cp.Constant(0), [margins >= 1]
    raise ValueError(f"no CVXPY form of {loss.name}")


def two_layer_optimum(program: Any) -> float:
    """The optimal value of a two-layer program, by CVXPY and Clarabel."""
    X = np.asarray(program.X, np.float64)
    y = np.asarray(program.y, np.float64)
    masks = np.asarray(program.masks, np.float64)
    v, w = (cp.Variable((X.shape[1], len(masks))) for _ in range(2))
    z = cp.sum(cp.multiply(masks.T, X @ (v - w)), axis=1)
    objective, constraints = cvxpy_loss(program.loss, z, y)
    penalty = cp.sum(cp.norm(v, axis=0)) + cp.sum(cp.norm(w, axis=0))
    if program.cones is not None:
        signs = 2 * masks.T - 1
        constraints += [cp.multiply(signs, X @ u) >= 0 for u in (v, w)]
    problem = cp.Problem(
        cp.Minimize(objective + float(program.beta) * penalty), constraints
    )
    tolerances = {f"tol_{k}": 1e-11 for k in ("gap_abs", "gap_rel", "feas")}
    problem.solve(solver=cp.CLARABEL, **tolerances)
    return float(problem.value)
