"""CVXPY on programs over pairs of PSD matrices, in this process."""

from __future__ import annotations

import time
import warnings
from typing import Any, NamedTuple

import cvxpy as cp
import jax.numpy as jnp
import numpy as np
import scipy.sparse

import cvxjax as cj


class Answer(NamedTuple):
    """What came, made feasible and judged by the certificate."""

    seconds: float  # CVXPY's own work included, judging not
    objective: float  # NaN without a point
    gap: float  # certified, relative; inf without a point


def solve_by_cvxpy(
    program: Any, solver: str, tol: float, limit: float, *, reduced: bool = False
) -> Answer:
    """The program by CVXPY and a conic solver.

    Predictions are the features of n samples times the q (q + 1) / 2 entries of the
    difference. Quantized networks have one matrix of order 2 d, as their papers do.

    Args:
      program: of `make_polynomial` or `make_quantized`; one output, one window, the
        squared loss.
      solver: CLARABEL or SCS.
      tol: of its gap and residuals, absolute and relative.
      limit: seconds that the solver may take.
      reduced: hand over the triangular factor of the features in place of them, as an
        expert might who sees that samples are many.
    """
    q = program.order
    start = time.perf_counter()
    features, y = _features(program), np.asarray(program.y, np.float64)
    if reduced:
        Q, features = np.linalg.qr(features)
        y = Q.T @ y
    if program.lifted:
        Z = [cp.Variable((q, q), PSD=True) for _ in range(2)]
        difference, penalty = Z[0] - Z[1], Z[0][-1, -1] + Z[1][-1, -1]
        constraints: list[Any] = [cp.trace(z) == 2 * z[-1, -1] for z in Z]
    else:
        Z, penalty = [cp.Variable((2 * q, 2 * q), PSD=True)], cp.Variable()
        difference = Z[0][:q, q:]
        constraints = [cp.diag(Z[0]) == penalty]
    entries = cp.Variable(features.shape[1])
    constraints.append(entries == _upper(q) @ cp.vec(difference, order="C"))
    loss = 0.5 * cp.sum_squares(features @ entries - y)
    problem = cp.Problem(cp.Minimize(loss + float(program.beta) * penalty), constraints)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            problem.solve(solver=solver, **_options(solver, tol, limit))
        except cp.SolverError:
            return Answer(time.perf_counter() - start, float("nan"), float("inf"))
    seconds = time.perf_counter() - start
    values: list[Any] = [z.value for z in Z]
    if any(value is None for value in values):
        return Answer(seconds, float("nan"), float("inf"))
    return _judged(program, values, seconds)


def _judged(program: Any, values: list[np.ndarray], seconds: float) -> Answer:
    if program.lifted:
        w = np.stack(values)[:, None]
    else:
        q, Q = program.order, values[0]
        even = (Q[:q, :q] + Q[q:, q:]) / 2
        odd = (Q[:q, q:] + Q[q:, :q]) / 2
        w = np.stack([even + odd, even - odd])[:, None] / 2
    w = program.regulariser.inside(jnp.asarray(w))
    residual = program.y - program.forward(w)
    certificate = cj.certify(program, cj.Solution.of(program, w, jnp.asarray(residual)))
    return Answer(seconds, certificate.primal, certificate.gap)


def _features(program: Any) -> np.ndarray:
    """[n, q (q + 1) / 2]: F_ij, and twice F_ij off the diagonal."""
    i, j = np.triu_indices(program.order)
    if program.features is not None:
        return np.asarray(program.features) * np.where(i == j, 1, np.sqrt(2))
    rows = np.asarray(program.rows)[:, 0, 0]
    weights = np.asarray(program.hadamard)[i, j] * np.where(i == j, 1, 2)
    return rows[:, i] * rows[:, j] * weights


def _upper(q: int) -> Any:
    """The map from a matrix, row by row, to its symmetric part's upper triangle."""
    i, j = np.triu_indices(q)
    rows = np.arange(len(i))
    entries = np.full(len(i), 0.5)
    first = scipy.sparse.coo_matrix((entries, (rows, i * q + j)), (len(i), q * q))
    second = scipy.sparse.coo_matrix((entries, (rows, j * q + i)), (len(i), q * q))
    return (first + second).tocsr()


def _options(solver: str, tol: float, limit: float) -> dict[str, Any]:
    if solver == "CLARABEL":
        names = ("gap_abs", "gap_rel", "feas")
        return {f"tol_{name}": tol for name in names} | {"time_limit": limit}
    limits = {"max_iters": 1_000_000, "time_limit_secs": limit}
    return limits | {"eps_abs": tol, "eps_rel": tol}
