"""Independent answers for vector outputs: copositive programs, angles, local search."""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np
from scipy.optimize import minimize_scalar

from tests.references import clarabel, cvxpy_loss


def copositive_optimum(program: Any) -> float:
    """The ReLU program in U_i = sum_j u_j u_j^T / (2 beta), exact for d = 2.

    minimise 1/2 tr Y^T (I + 2 sum_i D_i X U_i X^T D_i)^{-1} Y + beta^2 sum_i tr U_i
    with U_i PSD and (2 D_i - I) X U_i X^T (2 D_i - I) >= 0 entry by entry; a lower
    bound for larger d.
    """
    X, Y = np.asarray(program.X, np.float64), np.asarray(program.y, np.float64)
    d = X.shape[1]
    total, trace, constraints = np.eye(len(X)), 0, []
    for mask in np.asarray(program.masks):
        U = cp.Variable((d, d), PSD=True)
        features = np.where(mask[:, None], X, 0)
        rows = np.where(mask[:, None], X, -X)
        total = total + 2 * features @ U @ features.T
        trace = trace + cp.trace(U)
        constraints.append(rows @ U @ rows.T >= 0)
    value = 0.5 * cp.matrix_frac(Y, total) + float(program.beta) ** 2 * trace
    return clarabel(cp.Problem(cp.Minimize(value), constraints))


def angular_optimum(program: Any) -> float:
    """The ReLU program for d = 2 as a group lasso over angles, finer around neurons.

    Kinks are among the angles, since neurons like to lie there. An upper bound, which
    falls with the square of the finest distance.
    """
    X, Y = np.asarray(program.X, np.float64), np.asarray(program.y, np.float64)
    kinks = np.arctan2(X[:, 1], X[:, 0])
    kinks = np.concatenate([kinks + np.pi / 2, kinks - np.pi / 2])
    spacing = np.pi / 45
    angles, value = np.append(np.arange(-np.pi, np.pi, spacing), kinks), np.inf
    for _ in range(6):
        features = np.maximum(X @ np.stack([np.cos(angles), np.sin(angles)]), 0)
        V = cp.Variable((len(angles), Y.shape[1]))
        loss = cvxpy_loss(program.loss, features @ V, Y)[0]
        penalty = cp.sum(cp.norm(V, axis=1))
        total = loss + float(program.beta) * penalty
        value = min(value, clarabel(cp.Problem(cp.Minimize(total))))
        live = angles[np.linalg.norm(V.value, axis=1) > 1e-4]
        around = np.linspace(-spacing, spacing, 9)
        angles = np.append((live[:, None] + around).ravel(), kinks)
        spacing /= 4
    return value


def gated_optimum(program: Any) -> float:
    """Nuclear norms of all V_i, by CVXPY."""
    X, Y = np.asarray(program.X, np.float64), np.asarray(program.y, np.float64)
    fit, penalty = 0, 0
    for mask in np.asarray(program.masks):
        V = cp.Variable((X.shape[1], Y.shape[1]))
        fit += np.where(mask[:, None], X, 0) @ V
        penalty += cp.normNuc(V)
    value = cvxpy_loss(program.loss, fit, Y)[0] + float(program.beta) * penalty
    return clarabel(cp.Problem(cp.Minimize(value)))


def optimum(program: Any) -> float:
    if program.cones is None:
        return gated_optimum(program)
    assert program.X.shape[1] == 2
    if program.loss.quadratic:
        return copositive_optimum(program)
    return angular_optimum(program)


def polar(program: Any, v: np.ndarray) -> float:
    """Gated: largest singular values. ReLU, d = 2: over angles, arc by arc."""
    X = np.asarray(program.X, np.float64)
    if program.cones is None:
        return max(
            float(np.linalg.norm(v.T @ np.where(mask[:, None], X, 0), 2))
            for mask in np.asarray(program.masks)
        )
    kinks = np.arctan2(X[:, 1], X[:, 0])
    kinks = np.sort(
        np.concatenate([kinks + np.pi / 2, kinks - np.pi / 2]) % (2 * np.pi)
    )
    ends = np.append(kinks, kinks[0] + 2 * np.pi)

    def minus(angle: float) -> float:
        u = np.array([np.cos(angle), np.sin(angle)])
        return -float(np.linalg.norm(v.T @ np.maximum(X @ u, 0)))

    best = max(-minus(angle) for angle in ends)
    for low, high in zip(ends[:-1], ends[1:], strict=True):
        # The square is one wave of twice the angle, so an arc has two maxima at most.
        middle = (low + high) / 2
        for part in ((low, middle), (middle, high)):
            found = minimize_scalar(
                minus, bounds=part, method="bounded", options={"xatol": 1e-12}
            )
            best = max(best, -found.fun)
    return best


def matrix(program: Any) -> np.ndarray:
    """Gated: F as a dense matrix [n c, P c d] of V_i^T, outputs last."""
    X, c = np.asarray(program.X, np.float64), program.y.shape[1]
    blocks = []
    for mask in np.asarray(program.masks):
        features = np.where(mask[:, None], X, 0)
        for k in range(c):
            output = np.eye(c)[:, k : k + 1]
            blocks.append(np.kron(features, output))
    return np.hstack(blocks)


def penalty(program: Any, w: np.ndarray) -> float:
    """Nuclear norms by CVXPY."""
    return sum(float(cp.normNuc(V).value) for V in np.asarray(w)[0])


def violation(program: Any, w: np.ndarray) -> float:
    """Zero: there are no cones, or every neuron is in a listed cell."""
    return 0.0
