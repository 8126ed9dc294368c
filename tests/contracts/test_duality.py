"""Weak duality: whatever vectors are handed in, the bound stays below the optimum."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers import loop
from cvxjax.verdicts import gap_floor, relative_gap
from tests import instances

SLACK = 1e-8  # of the CVXPY optimum


def draw_multipliers(program, rng):
    if program.cones is None:
        return None
    shape = (*program.shape[:2], program.cones.num_rows)
    return rng.exponential(size=shape[1:], scale=0.1) * np.ones(shape)


def test_any_dual_vector_and_any_feasible_point_bound_the_optimum(name, program):
    optimum = instances.optimum_of(name)
    slack = SLACK * max(1, abs(optimum))
    rng = np.random.default_rng(2)
    y = np.asarray(program.y)
    for scale in (1e-3, 1.0, 30.0):
        dual = scale * (y + 0.3 * rng.standard_normal(y.shape))
        params = scale * rng.standard_normal(program.shape)
        solution = instances.point_of(
            program, params, dual, draw_multipliers(program, rng)
        )
        certificate = cj.certify(program, solution)
        assert certificate.dual <= optimum + slack
        assert certificate.primal >= optimum - slack
        assert certificate.gap >= -SLACK
        assert certificate.scope is program.scope


def test_polar_bound_is_the_maximum_over_the_cones(program, reference):
    rng = np.random.default_rng(3)
    v = rng.standard_normal(program.y.shape)
    want = reference.polar(program, v)
    judge = program.judge()
    assert_allclose(judge.polar_bound(v, None), want, rtol=1e-7, atol=1e-7)
    bound = judge.polar_bound(v, draw_multipliers(program, rng))
    assert_allclose(bound, want, rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("name", ["two_layer/squared", "convolutional/max_pool"])
def test_negative_multipliers_prove_nothing(name):
    """Without their signs they would take every price to zero."""
    program = instances.program_of(name)
    judge, (S, P, _d) = program.judge(), program.shape
    v = np.random.default_rng(6).standard_normal(program.y.shape)
    q = np.asarray(program.adjoint(jnp.asarray(v)))
    units = np.eye(program.cones.num_rows)
    rows = [program.cones.adjoint(jnp.tile(e, (S, P, 1))) for e in units]
    A = np.stack(rows, axis=-1)  # [S, P, d, m]
    multipliers = jnp.asarray(-(np.linalg.pinv(A) @ q[..., None])[..., 0])
    rest = q + program.cones.adjoint(multipliers)
    assert np.any(multipliers < 0) and np.max(np.abs(rest)) <= 1e-9
    given = np.asarray(program.cones.unscaled(multipliers))
    assert_allclose(judge.polar_bound(v, given), judge.polar_bound(v, None), rtol=1e-7)


@pytest.mark.parametrize("name", instances.LINEAR)
def test_solvers_polar_gauge_is_an_upper_bound(name):
    program, reference = instances.program_of(name), instances.reference_of(name)
    rng = np.random.default_rng(4)
    v = rng.standard_normal(program.y.shape)
    want = reference.polar(program, v)
    multipliers = draw_multipliers(program, rng)
    for given in (None, multipliers):
        given = None if given is None else jnp.asarray(given)
        assert loop.polar_gauge(program, jnp.asarray(v), given) >= want - 1e-7


def test_solver_reports_rigorous_bounds(solved):
    slack = SLACK * max(1, abs(solved.optimum))
    solution = solved.solution
    assert solution.dual_bound <= solved.optimum + slack
    assert solution.objective >= solved.optimum - slack
    program = solved.program
    floor = float(gap_floor(program.loss, np.asarray(program.y)))
    gap = relative_gap(float(solution.objective), float(solution.dual_bound), floor)
    assert_allclose(solution.gap, gap, rtol=1e-9, atol=1e-15)


@pytest.mark.parametrize("name", ["two_layer/squared", "two_layer/gated/squared"])
def test_polar_bound_against_directions_on_the_circle(name):
    """d = 2: the maximum of |v^T D_i X u| over 100,000 directions u of each cell."""
    program = instances.program_of(name)
    angles = np.linspace(0, 2 * np.pi, 100_000, endpoint=False)
    u = np.stack([np.cos(angles), np.sin(angles)])
    X, masks = np.asarray(program.X), np.asarray(program.masks)
    v = np.random.default_rng(5).standard_normal(len(X))
    products = X @ u
    best = 0.0
    for mask in masks:
        allowed = np.ones(len(angles), bool)
        if program.cones is not None:
            allowed = np.all(np.where(mask[:, None], products, -products) >= 0, axis=0)
        best = max(best, np.max(np.abs(v[mask] @ products[mask])[allowed]))
    bound = program.judge().polar_bound(v, None)
    assert best <= bound
    assert_allclose(bound, best, rtol=1e-4)
