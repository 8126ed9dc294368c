"""Minibatch steps: their gradient, their limit, and what they say along the way."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers.minibatches.minibatch import GateModel
from cvxjax.terms.regularisers import GroupNorm, NuclearNorm
from tests import instances

n, d, c, P = 12, 4, 3, 5


def draw(seed=0):
    """Rows, one-hot targets and gates."""
    rng = np.random.default_rng(seed)
    X, gates = rng.standard_normal((n, d)), rng.standard_normal((P, d))
    return jnp.asarray(X), jnp.eye(c)[rng.integers(0, c, n)], jnp.asarray(gates)


def model_of(gates, **options):
    settings = {"cone_weight": None, "loss": cj.losses.squared(), **options}
    return GateModel(
        gates=gates, beta=0.3, regulariser=GroupNorm(), num_samples=n, **settings
    )


def weights(key, signs=2):
    return jax.random.normal(key, (signs, P, c, d))


def written_out(model, w, X, Y):
    """The estimate without R as in the docstring, sums as loops, for all signs."""
    masks = X @ model.gates.T >= 0  # [n, P]
    signs, fit, hinge = (1.0, -1.0), 0.0, 0.0
    for s in range(w.shape[0]):
        for i in range(P):
            z = X @ w[s, i].T  # [n, c]
            fit = fit + signs[s] * jnp.where(masks[:, i, None], z, 0)
            z = jnp.sum(z, axis=1, keepdims=True) if model.summed else z
            hinge += jnp.sum(jnp.maximum(jnp.where(masks[:, i, None], -z, z), 0))
    loss = model.loss.value(fit, Y)
    rho = 0 if model.cone_weight is None else model.cone_weight
    return (loss + rho * hinge) / len(X)


@pytest.mark.parametrize("summed", [False, True])
@pytest.mark.parametrize("cone_weight", [None, 0.7])
@pytest.mark.parametrize("signs", [1, 2])
def test_slope_is_the_gradient_of_the_estimate(key, summed, cone_weight, signs):
    if signs == 1 and cone_weight is not None:
        pytest.skip("cones come in pairs")
    X, Y, gates = draw()
    model = model_of(gates, cone_weight=cone_weight, summed=summed)
    w = weights(key, signs)
    slope, loss = model.slope(w, X, Y)
    want = jax.jit(jax.grad(lambda w: written_out(model, w, X, Y)))(w)
    chex.assert_trees_all_close(slope, want, rtol=1e-10, atol=1e-12)
    fit = model.predict(w, X)
    assert_allclose(loss, model.loss.value(fit, Y) / n, rtol=1e-12)


def test_batches_of_an_epoch_average_to_all_rows(key):
    X, Y, gates = draw()
    model, w = model_of(gates, cone_weight=0.2), weights(key)
    parts = [model.slope(w, X[i : i + 4], Y[i : i + 4])[0] for i in (0, 4, 8)]
    assert_allclose(sum(parts) / 3, model.slope(w, X, Y)[0], atol=1e-12)


def test_sums_tell_the_model_from_the_network(key):
    """Both against NumPy; weights in their cones are the network."""
    X, Y, gates = draw()
    model, w = model_of(gates), weights(key)
    sums = model.sums(w, X, Y)
    z = np.einsum("nd,spcd->spcn", X, w)
    masks = (np.asarray(gates) @ np.asarray(X).T >= 0)[:, None]
    convex = np.sum(np.where(masks, z[0] - z[1], 0), axis=0).T
    network = np.sum(np.maximum(z[0], 0) - np.maximum(z[1], 0), axis=0).T
    for fit, loss, right in (
        (convex, sums.loss, sums.right),
        (network, sums.network_loss, sums.network_right),
    ):
        assert_allclose(loss, np.sum((fit - Y) ** 2) / 2, rtol=1e-12)
        assert right == np.sum(np.argmax(fit, axis=1) == np.argmax(Y, axis=1))
    outside = np.maximum(np.where(masks, -z, z), 0)
    assert_allclose(sums.violation, np.sum(outside), rtol=1e-12)
    assert_allclose(sums.reach, np.sum(np.abs(z)), rtol=1e-12)

    inside = jnp.tile(gates[None, :, None], (2, 1, c, 1)) * jnp.abs(w[..., :1])
    sums = model.sums(inside, X, Y)
    assert sums.violation == 0
    assert_allclose(sums.loss, sums.network_loss, rtol=1e-12)


def test_summed_cones_hold_no_block_in_its_cone(key):
    """Blocks that cancel over outputs pay nothing, however far outside they are."""
    X, Y, gates = draw()
    w = weights(key)
    w = w - jnp.mean(w, axis=2, keepdims=True)
    free, summed = model_of(gates), model_of(gates, cone_weight=5.0, summed=True)
    assert_allclose(
        written_out(summed, w, X, Y), written_out(free, w, X, Y), rtol=1e-12
    )
    assert summed.sums(w, X, Y).violation > 0.1 * summed.sums(w, X, Y).reach


def test_rounded_factors_keep_sums_in_float32(key):
    X, Y, gates = (x.astype(jnp.float32) for x in draw())
    w = weights(key).astype(jnp.float32)
    want, _ = model_of(gates).slope(w, X, Y)
    slope, loss = model_of(gates, products=jnp.bfloat16).slope(w, X, Y)
    assert slope.dtype == loss.dtype == jnp.float32
    size = jnp.max(jnp.abs(want))
    assert 0 < jnp.max(jnp.abs(slope - want)) < 0.02 * size


@pytest.mark.parametrize("norm", [GroupNorm(), NuclearNorm()], ids=["group", "nuclear"])
def test_proximal_steps_end_at_the_optimum_of_all_outputs(norm):
    """Group norms: c programs of one output. Nuclear: the vector-output program."""
    X, Y, gates = draw(3)
    patterns = cj.arrangements.from_gates(X, gates)
    make = cj.programs.make_two_layer
    if isinstance(norm, GroupNorm):
        programs = [make(X, y, patterns, beta=0.3, gated=True) for y in Y.T]
    else:
        make = cj.programs.make_vector_output
        programs = [make(X, Y, patterns, beta=0.3, gated=True)]
    optimum = sum(float(cj.solve(p).check().objective) for p in programs)

    model = model_of(gates).replace(regulariser=norm)
    solver = cj.solvers.Stochastic()
    first = solver.start(jnp.zeros((1, P, c, d)))
    move = lambda _, at: solver.move(model, at, X, Y, 0.1)[0]  # noqa: E731
    w = jax.lax.fori_loop(0, 3000, move, first).w
    value = model.sums(w, X, Y).loss + model.beta * model.penalty(w)
    assert_allclose(value, optimum, rtol=1e-9)


@pytest.fixture(scope="module")
def gated():
    X, y = instances.draw_data(60, 5)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=20)
    return cj.programs.make_two_layer(X, y, patterns, beta=6.0, gated=True)


def test_small_batches_at_a_falling_rate(gated):
    """A certified gap, and blocks that are exactly zero as at the optimum."""
    solver = cj.solvers.Stochastic(
        tol=3e-3,
        batch_size=30,
        max_iters=4000,
        schedule=optax.cosine_decay_schedule(1.0, 4000),
    )
    solution = cj.solve(gated, solver)
    certificate = cj.certify(gated, solution.check())
    exact = cj.solve(gated).check()
    assert certificate.gap <= 3e-3
    assert exact.objective <= certificate.primal + 1e-9
    norms = np.linalg.norm(solution.params, axis=-1)
    assert 0 < np.sum(norms > 0) < norms.size / 2
    again = cj.solve(gated, solver)
    assert np.array_equal(again.params, solution.params)
    other = cj.solve(gated, solver.replace(seed=1))
    assert not np.array_equal(other.params, solution.params)


def test_any_optax_transformation(gated):
    """Subgradients of the norms, by Adam: near the optimum, but no zero block."""
    rate = optax.cosine_decay_schedule(0.03, 3000)
    solver = cj.solvers.Stochastic(
        tol=1e-2, max_iters=3000, optimizer=optax.adam(rate), proximal=False
    )
    solution = cj.solve(gated, solver)
    assert cj.certify(gated, solution.check()).gap <= 1e-2


def test_a_plateau_is_told_the_loss(gated):
    plateau = optax.contrib.reduce_on_plateau(factor=0.5, patience=5)
    solver = cj.solvers.Stochastic(
        tol=1e-2,
        max_iters=3000,
        optimizer=optax.chain(optax.sgd(0.05, 0.9), plateau),
        proximal=False,
    )
    assert cj.certify(gated, cj.solve(gated, solver)).gap <= 2e-2


@pytest.mark.parametrize("loss", ["weighted squared", "weighted logistic"])
def test_batches_have_their_weights(loss):
    """A constant rate with small batches ends near the optimum of the weighted sum."""
    X, y = instances.draw_data(40, 3)
    y = y if loss == "weighted squared" else np.sign(y)
    patterns = cj.arrangements.sample_patterns(jax.random.key(3), X, num=8)
    weights = np.geomspace(0.01, 3, 40)
    inner = getattr(cj.losses, loss.removeprefix("weighted "))()
    program = cj.programs.make_two_layer(
        X,
        y,
        patterns,
        beta=0.3,
        loss=cj.losses.weighted(inner, weights),
        gated=True,
    )
    optimum = float(cj.solve(program).check().objective)
    solver = cj.solvers.Stochastic(
        tol=1e-9,
        max_iters=4000,
        batch_size=10,
        learning_rate=0.05,
        schedule=optax.cosine_decay_schedule(1.0, 4000),
    )
    found = float(cj.solve(program, solver).objective)
    assert optimum - 1e-9 <= found <= 1.01 * optimum


def test_cones_by_a_penalty_give_a_feasible_point(key):
    """ReLU: what is returned is in its cones and above the optimum, and near it."""
    X, y = instances.draw_data(30, 3)
    patterns = cj.arrangements.sample_patterns(key, X, num=15)
    program = cj.programs.make_two_layer(X, y, patterns, beta=1.0)
    optimum = float(cj.solve(program).check().objective)
    solver = cj.solvers.Stochastic(
        max_iters=8000, schedule=optax.cosine_decay_schedule(1.0, 8000)
    )
    solution = cj.solve(program, solver)
    certificate = cj.certify(program, solution)
    assert certificate.cone_violation <= 1e-12
    assert optimum - 1e-9 <= certificate.primal <= 1.02 * optimum
    assert certificate.dual <= optimum


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("two_layer/hinge", {}, "the hinge loss is not smooth"),
        ("convolutional/average_pool", {}, "several rows of each sample"),
        ("vector_output/relu", {}, "not blocks with gates"),
        ("vector_output/gated", {"proximal": False}, "no group norm"),
        ("two_layer/squared", {"batch_size": 0}, "want batch_size, an integer >= 1"),
        ("two_layer/squared", {"optimizer": optax.sgd(1.0)}, "want the learning rate"),
    ],
)
def test_refuses(name, options, reason):
    with pytest.raises(ValueError, match=reason):
        cj.solve(instances.program_of(name), cj.solvers.Stochastic(**options))
