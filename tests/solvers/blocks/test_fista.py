"""One step of FISTA against its formulas."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.terms.regularisers import prox_group
from tests import instances

NAMES = ["two_layer/gated/squared", "two_layer/gated/logistic"]


@pytest.mark.parametrize("name", NAMES)
def test_step_size_is_one_over_the_curvature_or_a_little_less(name):
    program, solver = instances.program_of(name), cj.solvers.Fista()
    state = solver.init(program, jnp.zeros(program.shape))
    F = instances.reference_of(name).matrix(program)
    want = 1 / (program.loss.smoothness * np.linalg.norm(F, 2) ** 2)
    assert 0.9499 * want <= state.step_size <= want


@pytest.mark.parametrize("name", NAMES)
def test_first_step_is_a_proximal_gradient_step(name):
    program, solver = instances.program_of(name), cj.solvers.Fista()
    w = np.random.default_rng(0).standard_normal(program.shape)
    state = solver.init(program, jnp.asarray(w))
    after = solver.step(program, state)
    F = instances.reference_of(name).matrix(program)
    slope = program.loss.gradient(F @ w.ravel(), np.asarray(program.y))
    forward = w - float(state.step_size) * (F.T @ slope).reshape(w.shape)
    want = prox_group(jnp.asarray(forward), state.step_size * program.beta)
    assert_allclose(after.w, want, atol=1e-12)
    assert program.objective(after.w) < program.objective(jnp.asarray(w))
    assert_allclose(after.momentum, (1 + np.sqrt(5)) / 2)
    assert_allclose(after.ahead, after.w)


def test_program_without_curvature():
    """F = 0: the step size stays finite, and the zero network is returned."""
    name = "two_layer/gated/all inactive"
    program, solver = instances.program_of(name), cj.solvers.Fista()
    state = solver.init(program, jnp.zeros(program.shape))
    assert np.isfinite(state.step_size)
    after = solver.step(program, state)
    assert np.all(np.asarray(after.w) == 0)
