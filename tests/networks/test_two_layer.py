"""The networks' formulas against NumPy, their dtypes, and the case of no neurons."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cvxjax import networks
from cvxjax.terms import losses


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def make_variables(first, second):
    return {"params": {"first": {"kernel": first}, "second": {"kernel": second}}}


def test_two_layer_is_its_formula():
    X, first, second = draw(7, 3), draw(3, 5, seed=1), draw(5, 1, seed=2)
    z = networks.TwoLayer(5).apply(make_variables(first, second), jnp.asarray(X))
    want = (np.maximum(X @ first, 0) @ second)[:, 0]
    chex.assert_trees_all_close(z, want, rtol=1e-13)


def test_gated_two_layer_is_its_formula():
    X, gates = draw(7, 3), draw(5, 3, seed=3)
    X[0] = 0  # a row on every hyperplane is active
    network = networks.GatedTwoLayer(gates)
    variables = network.init(jax.random.key(0), jnp.asarray(X))
    first = np.asarray(variables["params"]["first"]["kernel"])
    second = np.asarray(variables["params"]["second"]["kernel"])
    want = np.zeros(7)
    for i, gate in enumerate(gates):
        want += (X @ gate >= 0) * (X @ (first[:, i] * second[i, 0]))
    chex.assert_trees_all_close(network.apply(variables, X), want, rtol=1e-12)
    chex.assert_trees_all_close(variables["gates"]["gates"], gates)


def test_gated_two_layer_reads_its_gates_from_the_variables():
    X, gates, others = draw(7, 3), draw(5, 3, seed=3), draw(5, 3, seed=4)
    variables = networks.GatedTwoLayer(gates).init(jax.random.key(0), jnp.asarray(X))
    z = networks.GatedTwoLayer(gates).apply(variables, X)
    chex.assert_trees_all_equal(networks.GatedTwoLayer(others).apply(variables, X), z)


def test_gated_two_layer_compares_by_its_gates():
    gates = draw(5, 3)
    network = networks.GatedTwoLayer(gates)
    assert network == networks.GatedTwoLayer(jnp.asarray(gates))
    assert hash(network) == hash(networks.GatedTwoLayer(gates.copy()))
    assert network != networks.GatedTwoLayer(-gates)
    assert network != networks.GatedTwoLayer(gates, init_scale=0.5)


def test_gated_two_layer_refuses_other_widths():
    with pytest.raises(ValueError, match=r"want X \[n, 3\]"):
        networks.GatedTwoLayer(draw(5, 3)).init(jax.random.key(0), jnp.ones((7, 2)))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "network", [networks.TwoLayer(4), networks.GatedTwoLayer(draw(4, 3))]
)
def test_dtype_follows_the_input(network, dtype):
    X = jnp.asarray(draw(7, 3), dtype)
    variables = network.init(jax.random.key(0), X)
    chex.assert_trees_all_equal_dtypes(
        *jax.tree.leaves(variables), network.apply(variables, X), X
    )


def test_no_neurons_is_the_zero_network():
    X, network = jnp.asarray(draw(7, 3)), networks.TwoLayer(0)
    variables = network.init(jax.random.key(0), X)
    chex.assert_trees_all_equal(network.apply(variables, X), jnp.zeros(7))
    objective = networks.weight_decay_objective(
        network, variables, X, jnp.ones(7), beta=0.1
    )
    chex.assert_trees_all_close(objective, jnp.asarray(3.5))


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_initial_sizes(scale):
    network = networks.TwoLayer(400, init_scale=scale)
    params = network.init(jax.random.key(0), jnp.ones((1, 50)))["params"]
    sizes = [float(jnp.std(params[layer]["kernel"])) for layer in ("first", "second")]
    want = [scale * (2 / 50) ** 0.5, scale * (1 / 400) ** 0.5]
    np.testing.assert_allclose(sizes, want, rtol=0.15)


def test_objective_is_its_formula():
    X, y, beta = draw(7, 3), draw(7, seed=5), 0.3
    first, second = draw(3, 5, seed=1), draw(5, 1, seed=2)
    z = np.maximum(X @ first, 0) @ second[:, 0]
    want = np.sum((z - y) ** 2) / 2 + beta / 2 * (np.sum(first**2) + np.sum(second**2))
    network, variables = networks.TwoLayer(5), make_variables(first, second)
    got = networks.weight_decay_objective(network, variables, X, y, beta=beta)
    chex.assert_trees_all_close(got, want, rtol=1e-13)
    labels = np.sign(y)
    got = networks.weight_decay_objective(
        network, variables, X, labels, beta=0.0, loss=losses.logistic()
    )
    want = np.sum(np.log1p(np.exp(-labels * z)))
    chex.assert_trees_all_close(got, want, rtol=1e-12)


def test_objective_leaves_the_gates_unpenalised():
    X, network = jnp.asarray(draw(7, 3)), networks.GatedTwoLayer(draw(4, 3))
    variables = network.init(jax.random.key(0), X)
    got = networks.weight_decay_objective(
        network, variables, X, network.apply(variables, X), beta=2.0
    )
    want = sum(np.sum(np.square(p)) for p in jax.tree.leaves(variables["params"]))
    chex.assert_trees_all_close(got, jnp.asarray(want), rtol=1e-12)
