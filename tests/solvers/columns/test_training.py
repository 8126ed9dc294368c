"""Trained neurons against Optax, and against networks trained by themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers.columns.joint_descent import descended
from cvxjax.solvers.columns.neurons import Neurons, Rows
from cvxjax.solvers.columns.training import NETWORKS, trained
from cvxjax.watch import Watch

STEPS, RATE, BETA = 25, 0.02, 0.3


def problem(patches, n=40, d=6, loss=None):
    """A program of samples with this many patches, its rows, and 16 neurons."""
    rng = np.random.default_rng(patches)
    X, y = rng.standard_normal((n, patches, d)), rng.standard_normal(n)
    y = y if loss is None else np.sign(y)
    options = {"beta": BETA} | ({} if loss is None else {"loss": loss})
    if patches == 1:
        program = cj.programs.make_two_layer(X[:, 0], y, **options)
    else:
        options["kind"] = "average_pool"
        program = cj.programs.make_convolutional(X, y, **options)
    first, second = rng.standard_normal((16, d)), rng.standard_normal(16)
    return program, Rows.of(program), first, second


def objective(program, rows):
    """The network's objective, with the features of column generation's rows."""
    X = jnp.asarray(rows.unit * rows.lengths[:, None])

    def value(weights):
        u, a = weights
        hidden = jax.nn.relu(X @ u.T).reshape(rows.samples, -1, len(a)).sum(axis=1)
        decay = BETA / 2 * (jnp.sum(u**2) + jnp.sum(a**2))
        return program.loss.value(hidden @ a, program.y) + decay

    return value


def as_weights(first, second):
    """Neurons in the order of their training, of unit length times a size."""
    w = first * np.abs(second)[:, None]
    return w, np.sign(second)


def weights_of(neurons):
    """Balanced weights of both layers."""
    sizes = np.sqrt(neurons.sizes)
    return jnp.asarray(neurons.u * sizes[:, None]), jnp.asarray(neurons.signs * sizes)


@pytest.mark.parametrize("patches", [1, 3])
@pytest.mark.parametrize("name", ["squared", "logistic"])
def test_adam_is_that_of_optax(patches, name):
    loss = None if name == "squared" else cj.losses.logistic()
    program, rows, first, second = problem(patches, loss=loss)
    optimizer = optax.adam(
        lambda k: RATE / 2 * (1 + jnp.cos(jnp.pi * (k + 1) / STEPS)), eps=1e-12
    )
    weights = jnp.asarray(first), jnp.asarray(second)
    slope, state = jax.grad(objective(program, rows)), optimizer.init(weights)
    for _ in range(STEPS):
        change, state = optimizer.update(slope(weights), state)
        weights = optax.apply_updates(weights, change)
    found = trained(program, rows, first, second, rate=RATE, steps=STEPS)
    w, signs = as_weights(*map(np.asarray, weights))
    assert_allclose(found.u * found.sizes[:, None], w, atol=1e-4)
    assert np.array_equal(found.signs, signs)


def test_networks_apart_do_not_interact():
    program, rows, first, second = problem(1)
    options = {"rate": RATE, "steps": STEPS}
    together = trained(program, rows, first, second, apart=True, **options)
    for k in range(NETWORKS):
        alone = trained(
            program, rows, first[k::NETWORKS], second[k::NETWORKS], **options
        )
        assert_allclose(together.u[k::NETWORKS], alone.u, atol=1e-4)
        assert_allclose(together.sizes[k::NETWORKS], alone.sizes, atol=1e-4)


def test_lbfgs_descends_to_where_slopes_are_small():
    program, rows, first, second = problem(3)
    neurons = Neurons.of(*as_weights(first, second))
    found = descended(program.loss, np.asarray(program.y), BETA, rows, neurons, Watch())
    value = objective(program, rows)

    def slope(neurons):
        slopes = jax.grad(value)(weights_of(neurons))
        return float(jnp.linalg.norm(ravel_pytree(slopes)[0]))

    assert value(weights_of(found)) < 0.7 * value(weights_of(neurons))
    assert slope(found) <= 1e-2 * slope(neurons)  # up to kinks


def test_lbfgs_stops_where_the_time_is_over():
    program, rows, first, second = problem(3)
    neurons = Neurons.of(*as_weights(first, second))
    y, value = np.asarray(program.y), objective(program, rows)

    def end(watch):
        return value(weights_of(descended(program.loss, y, BETA, rows, neurons, watch)))

    assert end(Watch()) < end(Watch(time_limit=0.0))
