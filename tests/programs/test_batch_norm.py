"""Normalised networks on data: closed form, new data, statistics, elimination."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import linprog

import cvxjax as cj
from cvxjax.algebra import elimination
from tests import vector_references as vectors

X, Y = np.random.default_rng(8).standard_normal((2, 7, 2))
Y = Y[:, 0]
VARIANTS = [(o, c, s) for o in ("before", "after") for c in (0, 1) for s in (0, 1)]


def make(X=X, y=Y, beta=0.1, **options):
    return cj.programs.make_batch_norm(X, y, beta=beta, **options)


@pytest.mark.parametrize("order, centre, shift", VARIANTS)
def test_stored_statistics_are_those_of_training(order, centre, shift):
    """On the training data the statistics at hand give the same; new data are one by
    one, whatever is beside them."""
    program = make(order=order, centre=bool(centre), shift=bool(shift))
    solution = cj.solve(program).check()
    variables = program.recover(solution.params)
    network = program.network()
    z = np.asarray(network.apply(variables, X))
    assert_allclose(z, program.forward(solution.params), atol=1e-9)
    at_hand = network.clone(batch=True).apply({"params": variables["params"]}, X)
    assert_allclose(at_hand, z, atol=1e-9)
    new = np.random.default_rng(9).standard_normal((5, 2))
    together = np.asarray(network.apply(variables, new))
    alone = [float(network.apply(variables, row[None])[0]) for row in new]
    assert np.all(np.isfinite(together))
    assert_allclose(together, alone, atol=1e-12)


def test_scale_of_the_first_layer_does_not_matter():
    network = cj.networks.BatchNorm(num_neurons=4, batch=True)
    variables = network.init(jax.random.key(0), X)
    assert set(variables) == {"params"}
    params = variables["params"]
    scaled = params | {"first": jax.tree.map(lambda u: 7 * u, params["first"])}
    z = network.apply({"params": params}, X)
    assert_allclose(network.apply({"params": scaled}, X), z, atol=1e-12)
    assert_allclose(network.penalty(scaled), network.penalty(params))


def test_high_dimensional_closed_form():
    """C X of rank n - 1: two soft thresholds; published value 0.285780's formula."""
    rng = np.random.default_rng(10)
    data, y = rng.standard_normal((5, 6)), rng.standard_normal(5)
    for beta in (0.1, 0.5, 10.0):
        program = make(data, y, beta=beta)
        solution = cj.solve(program).check()
        want = cj.programs.orthogonal_optimum(y, beta=beta)
        assert_allclose(solution.objective, want, rtol=1e-7)
    variables = program.recover(solution.params)
    assert variables["params"]["scale"].shape == (0,)


def test_whitened_columns_are_orthonormal():
    wide = np.column_stack([X, X[:, 0] - X[:, 1]])  # rank 2
    columns = cj.programs.whitened(wide)
    assert columns.shape == (7, 3)
    assert_allclose(columns.T @ columns, np.eye(3), atol=1e-12)
    assert cj.programs.whitened(wide, shift=False).shape == (7, 2)
    patterns = cj.arrangements.enumerate_patterns(columns)
    assert make(wide, patterns=patterns).scope is cj.Scope.EXHAUSTIVE


def test_features_after_are_orthonormal_bases():
    program = make(order="after")
    for features, mask in zip(program.features, program.active, strict=True):
        features, active = np.asarray(features), np.where(mask[:, None], X, 0)
        centred = active - active.mean(axis=0)
        rank = np.linalg.matrix_rank(centred)
        inner = features[:, :rank]
        assert_allclose(inner.T @ inner, np.eye(rank), atol=1e-12)
        assert_allclose(inner @ (inner.T @ centred), centred, atol=1e-12)
        assert np.all(features[:, rank:-1] == 0)
        assert_allclose(features[:, -1], 7**-0.5)


