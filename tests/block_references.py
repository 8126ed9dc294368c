"""Independent answers for convolutional networks and normalisation, by CVXPY.

Cells are named by a point inside; everything else is read off the raw data here, by
other formulas than the library's where there are any: complex Fourier transforms for
circular filters, first-layer weights instead of whitened ones for normalisation.
"""

from __future__ import annotations

from typing import Any

import cvxpy as cp
import numpy as np

from tests.references import clarabel, cvxpy_loss, row_lengths

POOLS = ("sum_pool", "average_pool", "max_pool")


def pool_cell(
    patches: np.ndarray, u: np.ndarray, kind: str
) -> tuple[np.ndarray, np.ndarray]:
    """The features [n, h] and the rows of the inequalities of the cell around u."""
    values = patches @ u
    n, K, h = patches.shape
    if kind == "max_pool":
        features, rows = np.zeros((n, h)), []
        for s in range(n):
            k = int(np.argmax(values[s]))
            if values[s, k] > 0:
                features[s] = patches[s, k]
                rows += [patches[s, k] - patches[s, other] for other in range(K)]
                rows.append(patches[s, k])
            else:
                rows += list(-patches[s])
        return features, np.stack(rows)
    active = values > 0
    features = np.sum(np.where(active[..., None], patches, 0), axis=1)
    rows = np.where(active[..., None], patches, -patches).reshape(-1, h)
    return features / (K if kind == "average_pool" else 1), rows


