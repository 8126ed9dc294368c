"""Independent answers: CVXPY + Clarabel for the programs, local search for networks."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import cvxpy as cp
import numpy as np
from scipy.optimize import nnls


def clarabel(problem: cp.Problem) -> float:
    """The optimal value, at the tightest tolerance that Clarabel attains."""
    for tolerance in (1e-11, 1e-10, 1e-9, 1e-8):
        tolerances = {f"tol_{k}": tolerance for k in ("gap_abs", "gap_rel", "feas")}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Solution may be inaccurate")
            with contextlib.suppress(cp.SolverError):
                problem.solve(solver=cp.CLARABEL, **tolerances)
        if problem.status == cp.OPTIMAL:
            return float(problem.value)
    raise RuntimeError(f"Clarabel: {problem.status}")


def cvxpy_loss(loss: Any, z: Any, y: np.ndarray) -> tuple[Any, list[Any]]:
    """The loss as an expression and constraints."""
    weights, margins = np.ones(len(y)), cp.multiply(y, z)
    if loss.name.startswith("weighted "):
        weights, loss = np.asarray(loss.weights, np.float64), loss.loss
    roots = np.sqrt(weights if y.ndim == 1 else weights[:, None])
    match loss.name:
        case "squared":
            return 0.5 * cp.sum_squares(cp.multiply(roots, z - y)), []
        case "squared_hinge":
            return 0.5 * cp.sum_squares(cp.multiply(roots, cp.pos(1 - margins))), []
        case "logistic":
            terms = cp.logistic(-margins)
        case "hinge":
            terms = cp.pos(1 - margins)
        case "huber":
            terms = 0.5 * cp.huber(z - y, float(loss.delta))
        case "pinball":
            q = float(loss.quantile)
            terms = cp.maximum(q * (y - z), (q - 1) * (y - z))
        case "softmax":
            terms = cp.log_sum_exp(z, axis=1) - cp.sum(margins, axis=1)
        case "interpolation":
            return cp.Constant(0), [z == y]
        case "hard_margin":
            return cp.Constant(0), [margins >= 1]
        case _:
            raise ValueError(f"no CVXPY form of {loss.name}")
    return cp.sum(weights @ terms), []


def two_layer_optimum(program: Any) -> float:
    """The optimal value of a two-layer program, by CVXPY and Clarabel.

    Without what changes no optimum and Clarabel does not like: repeated patterns,
    repeated constraints, and directions outside the row space of X.
    """
    X = np.asarray(program.X, np.float64)
    y = np.asarray(program.y, np.float64)
    masks = np.unique(np.asarray(program.masks), axis=0).astype(np.float64)
    _, distinct = np.unique(np.vstack([X.T, masks]), axis=1, return_index=True)
    _, values, basis = np.linalg.svd(X, full_matrices=False)
    X = X @ basis[: max(1, int(np.sum(values > 1e-12 * values[0])))].T
    v, w = (cp.Variable((X.shape[1], len(masks))) for _ in range(2))
    z = cp.sum(cp.multiply(masks.T, X @ (v - w)), axis=1)
    objective, constraints = cvxpy_loss(program.loss, z, y)
    penalty = cp.sum(cp.norm(v, axis=0)) + cp.sum(cp.norm(w, axis=0))
    if program.cones is not None:
        signs = 2 * masks.T[distinct] - 1
        constraints += [cp.multiply(signs, X[distinct] @ u) >= 0 for u in (v, w)]
    return clarabel(
        cp.Problem(cp.Minimize(objective + float(program.beta) * penalty), constraints)
    )


def two_layer_polar(program: Any, v: np.ndarray) -> float:
    """max_b max {v^T F w_b : ||w_b|| <= 1, A w_b >= 0} over the blocks, by CVXPY.

    The maxima of the blocks are independent, so that one problem finds them all.
    """
    X = np.asarray(program.X, np.float64)
    masks = np.asarray(program.masks).T
    q = X.T @ (masks * v[:, None])
    q = np.hstack([q, -q])
    u = cp.Variable(q.shape)
    constraints = [cp.norm(u, axis=0) <= 1]
    if program.cones is not None:
        signs = np.tile(2.0 * masks - 1, 2)
        constraints.append(cp.multiply(signs, X @ u) >= 0)
    clarabel(cp.Problem(cp.Maximize(cp.sum(cp.multiply(q, u))), constraints))
    return float(np.max(np.sum(q * u.value, axis=0)))


def two_layer_matrix(program: Any) -> np.ndarray:
    """F as a dense matrix [n, 2 P d], columns in the order of params [2, P, d]."""
    X, masks = np.asarray(program.X, np.float64), np.asarray(program.masks)
    blocks = np.hstack([mask[:, None] * X for mask in masks])
    return np.hstack([blocks, -blocks])


def two_layer_violation(program: Any, w: np.ndarray) -> float:
    """max(-(2 D_i - I) X w, 0) over max|X w|, X of unit rows."""
    if program.cones is None:
        return 0.0
    X, masks = np.asarray(program.X, np.float64), np.asarray(program.masks)
    values = np.einsum("nd,spd->spn", X, np.asarray(w, np.float64))
    values = values / row_lengths(X)
    signed = np.where(masks, values, -values)
    size = np.max(np.abs(signed))
    return float(max(0, -np.min(signed)) / size) if size > 0 else 0.0


def row_lengths(rows: np.ndarray) -> np.ndarray:
    """Of rows [m, d], 1 for those that are zero."""
    sizes = np.linalg.norm(rows, axis=1)
    return np.where(sizes > 0, sizes, 1)


def project_cone(A: np.ndarray, w: np.ndarray) -> np.ndarray:
    """argmin ||u - w|| subject to A u >= 0, by NNLS on the dual: u = w + A^T mu."""
    mu, _ = nnls(A.T, -w)
    return w + A.T @ mu


def relu_network(u: np.ndarray, a: np.ndarray, X: np.ndarray) -> np.ndarray:
    """sum_j (X u_j)_+ a_j, [n], for u [m, d], a [m]."""
    return np.maximum(X @ u.T, 0) @ a


def half_squares(u: np.ndarray, a: np.ndarray) -> float:
    """(||u||^2 + ||a||^2) / 2."""
    return float(np.sum(u * u) + np.sum(a * a)) / 2


def network_search(
    X: np.ndarray,
    Y: np.ndarray,
    beta: float,
    *,
    width: int,
    starts: int,
    steps: int = 8000,
) -> np.ndarray:
    """1/2 ||F - Y||^2 + beta (||u||^2 + ||v||^2) / 2 after Adam from random starts.

    Plain NumPy; the step size falls to nothing, since the optima lie on kinks.

    Args:
      Y: [n, c].

    Returns:
      [starts], sorted.
    """
    rng = np.random.default_rng(0)
    d = X.shape[1]
    theta = rng.standard_normal((starts, width, d + Y.shape[1]))
    mean, square = np.zeros_like(theta), np.zeros_like(theta)
    best = np.full(starts, np.inf)
    for t in range(1, steps + 1):
        u, v = theta[..., :d], theta[..., d:]
        hidden = np.maximum(u @ X.T, 0)  # [starts, width, n]
        miss = np.swapaxes(hidden, 1, 2) @ v - Y
        value = np.sum(miss**2, axis=(1, 2)) + beta * np.sum(theta**2, axis=(1, 2))
        best = np.minimum(best, value / 2)
        slope = beta * theta
        back = (v @ np.swapaxes(miss, 1, 2)) * (hidden > 0)
        slope[..., :d] += back @ X
        slope[..., d:] += hidden @ miss
        mean = 0.9 * mean + 0.1 * slope
        square = 0.99 * square + 0.01 * slope**2
        size = 0.05 * 10 ** (-5 * t / steps) / (1 - 0.9**t)
        theta = theta - size * mean / (np.sqrt(square / (1 - 0.99**t)) + 1e-12)
    return np.sort(best)


def relu_search(
    X: np.ndarray, y: np.ndarray, beta: float, **options: int
) -> np.ndarray:
    """`network_search` of one output, y [n]."""
    return network_search(X, y[:, None], beta, steps=6000, **options)
