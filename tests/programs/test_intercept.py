"""Programs whose output bias is free: against CVXPY, certificates and refusals."""

from __future__ import annotations

import cvxpy as cp
import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.programs import make_two_layer
from tests.references import cvxpy_loss


def problem(loss, gated=False):
    """A program on twelve points of a plane, and its optimum by CVXPY."""
    rng = np.random.default_rng(3)
    X = rng.normal(size=(12, 2))
    y = np.maximum(X @ [1.0, -2.0], 0) + 0.3 * rng.normal(size=12)
    y = np.sign(y - np.quantile(y, 0.7)) if loss.name in ("logistic", "hinge") else y
    y = y + 40.0 if loss.name in ("squared", "huber") else y
    free = cj.losses.with_intercept(loss)
    patterns = cj.arrangements.enumerate_patterns(X)
    program = make_two_layer(X, y, patterns, beta=1.0, loss=free, gated=gated)
    beta = 0.2 * float(program.beta_max())
    D = np.asarray(program.masks, float)
    v, w = cp.Variable((len(D), 2)), cp.Variable((len(D), 2))
    z = cp.sum(cp.multiply(D, (v - w) @ X.T), axis=0) + cp.Variable()
    value, constraints = cvxpy_loss(loss, z, y)
    if not gated:
        constraints += [cp.multiply(2 * D - 1, u @ X.T) >= 0 for u in (v, w)]
    sizes = sum(cp.sum(cp.norm(u, axis=1)) for u in (v, w))
    known = cp.Problem(cp.Minimize(value + beta * sizes), constraints)
    return program.replace(beta=jnp.asarray(beta)), known.solve(solver="CLARABEL")


CASES = [
    (cj.losses.logistic(), cj.solvers.ColumnGeneration(tol=1e-7), False),
    (cj.losses.hinge(), cj.solvers.ColumnGeneration(tol=1e-7), False),
    (cj.losses.squared(), None, False),
    (cj.losses.logistic(), None, True),
    (cj.losses.huber(0.1), cj.solvers.Fista(tol=1e-7), True),
]


@pytest.mark.parametrize(("loss", "solver", "gated"), CASES)
def test_the_optimum_is_that_of_cvxpy(loss, solver, gated):
    program, known = problem(loss, gated)
    solution = cj.solve(program, solver, tol=1e-7).check()
    certificate = cj.certify(program, solution)
    assert certificate.primal == pytest.approx(known, rel=1e-6)
    assert certificate.dual <= known * (1 + 1e-6)
    assert certificate.gap <= 2e-7
    fit = program.network().apply(program.recover(solution.params), program.X)
    if solution.patterns is not None:
        at = solution.program_of(program)
        fit = at.network().apply(at.recover(solution.params), program.X)
    c = program.loss.intercept(np.asarray(fit), np.asarray(program.y))
    slope = loss.gradient(np.asarray(fit) + c, np.asarray(program.y))
    if loss.smoothness is not None:
        assert abs(np.sum(slope)) < 1e-8
    # beta_max: the zero network with the best constant is optimal from there on.
    top = program.replace(beta=1.001 * program.beta_max())
    assert not np.any(cj.solve(top).params)


def test_refusals():
    program, _ = problem(cj.losses.logistic())
    with pytest.raises(ValueError, match="logistic with an intercept loss are coupled"):
        cj.solve(program, cj.solvers.InteriorPoint())
    X, y = np.asarray(program.X), np.asarray(program.y)
    with pytest.raises(ValueError, match="wants labels of both classes; got 1"):
        make_two_layer(X, np.abs(y), beta=1.0, loss=program.loss)
    with pytest.raises(ValueError, match="want a loss that is a sum over samples"):
        cj.programs.make_vector_output(X, y[:, None], beta=1.0, loss=program.loss)
