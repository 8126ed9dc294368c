"""Networks from blocks, and between networks of one function, against NumPy."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax import recovery
from tests import instances
from tests.references import half_squares, relu_network

SOLVED = [
    "two_layer/squared",
    "two_layer/logistic",
    "two_layer/three features",
    "two_layer/rank two",
    "two_layer/duplicate rows",
]


def draw(m, d=2, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((m, d)), rng.standard_normal(m)


def keys_of(u, a, X):
    """(pattern, sign) of every neuron."""
    masks = (u @ X.T >= 0).tolist()
    return [(tuple(row), s) for row, s in zip(masks, np.sign(a), strict=True)]


def fits_rank(u, a, X):
    fits = np.maximum(X @ u.T, 0) * a
    fits = fits / np.linalg.norm(fits, axis=0)
    return np.linalg.matrix_rank(fits, tol=1e-9)


def test_balance():
    w, _ = draw(5)
    w[2] = 0
    u, a = recovery.balance(w)
    assert_allclose(a[:, None] * u, w, rtol=1e-14)
    assert_allclose(np.linalg.norm(u, axis=1), a, rtol=1e-14)
    assert np.all(u[2] == 0) and a[2] == 0
    assert_allclose(half_squares(u, a), np.sum(np.linalg.norm(w, axis=1)), rtol=1e-14)


def test_neurons_are_the_active_blocks_with_their_signs():
    w = np.random.default_rng(1).standard_normal((2, 3, 2))
    w[0, 1] = w[1, 2] = 0
    u, a = recovery.neurons(w)
    assert np.sign(a).tolist() == [1, 1, -1, -1]
    want = [w[0, 0], w[0, 2], -w[1, 0], -w[1, 1]]
    assert_allclose(a[:, None] * u, want, rtol=1e-14)
    penalty = np.sum(np.linalg.norm(w, axis=-1))
    assert_allclose(half_squares(u, a), penalty, rtol=1e-14)


def test_variables_are_those_of_the_network():
    u, a = draw(4, 3)
    X = np.random.default_rng(2).standard_normal((7, 3))
    variables = recovery.two_layer_variables(u, a)
    z = cj.networks.TwoLayer(4).apply(variables, X)
    assert_allclose(z, relu_network(u, a, X), rtol=1e-13)
    for back, given in zip(recovery.two_layer_neurons(variables), (u, a), strict=True):
        assert_allclose(back, given)


def test_blocks_of():
    u, a = draw(4)
    a[1] = 0
    X, _ = instances.draw_data(8, 2)
    w, signs, masks = recovery.blocks_of(u, a, X)
    assert signs.tolist() == np.sign(a).tolist()
    assert_allclose(w, np.abs(a)[:, None] * u)
    fit = np.sum(signs[:, None] * np.where(masks, w @ X.T, 0), axis=0)
    assert_allclose(fit, relu_network(u, a, X), rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("shares", [[1.0], [0.25, 0.75], [0.0, 0.2, 0.3, 0.5]])
def test_split_keeps_function_and_squares(shares):
    u, a = draw(5)
    wide, out = recovery.split(u, a, np.array(shares))
    assert wide.shape == (5 * len(shares), 2)
    X = np.random.default_rng(3).standard_normal((20, 2))
    assert_allclose(relu_network(wide, out, X), relu_network(u, a, X), rtol=1e-12)
    assert_allclose(half_squares(wide, out), half_squares(u, a), rtol=1e-13)


@pytest.mark.parametrize("shares", [[0.5, 0.6], [-0.5, 1.5], [[0.5, 0.5]]])
def test_split_refuses_what_is_no_share(shares):
    with pytest.raises(ValueError, match="want shares >= 0 that sum to 1"):
        recovery.split(*draw(3), np.array(shares))


@pytest.mark.parametrize("seed", range(5))
def test_merge_keeps_the_fit_and_does_not_raise_the_decay(seed):
    X, _ = instances.draw_data(8, 2)
    u, a = draw(40, seed=seed)
    merged, out = recovery.merge(u, a, X)
    fit = relu_network(u, a, X)
    assert_allclose(relu_network(merged, out, X), fit, atol=1e-12)
    assert half_squares(merged, out) <= half_squares(u, a)
    keys = keys_of(merged, out, X)
    assert len(set(keys)) == len(keys) < 40
    inactive = np.all(u @ X.T <= 0, axis=1)
    assert set(keys) == set(keys_of(u[~inactive], a[~inactive], X))


def test_merge_adds_what_lies_on_one_ray():
    X, _ = instances.draw_data(8, 2)
    u, a = recovery.neurons(np.random.default_rng(4).standard_normal((2, 3, 2)))
    alive = np.any(u @ X.T > 0, axis=1)
    u, a = u[alive], a[alive]
    u, a = recovery.merge(u, a, X)
    wide = recovery.split(u, a, np.array([0.1, 0.6, 0.3]))
    again, out = recovery.merge(*wide, X)
    assert len(again) == len(u)
    assert_allclose(half_squares(again, out), half_squares(u, a), rtol=1e-12)


def test_merge_leaves_out_dead_neurons():
    X = np.abs(instances.draw_data(8, 2)[0])
    u = np.array([[-1.0, -1.0], [1.0, 1.0], [1.0, 0.0]])
    merged, out = recovery.merge(u, np.array([1.0, 0.0, 2.0]), X)
    assert_allclose(merged * out[:, None], [[2.0, 0.0]])


@pytest.mark.parametrize("seed", range(5))
def test_prune_keeps_the_fit_and_leaves_at_most_rank_neurons(seed):
    X, _ = instances.draw_data(6, 2)
    u, a = draw(30, seed=seed)
    pruned, out = recovery.prune(u, a, X)
    fit = relu_network(u, a, X)
    scale = np.max(np.abs(np.maximum(X @ u.T, 0) * a))
    assert_allclose(relu_network(pruned, out, X), fit, atol=1e-9 * scale)
    assert half_squares(pruned, out) <= half_squares(u, a) * (1 + 1e-12)
    assert len(pruned) == fits_rank(pruned, out, X) <= 6
    assert_allclose(np.linalg.norm(pruned, axis=1), np.abs(out), rtol=1e-12)
    rays = pruned / np.linalg.norm(pruned, axis=1)[:, None]
    given = u / np.linalg.norm(u, axis=1)[:, None]
    assert np.all(np.max(rays @ given.T, axis=1) > 1 - 1e-12)


@pytest.mark.parametrize("exponent", [0, 8, 100])
def test_prune_400_neurons_with_few_factorisations(monkeypatch, exponent):
    """CASES 3: one full SVD for each removed neuron took 35 s; also sizes far apart."""
    calls, plain = [], np.linalg.svd
    monkeypatch.setattr(np.linalg, "svd", lambda x: calls.append(0) or plain(x))
    rng = np.random.default_rng(exponent)
    X, (u, a) = rng.standard_normal((50, 5)), draw(400, 5)
    u = u * 10.0 ** rng.uniform(-exponent, 0, (400, 1))
    pruned, out = recovery.prune(u, a, X)
    assert len(calls) <= 3
    fit = relu_network(u, a, X)
    scale = np.max(np.abs(fit))
    assert_allclose(relu_network(pruned, out, X), fit, atol=1e-12 * scale)
    before = half_squares(*recovery.balance(np.abs(a)[:, None] * u))
    assert half_squares(pruned, out) <= before * (1 + 1e-12)
    assert len(pruned) == fits_rank(pruned, out, X) <= 50


@pytest.mark.parametrize("scale", [1e-180, 1e-12, 1e12, 1e180])
def test_prune_knows_no_units(scale):
    X, _ = instances.draw_data(6, 2)
    u, a = draw(30)
    pruned, out = recovery.prune(u, a, X)
    for first, second in (
        recovery.prune(scale * u, a, X),
        recovery.prune(u, a, scale * X),
        recovery.prune(u, scale * a, X),
    ):
        assert len(first) == len(pruned)
        rays = [w / np.max(np.abs(w), axis=1, keepdims=True) for w in (first, pruned)]
        assert_allclose(*rays, rtol=1e-6)
        assert np.sign(second).tolist() == np.sign(out).tolist()


def test_prune_in_float32():
    X, _ = instances.draw_data(6, 2)
    u, a = (x.astype(np.float32) for x in draw(30))
    pruned, out = recovery.prune(u, a, X.astype(np.float32))
    assert pruned.dtype == out.dtype == np.float32 and len(out) <= 6
    fit = relu_network(u, a, X)
    assert_allclose(relu_network(pruned, out, X), fit, atol=1e-5 * np.abs(fit).max())


@pytest.mark.parametrize("name", SOLVED)
def test_minimal_network_of_an_optimum_is_optimal(name):
    """Fit and decay stay, also from a network that was split."""
    program = instances.program_of(name)
    X, y = np.asarray(program.X), np.asarray(program.y)
    variables = program.recover(instances.solution_of(name, "Admm").params)
    u, a = recovery.two_layer_neurons(variables)
    fit, decay = relu_network(u, a, X), half_squares(u, a)
    certificate = instances.certificate_of(name, "Admm")
    wide = recovery.split(u, a, np.array([0.3, 0.5, 0.2]))
    for start in ((u, a), wide):
        small = recovery.minimal(recovery.two_layer_variables(*start), X)
        first, second = recovery.two_layer_neurons(small)
        assert_allclose(relu_network(first, second, X), fit, atol=1e-9)
        got = half_squares(first, second)
        slack = certificate.gap * max(1, abs(certificate.primal)) / float(program.beta)
        assert decay - slack - 1e-12 <= got <= decay * (1 + 1e-12)
        assert len(first) <= np.linalg.matrix_rank(np.maximum(X @ first.T, 0))
        assert len(first) <= len(y)
        objective = float(program.loss.value(fit, y)) + float(program.beta) * got
        assert objective >= certificate.dual - 1e-12


def test_minimal_is_one_neuron_where_all_lie_on_one_ray_of_a_kink():
    """x^T u = 0 up to rounding of either sign: the patterns differ, the rays do not."""
    X, _ = instances.draw_data(8, 2)
    ray = np.array([-X[3, 1], X[3, 0]])
    rng = np.random.default_rng(6)
    u, a = rng.random((20, 1)) * ray, rng.random(20)
    assert len({tuple(row) for row in (u @ X.T >= 0).tolist()}) == 2
    small = recovery.minimal(recovery.two_layer_variables(u, a), X)
    first, second = recovery.two_layer_neurons(small)
    assert len(first) == 1
    fit = relu_network(u, a, X)
    assert_allclose(relu_network(first, second, X), fit, atol=1e-12)
    want = np.sum(np.linalg.norm(a[:, None] * u, axis=1))
    assert_allclose(half_squares(first, second), want, rtol=1e-12)


def test_no_neurons():
    X, _ = instances.draw_data(8, 2)
    u, a = np.zeros((0, 2)), np.zeros(0)
    for first, second in (
        recovery.neurons(np.zeros((2, 3, 2))),
        recovery.split(u, a, np.array([0.5, 0.5])),
        recovery.merge(u, a, X),
        recovery.prune(u, a, X),
    ):
        assert first.shape == (0, 2) and second.shape == (0,)
    variables = recovery.minimal(recovery.two_layer_variables(u, a), X)
    z = cj.networks.TwoLayer(None).apply(variables, X)
    assert_allclose(z, np.zeros(8))


@pytest.mark.parametrize("step", [recovery.merge, recovery.prune])
def test_only_dead_neurons(step):
    X = np.abs(instances.draw_data(8, 2)[0])
    u, a = np.array([[-1.0, -1.0], [1.0, 1.0], [0.0, 0.0]]), np.array([1.0, 0.0, 1.0])
    first, second = step(u, a, X)
    assert first.shape == (0, 2) and second.shape == (0,)
