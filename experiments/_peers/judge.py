"""One judge of every answer: a feasible point, its objective, its certificate.

A peer's point may lie outside the cones, and its objective below the optimum. Each
block is projected onto its cone, exactly; what rounding leaves outside is lifted along
the cell's interior point; then one factor, the best, scales all blocks. The same is
done without the projection, and the better of the two counts.
"""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls

import cvxjax as cj
from cvxjax.arrangements.patterns import Patterns
from cvxjax.judges.sign_cones import SignConeJudge
from cvxjax.programs.two_layer import TwoLayerProgram
from experiments._peers.problem import Problem


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """What an answer is worth; numbers of the feasible point made from it."""

    objective: float  # of the feasible point
    bound: float  # a rigorous lower bound on the optimum, from this answer alone
    gap: float  # of `cvxjax.verdicts.relative_gap`
    violation: float  # of the answer as it came, relative to its size
    raw: float  # objective of the answer as it came


def make_program(problem: Problem, dtype: str = "float64") -> TwoLayerProgram:
    """The problem as a program of cvxjax."""
    patterns = Patterns(
        masks=jnp.asarray(problem.masks),
        gates=jnp.asarray(problem.gates),
        scope=cj.Scope.SAMPLED,
    )
    return cj.programs.make_two_layer(
        problem.X.astype(dtype),
        problem.y,
        patterns,
        beta=problem.beta,
        gated=problem.gated,
    )


def judge(
    program: TwoLayerProgram, params: np.ndarray, dual: np.ndarray | None = None
) -> Verdict:
    """Makes `params` feasible and certifies it.

    Args:
      program: of squared loss.
      params: [2, P, d], feasible or not.
      dual: [n], the solver's own; y minus the feasible point's predictions if None.

    Returns:
      Verdict; with parameters that are not finite, an infinite objective and gap.
    """
    referee = program.judge()
    y, beta = np.asarray(program.y, np.float64), float(program.beta)
    if not np.all(np.isfinite(params)):
        return Verdict(
            objective=np.inf, bound=0.0, gap=np.inf, violation=np.inf, raw=np.inf
        )
    raw = _objective(referee, params, y, beta)
    point = feasible_point(referee, params, y, beta)
    residual = y - referee.predict(point) if dual is None else dual
    certificate = cj.certify(
        program, cj.Solution.of(program, point, jnp.asarray(residual))
    )
    return Verdict(
        objective=certificate.primal,
        bound=certificate.dual,
        gap=certificate.gap,
        violation=referee.violation(params),
        raw=raw,
    )


def feasible_point(
    referee: SignConeJudge, params: np.ndarray, y: np.ndarray, beta: float
) -> np.ndarray:
    """The better of two feasible points near `params`, each scaled by its best factor.

    Args:
      referee: of the program.
      params: [2, P, d], finite.
      y: [n].
      beta: > 0.

    Returns:
      [2, P, d], inside every cone to rounding.
    """
    starts = (
        [params] if referee.interior is None else [params, project(referee, params)]
    )
    best, least = params, np.inf
    for start in starts:
        point = referee.repair(start, keep_predictions=False)
        point = _best_factor(referee, point, y, beta) * point
        value = _objective(referee, point, y, beta)
        if value < least:
            best, least = point, value
    return best


def project(referee: SignConeJudge, params: np.ndarray) -> np.ndarray:
    """argmin_u ||u - w|| subject to A u >= 0, for every block w, by NNLS on its dual.

    u = w + A^T mu with mu = argmin ||w + A^T mu|| over mu >= 0; rows of unit length.

    Args:
      referee: with cones.
      params: [2, P, d].
    """
    lengths = np.linalg.norm(referee.X, axis=1)
    rows = (referee.X / np.where(lengths > 0, lengths, 1)[:, None])[lengths > 0]
    signs = np.where(referee.masks[:, lengths > 0], 1.0, -1.0)
    moved = params.copy()
    inside = np.all(signs * (params @ rows.T) >= 0, axis=-1)
    for s, i in np.argwhere(~inside):
        w = params[s, i]
        A = signs[i][:, None] * rows
        size = np.linalg.norm(w)
        try:
            mu, _ = nnls(A.T, -w / size)
        except RuntimeError:  # no convergence: the lift alone makes it feasible
            continue
        moved[s, i] = w + size * (mu @ A)
    return moved


def _best_factor(
    referee: SignConeJudge, params: np.ndarray, y: np.ndarray, beta: float
) -> float:
    """argmin_t 1/2 ||t z - y||^2 + t beta R over t >= 0."""
    z = referee.predict(params)
    square = z @ z
    if square == 0:
        return 0.0
    return max(0.0, float(z @ y - beta * referee.penalty(params)) / float(square))


def _objective(
    referee: SignConeJudge, params: np.ndarray, y: np.ndarray, beta: float
) -> float:
    miss = referee.predict(params) - y
    return float(miss @ miss) / 2 + beta * referee.penalty(params)
