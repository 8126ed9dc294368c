"""Training against hand-written gradient steps and against the convex optimum."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from cvxjax import networks
from cvxjax.terms import losses

FIVE_POINTS = (
    np.stack([np.arange(-2.0, 3.0), np.ones(5)], axis=1),
    np.array([1.0, -1.0, 1.0, 1.0, -1.0]),
)
OPTIMUM = 0.1000738270  # of the convex program at beta = 1e-2, all patterns, Clarabel


SGD, RATE, WIDTH = optax.sgd(1e-2), 1e-2, 4


def draw_data(n=6, d=3, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)), rng.normal(size=n)


def run(
    data=None, *, key=0, network=None, optimizer=SGD, steps=20, num_seeds=2, **options
):
    """`train` with 5 records, so that tests share compiled loops."""
    return networks.train(
        jax.random.key(key),
        networks.TwoLayer(WIDTH) if network is None else network,
        draw_data() if data is None else data,
        optimizer,
        steps=steps,
        num_seeds=num_seeds,
        record_every=steps // 4,
        **options,
    )


def start(seed=1):
    return networks.TwoLayer(WIDTH).init(jax.random.key(seed), jnp.ones((1, 3)))


def gradient_by_hand(params, X, y, beta):
    """Of 1/2 ||(X W1)_+ W2 - y||^2 + beta/2 (||W1||^2 + ||W2||^2), in NumPy."""
    first, second = (np.asarray(params[k]["kernel"]) for k in ("first", "second"))
    hidden = np.maximum(X @ first, 0)
    r = hidden @ second[:, 0] - y
    active = X @ first > 0
    return {
        "first": {"kernel": X.T @ (r[:, None] * active * second.T) + beta * first},
        "second": {"kernel": hidden.T @ r[:, None] + beta * second},
    }


def gradient_sum():
    """A transformation that leaves the parameters and sums gradients in its state."""
    return optax.GradientTransformation(
        lambda params: jax.tree.map(jnp.zeros_like, params),
        lambda g, state, _: (
            jax.tree.map(jnp.zeros_like, g),
            jax.tree.map(jnp.add, state, g),
        ),
    )


def predict(variables):
    predict.traces += 1
    return {"z": networks.TwoLayer(WIDTH).apply(variables, draw_data()[0])}


predict.traces = 0


def test_steps_are_gradient_steps_with_decay_in_the_objective():
    (X, y), beta = draw_data(), 0.3
    result = run((X, y), steps=4, weight_decay=beta, initial=start())
    params = start()["params"]
    for _ in range(4):
        gradient = gradient_by_hand(params, X, y, beta)
        params = jax.tree.map(lambda p, g: p - RATE * g, params, gradient)
    got = jax.tree.map(lambda leaf: leaf[1], result.variables["params"])
    chex.assert_trees_all_close(got, params, rtol=1e-12)


def test_weight_decay_alone_shrinks_geometrically():
    data = np.zeros((6, 3)), np.zeros(6)
    result = run(data, weight_decay=5.0, initial=start())
    want = jax.tree.map(lambda p: (1 - RATE * 5.0) ** 20 * p, start())
    got = jax.tree.map(lambda leaf: leaf[0], result.variables)
    chex.assert_trees_all_close(got, want, rtol=1e-12)


@pytest.mark.parametrize(
    ("batch_size", "weighted"), [(3, False), (6, False), (3, True)]
)
def test_batches_of_an_epoch_average_to_the_gradient(batch_size, weighted):
    """Weights of samples are those of rows scaled by their roots."""
    (X, y), beta = draw_data(), 0.3
    weights = np.linspace(0.2, 3, 6) if weighted else np.ones(6)
    loss, roots = losses.weighted(losses.squared(), weights), np.sqrt(weights)
    steps = 4 * 6 // batch_size  # 4 epochs
    result = run(
        (X, y),
        optimizer=gradient_sum(),
        steps=steps,
        weight_decay=beta,
        batch_size=batch_size,
        initial=start(),
        **({"loss": loss} if weighted else {}),
    )
    want = gradient_by_hand(start()["params"], roots[:, None] * X, roots * y, beta)
    for seed in range(2):
        got = jax.tree.map(lambda g, i=seed: g[i] / steps, result.optimizer_state)
        chex.assert_trees_all_close(got, want, rtol=1e-11, atol=1e-12)


def test_rows_left_over_by_an_epoch_change():
    """With n = 5 and b = 2 one row sits out each epoch; over many, all take part."""
    epochs = 400
    variables = {
        "params": {
            "first": {"kernel": jnp.ones((5, 1))},
            "second": {"kernel": 2 * jnp.ones((1, 1))},
        }
    }
    result = run(
        (np.eye(5), np.ones(5)),
        network=networks.TwoLayer(1),
        optimizer=gradient_sum(),
        steps=2 * epochs,
        num_seeds=1,
        batch_size=2,
        initial=variables,
    )
    # Row j adds n / b * (2 - 1) * 2 = 5 to entry j of the sum each time it is drawn.
    drawn = np.asarray(result.optimizer_state["first"]["kernel"])[0, :, 0] / 5
    chex.assert_trees_all_close(np.sum(drawn), 4.0 * epochs, rtol=1e-12)
    assert np.all(np.abs(drawn / epochs - 0.8) < 0.1)


def test_seeds_differ_and_repeat_whatever_their_number():
    first, again, single, other = (
        np.asarray(run(key=key, num_seeds=num_seeds, weight_decay=0.1).objective)
        for key, num_seeds in ((0, 2), (0, 2), (0, 1), (1, 2))
    )
    chex.assert_trees_all_equal(first, again)
    chex.assert_trees_all_close(first[:1], single, rtol=1e-11)
    assert len({*first[:, -1], *other[:, -1]}) == 4


def test_seeds_differ_in_their_batches():
    result = run(batch_size=3, metrics=predict, initial=start())
    objective = np.asarray(result.objective)
    assert objective[0, 0] == objective[1, 0] and objective[0, -1] != objective[1, -1]


def test_records_are_the_objective_of_all_data():
    (X, y), beta, network = draw_data(), 0.1, networks.TwoLayer(WIDTH)
    result = run(steps=20, weight_decay=beta, batch_size=3, metrics=predict)
    assert result.steps.tolist() == [0, 5, 10, 15, 20]
    chex.assert_shape(result.objective, (2, 5))
    chex.assert_shape(result.metrics["z"], (2, 5, 6))
    variables, objective = result.best()
    want = networks.weight_decay_objective(network, variables, X, y, beta=beta)
    chex.assert_trees_all_close(objective, float(want), rtol=1e-12)
    seed = np.argmin(result.objective[:, -1])
    assert objective == result.objective[seed, -1]
    z = network.apply(variables, X)
    chex.assert_trees_all_close(result.metrics["z"][seed, -1], z, rtol=1e-11)
    assert result.seconds[0] == 0 and result.seconds[-1] == result.run_seconds
    assert np.all(np.diff(result.seconds) > 0)


def test_weight_decay_steps_and_data_recompile_nothing():
    predict.traces = 0
    for i, beta in enumerate((0.2, 0.0, 1.0)):
        data = draw_data(seed=i)
        run(data, key=i, steps=20 + 4 * i, weight_decay=beta, metrics=predict)
    assert predict.traces == 1


def test_a_continued_run_is_the_uninterrupted_run():
    optimizer = optax.adam(optax.cosine_decay_schedule(1e-2, 40))
    options = {"optimizer": optimizer, "weight_decay": 0.1, "batch_size": 1}
    whole = run(steps=40, **options)
    part = run(steps=20, **options)  # stops in the middle of an epoch of 6 steps
    rest = run(steps=20, initial=part, **options)
    assert part.steps.tolist() == [0, 5, 10, 15, 20]
    assert rest.steps.tolist() == [20, 25, 30, 35, 40]
    chex.assert_trees_all_close(rest.variables, whole.variables, rtol=1e-9)
    objective = jnp.concatenate([part.objective[:, ::2], rest.objective[:, 2::2]], 1)
    chex.assert_trees_all_close(objective, whole.objective, rtol=1e-9)


def test_the_last_step_is_recorded_whatever_the_cadence():
    options = {"steps": 5, "record_every": 3}
    result = networks.train(
        jax.random.key(0), networks.TwoLayer(0), draw_data(), SGD, **options
    )
    assert result.steps.tolist() == [0, 3, 5]


def test_a_seed_that_diverges_leaves_the_others_alone():
    initial = jax.tree.map(lambda leaf: jnp.stack([leaf, 1e200 * leaf]), start())
    result = run(initial=initial, weight_decay=0.1)
    objective = np.asarray(result.objective)
    assert np.all(np.isfinite(objective[0])) and not np.isfinite(objective[1, -1])
    assert result.best()[1] == objective[0, -1]
    with pytest.raises(ValueError, match="all 1 seeds diverged"):
        result.replace(objective=objective[1:]).best()


def test_a_run_is_not_continued_by_another_optimizer():
    with pytest.raises(ValueError, match="another kind of optimizer"):
        run(initial=run(weight_decay=0.1), optimizer=optax.adam(1e-2))


def test_gates_are_not_trained():
    gates = np.random.default_rng(1).normal(size=(4, 3))
    result = run(network=networks.GatedTwoLayer(gates), steps=200)
    chex.assert_trees_all_equal(
        result.variables["gates"]["gates"], np.stack([gates, gates])
    )
    assert np.all(result.objective[:, -1] < result.objective[:, 0])


def test_no_neurons_train_to_the_zero_network():
    X, y = draw_data()
    result = run((X, y), network=networks.TwoLayer(0))
    want = np.full((2, 5), np.sum(y**2) / 2)
    chex.assert_trees_all_close(result.objective, want, rtol=1e-12)


def test_float32_is_kept():
    X, y = draw_data()
    data = X.astype(np.float32), y
    result = run(data, optimizer=optax.adam(RATE), weight_decay=0.1, batch_size=3)
    leaves = [*jax.tree.leaves(result.variables), result.objective]
    assert {leaf.dtype for leaf in leaves} == {jnp.dtype("float32")}
    assert np.all(result.objective[:, -1] < result.objective[:, 0])


def test_integers_become_floats():
    X, y = np.array([[1, 2, 0], [-1, 0, 1], [3, -2, 1]]), np.array([1, -1, 1])
    options = {"loss": losses.logistic(), "weight_decay": 0.1}
    integers = run((X, y), **options)
    floats = run((X.astype(float), y.astype(float)), **options)
    assert integers.objective.dtype == jnp.zeros(()).dtype
    chex.assert_trees_all_close(integers.objective, floats.objective, rtol=1e-12)


def test_another_penalty_replaces_weight_decay():
    result = run(
        (np.zeros((6, 3)), np.zeros(6)),
        optimizer=optax.sgd(0.1),
        steps=4,
        weight_decay=0.5,
        initial=jax.tree.map(jnp.ones_like, start()),
        penalty=lambda params: jnp.sum(jnp.abs(params["first"]["kernel"])),
    )
    params = result.variables["params"]
    want = jnp.full((2, 3, WIDTH), 0.8)
    chex.assert_trees_all_close(params["first"]["kernel"], want, rtol=1e-12)
    chex.assert_trees_all_equal(params["second"]["kernel"], jnp.ones((2, WIDTH, 1)))


def test_wide_networks_reach_the_convex_optimum_and_never_pass_it():
    """The five points of Pilanci & Ergen (2020): gradient descent, width 50."""
    result = networks.train(
        jax.random.key(0),
        networks.TwoLayer(50),
        FIVE_POINTS,
        optax.sgd(1e-2),
        steps=32_000,
        num_seeds=10,
        weight_decay=1e-2,
    )
    ratio = np.asarray(result.objective) / OPTIMUM
    assert np.all(ratio >= 1 - 1e-9)
    assert np.all(ratio[:, -1] < 1.02)


def replace(position, value):
    X, y = draw_data()
    pair = [X, y]
    pair[position] = value(pair[position])
    return tuple(pair)


def with_nan(array):
    array = array.copy()
    array[0] = np.nan
    return array


@pytest.mark.parametrize(
    "data, options, message",
    [
        (replace(0, with_nan), {}, "X holds NaN"),
        (replace(1, with_nan), {}, "y holds NaN"),
        (replace(0, lambda X: X[0]), {}, "want X"),
        (replace(0, lambda X: X[:4]), {}, "want X"),
        (replace(1, lambda y: y[:, None]), {}, "want y of shape"),
        (replace(0, lambda X: X * 1j), {}, "real numbers in X"),
        (replace(1, lambda y: y.astype(str)), {}, "real numbers in y"),
        ((np.zeros((0, 3)), np.zeros(0)), {}, "n >= 1"),
        (draw_data(), {"loss": losses.logistic()}, "label"),
        (draw_data(), {"loss": losses.interpolation()}, "is a constraint"),
        (draw_data(), {"steps": 0}, "steps >= 1; got 0"),
        (draw_data(), {"num_seeds": 0}, "num_seeds >= 1; got 0"),
        (draw_data(), {"record_every": 0}, "record_every >= 1; got 0"),
        (draw_data(), {"batch_size": 0}, "batch_size <= n = 6; got 0"),
        (draw_data(), {"batch_size": 7}, "batch_size <= n = 6; got 7"),
        (draw_data(), {"weight_decay": -1.0}, "weight_decay >= 0; got -1"),
        (draw_data(), {"weight_decay": np.nan}, "weight_decay >= 0; got nan"),
        (draw_data(), {"initial": {"params": {}}}, "initial variables of shapes"),
    ],
)
def test_bad_input_is_refused(data, options, message):
    options = {"steps": 5, **options}
    with pytest.raises(ValueError, match=message):
        networks.train(
            jax.random.key(0), networks.TwoLayer(4), data, optax.sgd(1e-2), **options
        )
