"""Points from outside the library: Clarabel's, and a least-squares fit of constraints.

Each becomes feasible before it counts: the judge moves it into the cones, and its
value is that of the moved point.
"""

from __future__ import annotations

import warnings
from typing import Any

import cvxpy as cp
import numpy as np
from scipy.optimize import linprog

import cvxjax as cj
from tests import instances
from tests.references import cvxpy_loss

_TRIES = (1e-10, 1e-8, 1e-6)


def add(program: Any, bounds: Any) -> None:
    """Adds Clarabel's point of a program over sign cones to the primal values."""
    if type(program.judge()).__name__ != "SignConeJudge":
        return
    params = _solved(program)
    if params is not None:
        bounds.offer("Clarabel", primal=value(program, params))


def value(program: Any, params: np.ndarray) -> float:
    """The objective of a point, moved into the cones; inf if there is none."""
    point = instances.point_of(program, params, np.zeros(np.shape(program.y)))
    return cj.certify(program, point).primal


def witness(program: Any) -> float | None:
    """A finite objective under the constraint, or None where this finds none.

    The least-norm solution of F w = y, or a linear program's of y F w >= 1, in columns
    of unit length; differences of cone points are all points, so cones do not count.
    """
    judge = program.judge()
    if type(judge).__name__ != "SignConeJudge":
        return None
    X, masks = judge.X, np.unique(judge.masks, axis=0, return_index=True)[1]
    size = np.max(np.abs(X), axis=0)
    size = np.where(size > 0, size, 1)
    blocks = np.hstack([np.where(judge.masks[i][:, None], X / size, 0) for i in masks])
    y = np.asarray(program.y, np.float64)
    fit = np.linalg.lstsq(blocks, y, rcond=1e-15)[0]
    if program.loss.constraint == "margin":
        rows = -y[:, None] * blocks
        found = linprog(0 * fit, rows, -np.ones(len(y)), bounds=(None, None))
        fit = fit if found.x is None else found.x
    params = np.zeros((2, len(judge.masks), X.shape[1]))
    params[0, masks] = fit.reshape(len(masks), -1) / size
    found = value(program, params)
    return found if np.isfinite(found) else None


def _form(loss: Any, z: Any, y: np.ndarray) -> tuple[Any, list[Any]]:
    """The loss as an expression and constraints."""
    if loss.coupled:
        return _form(loss.loss, z + cp.Variable(), y)
    if loss.name == "pinball":
        q = float(loss.quantile)
        return cp.sum(cp.maximum(q * (y - z), (q - 1) * (y - z))), []
    if loss.name.startswith("weighted "):
        parts = [
            (float(omega), *cvxpy_loss(loss.loss, z[i : i + 1], y[i : i + 1]))
            for i, omega in enumerate(np.asarray(loss.weights))
        ]
        constraints = [c for _, _, more in parts for c in more]
        return sum(omega * fit for omega, fit, _ in parts), constraints
    return cvxpy_loss(loss, z, y)


def _solved(program: Any) -> np.ndarray | None:
    """Parameters [2, P, d], from coordinates in which columns are orthonormal."""
    judge = program.judge()
    X, y = judge.X, np.asarray(program.y, np.float64)
    size = np.max(np.abs(X), axis=0)
    columns = np.where(size > 0, size, 1)
    U, s, Vt = np.linalg.svd(X / columns, full_matrices=False)
    r = max(1, int(np.sum(s > 1e-15 * s[0])))
    if s[0] == 0:
        return None
    unit = 1.0
    if program.loss.name in ("squared", "interpolation"):
        unit = float(np.max(np.abs(y))) or 1.0
    back = (Vt[:r].T / s[:r]) / columns[:, None]  # w = back q
    lengths = np.linalg.norm(back, axis=0)
    price = float(program.beta) / (unit if program.loss.name == "squared" else 1.0)
    _, which = np.unique(judge.masks, axis=0, return_index=True)
    masks = judge.masks[which].astype(float)
    top = float(np.max(lengths))
    v, w = (cp.Variable((r, len(which))) for _ in range(2))
    z = cp.sum(cp.multiply(masks.T, U[:, :r] @ (v - w)), axis=1)
    fit, constraints = _form(program.loss, z, y / unit)
    penalty = sum(cp.sum(cp.norm((back / top) @ q, axis=0)) for q in (v, w))
    if judge.interior is not None:
        rows = np.linalg.norm(U[:, :r], axis=1, keepdims=True)
        unit_rows = U[:, :r] / np.where(rows > 0, rows, 1)
        signs = 2 * masks.T - 1
        constraints += [cp.multiply(signs, unit_rows @ q) >= 0 for q in (v, w)]
    weight = 1.0 if program.loss.constraint is not None else price * top
    problem = cp.Problem(cp.Minimize(fit + weight * penalty), constraints)
    for tolerance in _TRIES:
        tolerances = {f"tol_{k}": tolerance for k in ("gap_abs", "gap_rel", "feas")}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                problem.solve(solver=cp.CLARABEL, **tolerances)
            except (cp.SolverError, ValueError):
                continue
        if v.value is not None and problem.status in ("optimal", "optimal_inaccurate"):
            break
    if v.value is None or w.value is None:
        return None
    params = np.zeros((2, len(judge.masks), X.shape[1]))
    for k, q in enumerate((v, w)):
        params[k, which] = unit * (back @ q.value).T
    return params
