"""Independent answers for polynomial and quantized networks, by CVXPY.

Sample by sample with the formulas of the papers: a x^T Z_1 x + b x^T Z_2 + c Z_4 over
pairs of order d + 1, whatever order the program has; and the quantized relaxation over
one matrix of order 2 d.
"""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np

from tests.references import clarabel, cvxpy_loss


def optimum(program: Any) -> float:
    """The optimal value, by CVXPY and Clarabel."""
    X, y = np.asarray(program.X, np.float64), np.asarray(program.y, np.float64)
    total, constraints = 0, []
    for column in y.reshape(len(y), -1).T:
        fit, penalty, more = _expressions(program, X)
        total += cvxpy_loss(program.loss, fit, column)[0]
        total += float(program.beta) * penalty
        constraints += more
    return clarabel(cp.Problem(cp.Minimize(total), constraints))


def polar(program: Any, v: np.ndarray) -> float:
    """max {<v, f> : R <= 1}: the greatest over outputs, since R is a sum."""
    X = np.asarray(program.X, np.float64)
    best = 0.0
    for column in v.reshape(len(v), -1).T:
        fit, penalty, constraints = _expressions(program, X)
        problem = cp.Problem(cp.Minimize(-column @ fit), [penalty <= 1, *constraints])
        best = max(best, -clarabel(problem))
    return best


def _expressions(program: Any, X: np.ndarray) -> tuple[Any, Any, list[Any]]:
    """Predictions of one output, its penalty and its constraints."""
    if type(program).__name__ == "QuantizedProgram":
        d = X.shape[1]
        Q, rho = cp.Variable((2 * d, 2 * d), PSD=True), cp.Variable()
        return _forms(X, Q[:d, d:]), rho, [cp.diag(Q) == rho]
    a, b, c = program.coefficients
    patches = X[:, None] if X.ndim == 2 else X
    pool = 1 if X.ndim == 2 else program.pool
    d = patches.shape[2]
    fit, penalty, constraints = 0, 0, []
    for k in range(0, patches.shape[1], pool):
        for sign in (1, -1):
            Z = cp.Variable((d + 1, d + 1), PSD=True)
            constraints.append(cp.trace(Z[:d, :d]) == Z[d, d])
            penalty += Z[d, d]
            for part in patches[:, k : k + pool].transpose(1, 0, 2):
                values = a * _forms(part, Z[:d, :d]) + b * part @ Z[:d, d]
                fit += sign / pool * (values + c * Z[d, d])
    return fit, penalty, constraints


def _forms(X: np.ndarray, Z: Any) -> Any:
    """x_i^T Z x_i."""
    return cp.sum(cp.multiply(X @ Z, X), axis=1)


def matrix(program: Any) -> np.ndarray:
    """F, [n outputs, 2 B q q], from one sample's features."""
    X = np.asarray(program.X, np.float64)
    a, b, c = getattr(program, "coefficients", (1, 0, 0))
    patches = X[:, None] if X.ndim == 2 else X
    pool = 1 if X.ndim == 2 else program.pool
    n, K, d = patches.shape
    blocks = []
    for k in range(0, K, pool):
        features = np.zeros((n, d + 1, d + 1))
        for i in range(n):
            for x in patches[i, k : k + pool]:
                features[i, :d, :d] += a * np.outer(x, x) / pool
                features[i, :d, d] += b * x / (2 * pool)
                features[i, d, :d] += b * x / (2 * pool)
                features[i, d, d] += c / pool
        if b == 0:  # the last row and column stand for the trace
            last = features[:, d, d, None, None] * np.eye(d)
            features = features[:, :d, :d] + last
        blocks.append(features.reshape(n, -1))
    rows = np.concatenate(blocks, axis=1)
    c = 1 if np.ndim(program.y) == 1 else program.y.shape[1]
    one = np.einsum("nk,tu->ntuk", rows, np.eye(c)).reshape(n * c, -1)
    return np.concatenate([one, -one], axis=1)


def violation(program: Any, params: Any) -> float:
    """Unmet constraints over the largest entry."""
    w = np.asarray(params, np.float64)
    size = np.max(np.abs(w), initial=0)
    if size == 0:
        return 0.0
    worst = max(0.0, float(np.max(np.abs(w - np.swapaxes(w, 2, 3)))))
    for Z in w.reshape(-1, *w.shape[2:]):
        worst = max(worst, -float(np.linalg.eigvalsh((Z + Z.T) / 2)[0]))
        if getattr(program, "coefficients", (0, 0, 0))[1] != 0:
            worst = max(worst, abs(float(np.trace(Z) - 2 * Z[-1, -1])))
    if type(program).__name__ == "QuantizedProgram":
        diagonal = np.diagonal(w.sum(axis=0)[0])
        worst = max(worst, float(np.ptp(diagonal)))
    return worst / size


def penalty(program: Any, params: Any) -> float:
    """R of any matrices: the linear expression."""
    w = np.asarray(params, np.float64)
    if type(program).__name__ == "QuantizedProgram":
        return float(np.mean(np.diagonal(w.sum(axis=0)[0])))
    if program.coefficients[1] != 0:
        return float(np.sum(w[..., -1, -1]))
    return float(np.sum(np.trace(w, axis1=2, axis2=3)))