@pytest.mark.parametrize("k", [1, 2])
def test_elimination_is_exact(k):
    """R q >= 0 exactly where a linear program finds z, on random directions."""
    rng = np.random.default_rng(k)
    kept, free = rng.standard_normal((6, 3)), rng.standard_normal((6, k))
    free[0] = 0
    rows = elimination.eliminated(kept, free)
    inside = 0
    for q in rng.standard_normal((300, 3)):
        margin = np.min(rows @ q)
        cost = np.append(np.zeros(k), -1.0)
        matrix = np.hstack([-free, np.ones((6, 1))])
        bounds = [(None, None)] * k + [(None, 1)]
        best = linprog(cost, A_ub=matrix, b_ub=kept @ q, bounds=bounds).x[-1]
        assert (margin >= 0) == (best >= 0)
        inside += margin >= 0
    assert 0 < inside < 300


def one_hot(classes):
    return np.eye(max(classes) + 1)[list(classes)]


@pytest.mark.parametrize("centre, shift", [(True, True), (False, False)])
def test_several_outputs(centre, shift):
    """Against CVXPY; the recovered network's objective and predictions; embedding."""
    outputs = one_hot([0, 1, 1, 0, 2, 2, 1])
    program = make(X, outputs, beta=0.15, centre=centre, shift=shift)
    solution = cj.solve(program).check()
    if not shift:
        assert_allclose(solution.objective, vectors.optimum(program), rtol=1e-5)
    assert cj.certify(program, solution).gap <= 1e-5
    network, variables = program.network(), program.recover(solution.params)
    z = np.asarray(network.apply(variables, X))
    assert_allclose(z, program.forward(solution.params), atol=1e-9)
    decay = float(network.penalty(variables["params"]))
    value = np.sum((z - outputs) ** 2) / 2 + 0.15 * decay
    assert_allclose(value, solution.objective, rtol=1e-9)
    again = program.embed(variables)
    assert_allclose(program.forward(again), z, atol=1e-9)
    assert_allclose(program.penalty(again), decay, rtol=1e-9)
    new = np.random.default_rng(9).standard_normal((5, 2))
    assert network.apply(variables, new).shape == (5, 3)
    fresh = network.clone(num_neurons=4, batch=True)
    shapes = jax.tree.map(np.shape, fresh.init(jax.random.key(0), X))["params"]
    assert shapes["second"]["kernel"] == (4, 3)


def test_several_outputs_in_high_dimensions():
    data = np.random.default_rng(10).standard_normal((5, 6))
    outputs = one_hot([0, 1, 1, 0, 1])
    solution = cj.solve(make(data, outputs, beta=0.4)).check()
    want = cj.programs.whitened_optimum(outputs, beta=0.4)
    assert_allclose(solution.objective, want, rtol=1e-5)


def test_leading_directions_alone():
    """Truncated to rank 1: the optimum of that column, no lower than that of both."""
    program = make(rank=1)
    columns = cj.programs.whitened(X, rank=1)
    assert columns.shape == (7, 2)
    assert_allclose(columns, cj.programs.whitened(X)[:, [0, 2]])
    patterns = cj.arrangements.enumerate_patterns(columns)
    plain = cj.solve(cj.programs.make_two_layer(columns, Y, patterns, beta=0.1))
    solution = cj.solve(program).check()
    assert_allclose(solution.objective, plain.objective, rtol=1e-7)
    assert solution.objective >= cj.solve(make()).objective
    variables = program.recover(solution.params)
    z = program.network().apply(variables, X)
    assert_allclose(z, program.forward(solution.params), atol=1e-9)
    for options in ({"order": "after", "rank": 1}, {"rank": 0}):
        with pytest.raises(ValueError, match="rank"):
            make(**options)


def test_refusals():
    with pytest.raises(ValueError, match="want order, one of before, after"):
        make(order="between")
    with pytest.raises(ValueError, match="want a finite beta > 0"):
        make(beta=-1)
    with pytest.raises(ValueError, match="normalised X is zero"):
        make(np.ones((7, 2)), shift=False)
    with pytest.raises(ValueError, match="want patterns, since there may be"):
        large = np.random.default_rng(0).standard_normal((60, 5))
        make(large, np.ones(60), order="after")
    with pytest.raises(ValueError, match="want params"):
        make(order="after").recover(np.zeros((2, 1, 1)))