def waves(d: int) -> np.ndarray:
    """cos and sin of every frequency as columns, [d, 2 G]."""
    columns = []
    for g in range(d // 2 + 1):
        single = g == 0 or 2 * g == d
        t = 2 * np.pi * g * np.arange(d) / d
        columns += [np.cos(t), np.zeros(d) if single else np.sin(t)]
    return np.stack(columns, axis=1)


def convolutional_cells(program: Any) -> list[tuple[np.ndarray, np.ndarray | None]]:
    """F_i and A_i of every block, in the program's coordinates."""
    X = np.asarray(program.X, np.float64)
    if program.kind == "linear":
        return [(X.reshape(len(X), -1), None)]
    if program.kind == "circular":
        images = X @ waves(X.shape[1])
        return [(images[:, k : k + 2], None) for k in range(0, images.shape[1], 2)]
    inside = np.asarray(program.cones.interior, np.float64)
    if program.kind in POOLS:
        return [pool_cell(X, u, program.kind) for u in inside]
    images = X @ waves(X.shape[1])
    masks = inside @ images.T > 0
    return [
        (np.where(m[:, None], images, 0), np.where(m[:, None], images, -images))
        for m in masks
    ]


def block_norm(program: Any, u: Any) -> Any:
    """The norm of one block as an expression."""
    kind = getattr(program, "kind", "")
    if kind == "linear":
        _, K, h = program.X.shape
        return cp.normNuc(cp.reshape(u, (K, h), order="C"))
    if kind == "circular_relu":
        pairs = cp.reshape(u, (program.shape[2] // 2, 2), order="C")
        return cp.sum(cp.norm(pairs, axis=1))
    return cp.norm(u)


def convolutional_optimum(program: Any) -> float:
    """The optimal value, by CVXPY and Clarabel."""
    X, y = np.asarray(program.X, np.float64), np.asarray(program.y, np.float64)
    beta, constraints = float(program.beta), []
    if program.kind in ("circular", "circular_relu"):
        d = X.shape[1]
        F = np.fft.fft(np.eye(d), norm="ortho").conj()
        real, imaginary = X @ F.real, X @ F.imag
        masks = np.ones((1, len(X)), bool)
        if program.kind == "circular_relu":
            inside = np.asarray(program.cones.interior, np.float64)
            masks = np.unique(inside @ (X @ waves(d)).T > 0, axis=0)
        fit, penalty = 0, 0
        for mask in masks:
            for sign in (1, -1) if program.kind == "circular_relu" else (1,):
                a, b = cp.Variable(d), cp.Variable(d)  # z = a + b i
                image = real @ a - imaginary @ b
                fit += sign * cp.multiply(mask.astype(float), image)
                penalty += cp.sum(cp.norm(cp.vstack([a, b]), axis=0)) / np.sqrt(d)
                if program.kind == "circular_relu":
                    constraints.append(cp.multiply(np.where(mask, 1, -1), image) >= 0)
    else:
        fit, penalty = 0, 0
        for features, rows in convolutional_cells(program):
            for sign in (1, -1) if rows is not None else (1,):
                u = cp.Variable(features.shape[1])
                fit += sign * features @ u
                penalty += block_norm(program, u)
                if rows is not None:
                    constraints.append(rows @ u >= 0)
    objective = cp.Minimize(cvxpy_loss(program.loss, fit, y)[0] + beta * penalty)
    return clarabel(cp.Problem(objective, constraints))


def cells_polar(program: Any, cells: list[Any], v: np.ndarray) -> float:
    """max over blocks of max {v^T F_b u : norm(u) <= 1, A_b u >= 0}, one by one."""
    best = 0.0
    for features, rows in cells:
        for sign in (1, -1):
            u = cp.Variable(features.shape[1])
            constraints = [block_norm(program, u) <= 1]
            if rows is not None:
                constraints.append(rows @ u >= 0)
            value = cp.Maximize(sign * (v @ features) @ u)
            best = max(best, clarabel(cp.Problem(value, constraints)))
    return best


def convolutional_polar(program: Any, v: np.ndarray) -> float:
    return cells_polar(program, convolutional_cells(program), v)


def convolutional_matrix(program: Any) -> np.ndarray:
    """F as a dense matrix, columns in the order of the parameters."""
    blocks = np.hstack([features for features, _ in convolutional_cells(program)])
    return np.hstack([blocks, -blocks]) if program.shape[0] == 2 else blocks


def convolutional_penalty(program: Any, w: np.ndarray) -> float:
    """The sum of the blocks' norms."""
    blocks = np.asarray(w).reshape(-1, program.shape[2])
    return sum(float(block_norm(program, block).value) for block in blocks)


def convolutional_violation(program: Any, w: np.ndarray) -> float:
    return cells_violation(convolutional_cells(program), w)


def cells_violation(cells: list[Any], w: np.ndarray) -> float:
    """max(-A w, 0) over max|A w|, A of unit rows."""
    if cells[0][1] is None:
        return 0.0
    w = np.asarray(w, np.float64)
    values = [w[:, i] @ rows.T / row_lengths(rows) for i, (_, rows) in enumerate(cells)]
    size = max(np.max(np.abs(v)) for v in values)
    worst = max(0.0, *(-np.min(v) for v in values))
    return float(worst / size) if size > 0 else 0.0


def normalised(matrix: np.ndarray, centre: bool) -> np.ndarray:
    return matrix - matrix.mean(axis=0) if centre else matrix


def after_optimum(program: Any) -> float:
    """Order "after" in first-layer weights w and shifts a, norms ||(C D X w, a)||."""
    X, y = np.asarray(program.X, np.float64), np.asarray(program.y, np.float64)
    n, d = X.shape
    fit, penalty, constraints = 0, 0, []
    for mask in np.asarray(program.active):
        features = normalised(np.where(mask[:, None], X, 0), program.centre)
        for sign in (1, -1):
            w, a = cp.Variable(d), cp.Variable()
            parts = features @ w
            constraints.append(np.where(mask[:, None], X, -X) @ w >= 0)
            if program.shift:
                fit += sign * (parts + a * np.full(n, n**-0.5))
                penalty += cp.norm(cp.hstack([parts, a]))
            else:
                fit += sign * parts
                penalty += cp.norm(parts)
    value = 0.5 * cp.sum_squares(fit - y) + float(program.beta) * penalty
    return clarabel(cp.Problem(cp.Minimize(value), constraints))


def before_optimum(program: Any) -> float:
    """Order "before" in w and a: z = C X w + a / sqrt(n), penalty ||(C X w, a)||."""
    X, y = np.asarray(program.raw, np.float64), np.asarray(program.y, np.float64)
    n, d = X.shape
    features = normalised(X, program.centre)
    fit, penalty, constraints = 0, 0, []
    for mask in np.asarray(program.masks):
        for sign in (1, -1):
            w, a = cp.Variable(d), cp.Variable()
            parts = features @ w
            z = parts + a * np.full(n, n**-0.5) if program.shift else parts
            size = cp.hstack([parts, a]) if program.shift else parts
            fit += sign * cp.multiply(mask.astype(float), z)
            penalty += cp.norm(size)
            constraints.append(cp.multiply(np.where(mask, 1, -1), z) >= 0)
    value = 0.5 * cp.sum_squares(fit - y) + float(program.beta) * penalty
    return clarabel(cp.Problem(cp.Minimize(value), constraints))


def norm_cells(program: Any) -> list[tuple[np.ndarray, np.ndarray]]:
    """F_i and A_i of the blocks, in the program's whitened coordinates."""
    if hasattr(program, "raw"):
        X = np.asarray(program.X, np.float64)
        return [
            (np.where(m[:, None], X, 0), np.where(m[:, None], X, -X))
            for m in np.asarray(program.masks)
        ]
    cones, features = program.cones, np.asarray(program.features)
    rows = np.asarray(cones.rows) * np.asarray(cones.lengths)[..., None]
    return list(zip(features, rows, strict=True))


def norm_optimum(program: Any) -> float:
    return (
        before_optimum(program) if hasattr(program, "raw") else after_optimum(program)
    )


def norm_polar(program: Any, v: np.ndarray) -> float:
    return cells_polar(program, norm_cells(program), v)


def norm_matrix(program: Any) -> np.ndarray:
    blocks = np.hstack([features for features, _ in norm_cells(program)])
    return np.hstack([blocks, -blocks])


def norm_violation(program: Any, w: np.ndarray) -> float:
    return cells_violation(norm_cells(program), w)


def group_penalty(program: Any, w: np.ndarray) -> float:
    """The sum of the blocks' Euclidean norms."""
    return sum(float(np.sqrt(np.sum(b**2))) for b in w.reshape(-1, w.shape[-1]))
