"""A family and a solver that live in this file alone, and pass as if they were ours.

The family: two linear neurons with a penalty on each, 1/2 ||x_1 w_1 + x_2 w_2 - y||^2 +
beta (|w_1| + |w_2|), as blocks of size one. The solver: proximal gradient, by the
contract of `solvers.base`.
"""

from __future__ import annotations

from typing import Any, ClassVar

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.forms.blocks import BlockProgram
from cvxjax.forms.contracts import Blocks
from cvxjax.record import Record, static
from cvxjax.solvers import loop
from cvxjax.solvers.base import SteppedSolver
from cvxjax.solvers.choice import default_solver
from cvxjax.solvers.refusals import Takes, refusal
from cvxjax.terms.regularisers import GroupNorm
from tests import instances


class LinearNeurons(nn.Module):
    """f(X) = X w."""

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        w = self.param("w", nn.initializers.zeros, (X.shape[1],), X.dtype)
        return X @ w


class LinearProgram(BlockProgram):
    """minimise L(X w, y) + beta ||w||_1; parameters are [1, d, 1]."""

    def network(self) -> LinearNeurons:
        return LinearNeurons()

    def recover(self, w: Any) -> dict[str, Any]:
        return {"params": {"w": jnp.asarray(w)[0, :, 0]}}


def make_linear(X: Any, y: Any, *, beta: float, loss: str = "squared") -> LinearProgram:
    X = jnp.asarray(X)
    return LinearProgram(
        X=X,
        y=jnp.asarray(y),
        beta=jnp.asarray(beta),
        loss=getattr(cj.losses, loss)(),
        regulariser=GroupNorm(),
        features=X.T[:, :, None],
        signs=jnp.ones((1, 1)),
        cones=None,
        scope=cj.Scope.EXHAUSTIVE,
    )


class GradientState(Record):
    """A point and what it has to show."""

    w: jax.Array
    progress: loop.Progress


class ProximalGradient(SteppedSolver):
    """w <- prox(w - step F^T L'(F w)), step 1 / ||F||^2."""

    tol: Any = None
    max_iters: int = static(default=20_000)
    check_every: int = static(default=20)
    takes: ClassVar[Takes] = Takes(form=Blocks, cones=False, smooth=True)

    def init(self, program: Any, w: jax.Array) -> GradientState:
        progress = loop.Progress.start(self, program, w)
        return GradientState(w=w, progress=progress)

    def step(self, program: Any, state: GradientState) -> GradientState:
        S, P = program.shape[:2]
        gram = program.response(jnp.ones((S, P)), jnp.eye(program.shape[-1]))
        size = 1 / (program.loss.smoothness * jnp.linalg.norm(gram, 2))
        slope = program.loss.gradient(program.forward(state.w), program.y)
        moved = state.w - size * program.adjoint(slope)
        return state.replace(w=program.regulariser.prox(moved, size * program.beta))

    def check(self, program: Any, state: GradientState) -> GradientState:
        v = -program.loss.gradient(program.forward(state.w), program.y)
        progress = state.progress.update(
            self, program, state.w, [v], None, finite_of=state.w
        )
        return state.replace(progress=progress)


@pytest.fixture
def program():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((9, 4))
    return make_linear(
        X, X[:, 0] - 0.3 * X[:, 1] + 0.1 * rng.standard_normal(9), beta=0.5
    )


def optimum(program):
    X, y = np.asarray(program.X), np.asarray(program.y)
    w = cp.Variable(X.shape[1])
    fit = cp.sum_squares(X @ w - y) / 2
    problem = cp.Problem(cp.Minimize(fit + float(program.beta) * cp.norm1(w)))
    return problem.solve(solver=cp.CLARABEL)


@pytest.mark.parametrize("name", ["default", *instances.SOLVERS, "ProximalGradient"])
def test_the_toy_family_meets_every_solver_of_its_form(program, name):
    solver = default_solver(program) if name == "default" else None
    if name == "ProximalGradient":
        solver = ProximalGradient(tol=1e-8)
    elif name != "default":
        solver = instances.SOLVERS[name].solver
    if refusal(solver, program) is not None:
        with pytest.raises(ValueError, match=f"{name} cannot take this program"):
            cj.solve(program, solver)
        return
    solution = cj.solve(program, solver).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 2 * float(solver.tol or 1e-8)
    assert certificate.scope is cj.Scope.EXHAUSTIVE
    assert_allclose(certificate.primal, optimum(program), rtol=1e-6)
    variables = program.recover(solution.params)
    predictions = program.network().apply(variables, program.X)
    assert_allclose(predictions, program.forward(solution.params), atol=1e-12)


def test_the_toy_family_has_units_paths_and_a_largest_beta(program):
    path = cj.solve_path(program, program.beta_max() * np.array([1.0, 0.5, 0.1]))
    assert not np.any(np.asarray(path[0].params))
    assert all(solution.check() for solution in path)
    scaled = program.replace(y=1e-6 * program.y, beta=1e-6 * program.beta)
    assert_allclose(
        cj.solve(scaled).check().params, 1e-6 * cj.solve(program).params, atol=1e-15
    )


@pytest.mark.parametrize(
    "name", ["two_layer/gated/squared", "two_layer/gated/logistic"]
)
def test_the_toy_solver_meets_other_programs_of_its_form(name):
    program = instances.program_of(name).replace(beta=jnp.asarray(1.0))
    solution = cj.solve(program, ProximalGradient(tol=1e-6)).check()
    optimum = instances.reference_of(name).optimum(program)
    assert_allclose(solution.objective, optimum, rtol=1e-5)
    for other in ("two_layer/squared", "two_layer/gated/hinge", "polynomial/squared"):
        with pytest.raises(ValueError, match="ProximalGradient cannot take"):
            cj.solve(instances.program_of(other), ProximalGradient())


def test_a_time_limit_and_an_inner_toy_solver(program):
    at_once = cj.solve(program, ProximalGradient(), time_limit=0)
    assert at_once.status == cj.Status.TIME_LIMIT
    inner = cj.solvers.WorkingSet(inner=ProximalGradient(tol=1e-9), tol=1e-7)
    assert cj.certify(program, cj.solve(program, inner).check()).gap <= 1e-6
