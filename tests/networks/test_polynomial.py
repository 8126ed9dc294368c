"""The polynomial network against NumPy, and which regulariser is the l1 norm."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose

from cvxjax import networks

COEFFICIENTS = (0.09, 0.5, 0.47)


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def sigma(t, coefficients=COEFFICIENTS):
    a, b, c = coefficients
    return a * t**2 + b * t + c


def variables_of(first, second):
    params = {"first": {"kernel": first}, "second": {"kernel": second}}
    return {"params": jax.tree.map(jnp.asarray, params)}


def apply(first, second, X, *, coefficients=COEFFICIENTS, **options):
    network = networks.Polynomial(coefficients, **options)
    return network.apply(variables_of(first, second), jnp.asarray(X))


def unit(first):
    return first / np.linalg.norm(first, axis=0)


@pytest.mark.parametrize("coefficients", [COEFFICIENTS, (1.0, 0.0, 0.0)])
def test_one_output_is_its_formula(coefficients):
    X, first, second = draw(7, 3), draw(3, 5, seed=1), draw(5, 1, seed=2)
    want = sigma(X @ unit(first), coefficients) @ second[:, 0]
    got = apply(first, second, X, coefficients=coefficients)
    chex.assert_trees_all_close(got, want, rtol=1e-12)


def test_several_outputs_are_their_formula():
    X, first, second = draw(7, 3), draw(3, 5, seed=1), draw(5, 2, seed=2)
    want = sigma(X @ unit(first)) @ second
    got = apply(first, second, X, num_outputs=2)
    chex.assert_trees_all_close(got, want, rtol=1e-12)
    got = apply(first, second[:, :1], X, num_outputs=1)
    chex.assert_trees_all_close(got, want[:, :1], rtol=1e-12)


@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("pool", [None, 1, 2, 3, 6])
def test_patches_and_pools_are_their_formula(pool, outputs):
    K, m, c = 6, 4, outputs or 1
    P = pool or K
    X, first = draw(5, K, 3), draw(3, m, seed=1)
    second = draw(K // P * m, c, seed=2)
    U, want = unit(first), np.zeros((5, c))
    for k in range(K // P):
        for j in range(m):
            mean = sum(sigma(X[:, k * P + i] @ U[:, j]) for i in range(P)) / P
            want += mean[:, None] * second[k * m + j]
    got = apply(first, second, X, num_outputs=outputs, pool=pool)
    chex.assert_trees_all_close(got, want if outputs else want[:, 0], rtol=1e-12)


def test_rows_are_single_patches():
    X, first, second = draw(7, 3), draw(3, 5, seed=1), draw(5, 1, seed=2)
    rows = apply(first, second, X, pool=1)
    chex.assert_trees_all_close(apply(first, second, X[:, None]), rows, rtol=1e-14)


@pytest.mark.parametrize("pool", [4, 0, -1, 12])
def test_pools_divide_the_patches(pool):
    network = networks.Polynomial(COEFFICIENTS, pool=pool, num_neurons=2)
    with pytest.raises(ValueError, match=f"divides K = 6 patches; got {pool}"):
        network.init(jax.random.key(0), jnp.ones((2, 6, 3)))


def test_scales_of_the_first_layer_do_not_matter():
    X, first, second = draw(7, 3), draw(3, 5, seed=1), draw(5, 1, seed=2)
    scales = 10.0 ** np.arange(-2, 3)
    got = apply(first * scales, second, X)
    chex.assert_trees_all_close(got, apply(first, second, X), rtol=1e-12)
    assert not np.allclose(apply(-first, second, X), got)


def test_gradients_are_along_the_sphere_and_finite_at_zero():
    X, first, second = draw(7, 3), draw(3, 5, seed=1), draw(5, 1, seed=2)
    gradient = jax.grad(lambda first: jnp.sum(apply(first, second, X) ** 2))
    assert_allclose(np.sum(np.asarray(gradient(first)) * first, axis=0), 0, atol=1e-11)
    assert np.max(np.abs(gradient(first))) > 0.1
    first[:, 0] = 0
    assert np.all(np.isfinite(gradient(first)))


def test_a_column_of_zeros_stays_zero():
    X, first, second = draw(7, 3), np.zeros((3, 1)), np.array([[2.0]])
    want = np.full(7, 2 * COEFFICIENTS[2])
    chex.assert_trees_all_close(apply(first, second, X), want, rtol=1e-14)


def test_penalty_is_the_l1_norm_of_the_second_layer():
    first, second = draw(3, 5, seed=1), draw(10, 2, seed=2)
    params = variables_of(first, second)["params"]
    got = networks.Polynomial(COEFFICIENTS, 2).penalty(params)
    assert_allclose(got, np.sum(np.abs(second)), rtol=1e-14)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("shape", [(7, 3), (7, 6, 3)])
def test_initialisation(shape, dtype):
    X = jnp.asarray(draw(*shape), dtype)
    pool = None if len(shape) == 2 else 2
    network = networks.Polynomial(COEFFICIENTS, 2, pool, num_neurons=4)
    variables = network.init(jax.random.key(0), X)
    z = network.apply(variables, X)
    chex.assert_shape(z, (7, 2))
    chex.assert_trees_all_equal_dtypes(*jax.tree.leaves(variables), z, X)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    windows = 1 if pool is None else 3
    assert shapes["first"]["kernel"] == (3, 4)
    assert shapes["second"]["kernel"] == (4 * windows, 2)


@pytest.mark.parametrize("scale", [1.0, 0.1])
def test_initial_sizes(scale):
    network = networks.Polynomial(
        COEFFICIENTS, pool=1, num_neurons=200, init_scale=scale
    )
    params = network.init(jax.random.key(0), jnp.ones((1, 2, 50)))["params"]
    sizes = [float(jnp.std(params[layer]["kernel"])) for layer in ("first", "second")]
    assert_allclose(sizes, [(1 / 50) ** 0.5, scale * (1 / 400) ** 0.5], rtol=0.15)


def test_the_width_is_that_of_the_variables():
    with pytest.raises(ValueError, match="want num_neurons to initialise"):
        networks.Polynomial(COEFFICIENTS).init(jax.random.key(0), jnp.ones((1, 3)))


@pytest.mark.parametrize("num_neurons", [None, 0])
@pytest.mark.parametrize("outputs", [None, 2])
@pytest.mark.parametrize("shape", [(7, 3), (7, 6, 3)])
def test_no_neurons_is_the_zero_network(shape, outputs, num_neurons):
    X, first, second = draw(*shape), np.zeros((3, 0)), np.zeros((0, outputs or 1))
    z = apply(first, second, X, num_outputs=outputs, num_neurons=num_neurons)
    chex.assert_trees_all_equal(z, jnp.zeros((7, 2) if outputs else 7))
    network = networks.Polynomial(COEFFICIENTS, outputs)
    assert float(network.penalty(variables_of(first, second)["params"])) == 0
    if num_neurons == 0:
        network = networks.Polynomial(COEFFICIENTS, outputs, num_neurons=0)
        variables = network.init(jax.random.key(0), jnp.asarray(X))
        chex.assert_trees_all_equal(network.apply(variables, X), z)


@pytest.mark.parametrize(
    ("shape", "pool", "outputs"), [((12, 3), None, None), ((12, 4, 3), 2, 2)]
)
def test_training_reaches_the_network_behind_the_data(shape, pool, outputs):
    windows, beta = 2 if pool else 1, 0.1
    X, first = draw(*shape), draw(3, 3, seed=1)
    second = draw(3 * windows, outputs or 1, seed=2)
    y = apply(first, second, X, num_outputs=outputs, pool=pool)
    network = networks.Polynomial(COEFFICIENTS, outputs, pool, num_neurons=6)
    result = networks.train(
        jax.random.key(0),
        network,
        (X, y),
        optax.adam(1e-2),
        steps=1000,
        num_seeds=2,
        weight_decay=beta,
        penalty=network.penalty,
    )
    variables, objective = result.best()
    assert objective < beta * np.sum(np.abs(second))
    z = network.apply(variables, jnp.asarray(X))
    l1 = np.sum(np.abs(variables["params"]["second"]["kernel"]))
    assert_allclose(objective, np.sum((z - y) ** 2) / 2 + beta * l1, rtol=1e-10)
