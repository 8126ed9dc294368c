"""Units of order one: powers of two that change no step, and the way back."""

import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.solvers.standard_form import precise_form, standard_form
from cvxjax.solvers.starts import Start
from tests import instances


@pytest.mark.parametrize(
    "name",
    ["two_layer/squared", "two_layer/huber", "two_layer/hinge", "vector_output/relu"],
)
def test_the_way_in_and_out_keeps_objective_and_feasibility(name):
    program = instances.program_of(name)
    form = standard_form(program)
    w = np.random.default_rng(0).standard_normal(program.shape)
    inner = form.inward(Start(params=jnp.asarray(w))).params
    value = form.values * form.program.objective(inner)
    np.testing.assert_allclose(value, program.objective(jnp.asarray(w)), rtol=1e-13)
    assert float(jnp.max(form.program.reach)) < 2
    if form.power == 2:
        assert 1 <= float(jnp.max(jnp.abs(form.program.y))) < 2


def test_steps_do_not_depend_on_units_that_are_powers_of_two():
    program = instances.program_of("two_layer/squared")
    scaled = program.replace(y=program.y * 2.0**40, beta=program.beta * 2.0**40)
    one, other = cj.solve(program), cj.solve(scaled)
    assert int(one.iterations) == int(other.iterations)
    np.testing.assert_array_equal(one.params * 2.0**40, other.params)
    np.testing.assert_array_equal(one.objective * 2.0**80, other.objective)


def test_coordinates_are_taken_where_columns_are_badly_conditioned():
    X = np.column_stack([2024 + np.arange(8.0), np.ones(8)])
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, X[:, 0] % 3, patterns, beta=0.1)
    form = precise_form(standard_form(program))
    assert form.coordinates is not None and not form.wide
    w = np.random.default_rng(0).standard_normal(program.shape)
    inner = form.inward(Start(params=jnp.asarray(w))).params
    fit = form.labels * form.program.forward(inner)
    want = program.forward(jnp.asarray(w))
    np.testing.assert_allclose(fit, want, atol=1e-12 * float(jnp.max(jnp.abs(want))))
    value = form.values * form.program.objective(inner)
    np.testing.assert_allclose(value, program.objective(jnp.asarray(w)), rtol=1e-11)
    plain = precise_form(standard_form(instances.program_of("two_layer/squared")))
    assert plain.coordinates is None
