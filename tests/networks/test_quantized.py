"""The bilinear network against NumPy: signs, floats, rounding, packing, training."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cvxjax import networks


def draw(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def draw_signs(m, d, seed=1):
    rng = np.random.default_rng(seed)
    u, v = rng.choice([-1, 1], size=(2, m, d)).astype(np.int8)
    return u, v, rng.normal(size=m)


def test_signs_are_their_formula():
    X, (u, v, alpha) = draw(7, 9), draw_signs(5, 9)
    variables = networks.quantized_variables(u, v, alpha)
    assert variables["params"]["left"]["kernel"].dtype == jnp.int8
    got = networks.Quantized().apply(variables, jnp.asarray(X))
    want = ((X @ u.T) * (X @ v.T)) @ alpha
    chex.assert_trees_all_close(got, want, rtol=1e-12)
    jitted = jax.jit(networks.Quantized(5).apply)(variables, jnp.asarray(X))
    chex.assert_trees_all_close(jitted, want, rtol=1e-12)
    floats = networks.quantized_variables(u.astype(float), v.astype(float), alpha)
    chex.assert_trees_all_close(
        networks.Quantized().apply(floats, jnp.asarray(X)), want, rtol=1e-12
    )


def test_floats_are_scaled_to_the_norm_of_signs():
    X, left, right, alpha = draw(7, 3), draw(5, 3, seed=1), draw(5, 3, seed=2), draw(5)
    left[2] = 0  # stays the zero column
    variables = networks.quantized_variables(left, right, alpha)
    got = networks.Quantized().apply(variables, jnp.asarray(X))
    sizes = np.linalg.norm(left, axis=1) * np.linalg.norm(right, axis=1) / 3
    weights = alpha / np.where(sizes > 0, sizes, 1)
    want = ((X @ left.T) * (X @ right.T)) @ weights
    chex.assert_trees_all_close(got, want, rtol=1e-12)
    slope = jax.grad(lambda p: jnp.sum(networks.Quantized().apply(p, jnp.asarray(X))))
    chex.assert_tree_all_finite(slope(variables))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_shapes_and_dtypes(key, dtype):
    X, network = jnp.asarray(draw(7, 3), dtype), networks.Quantized(4)
    variables = network.init(key, X)
    shapes = jax.tree.map(jnp.shape, variables["params"])
    assert shapes == {
        "left": {"kernel": (3, 4)},
        "right": {"kernel": (3, 4)},
        "second": {"kernel": (4, 1)},
    }
    chex.assert_trees_all_equal_dtypes(
        *jax.tree.leaves(variables), network.apply(variables, X), X
    )
    assert network.apply(networks.round_signs(variables), X).dtype == dtype
    with pytest.raises(ValueError, match="want num_neurons"):
        networks.Quantized().init(key, X)


def test_initial_size(key):
    network = networks.Quantized(4000, init_scale=0.5)
    second = network.init(key, jnp.ones((1, 10)))["params"]["second"]["kernel"]
    np.testing.assert_allclose(jnp.std(second), 0.05 / 4000**0.5, rtol=0.1)


def test_penalty():
    u, v, alpha = draw_signs(5, 3)
    network, variables = networks.Quantized(), networks.quantized_variables(u, v, alpha)
    got = network.penalty(variables["params"])
    np.testing.assert_allclose(got, np.sum(np.abs(alpha)), rtol=1e-14)
    X, y = jnp.asarray(draw(7, 3)), jnp.asarray(draw(7))
    objective = networks.weight_decay_objective(
        network, variables, X, y, beta=0.3, penalty=network.penalty
    )
    want = np.sum((network.apply(variables, X) - y) ** 2) / 2 + 0.3 * got
    chex.assert_trees_all_close(objective, want, rtol=1e-13)


def test_rounding():
    left, right, alpha = draw(5, 3), draw(5, 3, seed=1), draw(5)
    left[0, 0] = 0
    rounded = networks.round_signs(networks.quantized_variables(left, right, alpha))
    want = networks.quantized_variables(
        *(np.where(side >= 0, 1, -1).astype(np.int8) for side in (left, right)), alpha
    )
    chex.assert_trees_all_equal(rounded, want)
    chex.assert_trees_all_equal(networks.round_signs(rounded), rounded)


@pytest.mark.parametrize("d", [1, 8, 13])
@pytest.mark.parametrize("m", [0, 5])
def test_packing(d, m):
    u, v, alpha = draw_signs(m, d)
    variables, X = networks.quantized_variables(u, v, alpha), jnp.asarray(draw(7, d))
    packed = networks.pack(variables)
    chex.assert_shape([packed.left, packed.right], (-(-d // 8), m))
    assert packed.left.dtype == packed.right.dtype == jnp.uint8
    unpacked = networks.unpack(packed, d)
    chex.assert_trees_all_equal(unpacked, variables)
    chex.assert_trees_all_equal_dtypes(unpacked, variables)
    chex.assert_trees_all_close(
        networks.apply_packed(packed, X),
        networks.Quantized().apply(variables, X),
        rtol=1e-12,
        atol=1e-12,
    )


def test_packing_takes_a_64th():
    u, v, alpha = draw_signs(10, 64)
    packed = networks.pack(networks.quantized_variables(u, v, alpha))
    assert 64 * packed.left.nbytes == u.astype(float).nbytes


def test_packing_refuses_what_is_not_signs():
    floats = networks.quantized_variables(draw(5, 3), draw(5, 3), draw(5))
    with pytest.raises(ValueError, match="round_signs"):
        networks.pack(floats)
    packed = networks.pack(networks.round_signs(floats))
    with pytest.raises(ValueError, match="got d = 9"):
        networks.unpack(packed, 9)


def test_no_neurons_is_the_zero_network(key):
    X, network = jnp.asarray(draw(7, 3)), networks.Quantized(0)
    variables = network.init(key, X)
    chex.assert_trees_all_equal(network.apply(variables, X), jnp.zeros(7))
    assert network.penalty(variables["params"]) == 0
    rounded = networks.round_signs(variables)
    chex.assert_trees_all_equal(network.apply(rounded, X), jnp.zeros(7))


def test_training_from_scratch_and_from_signs(key):
    X, (u, v, alpha) = draw(30, 4), draw_signs(3, 4)
    y = ((X @ u.T) * (X @ v.T)) @ alpha
    network = networks.Quantized(12)
    options = {"steps": 300, "weight_decay": 1e-2, "penalty": network.penalty}
    optimizer = optax.adam(1e-2)
    result = networks.train(key, network, (X, y), optimizer, num_seeds=2, **options)
    last = result.objective[:, -1]
    assert np.all(np.asarray(last) < 0.1 * np.asarray(result.objective[:, 0]))
    variables, objective = result.best()
    got = networks.weight_decay_objective(
        network, variables, X, y, beta=1e-2, penalty=network.penalty
    )
    np.testing.assert_allclose(got, objective, rtol=1e-10)

    signs = networks.quantized_variables(u, v, alpha)
    network = networks.Quantized(3)
    options = {**options, "penalty": network.penalty, "steps": 2}
    result = networks.train(key, network, (X, y), optimizer, initial=signs, **options)
    start = np.asarray(result.objective)[0, 0]
    np.testing.assert_allclose(start, 1e-2 * np.sum(np.abs(alpha)), rtol=1e-10)
