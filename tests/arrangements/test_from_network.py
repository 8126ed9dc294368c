"""Cells that a trained network touches, its neurons on kinks."""

import jax
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.arrangements import from_gates, from_network

NEWTON = cj.solvers.SemismoothNewton()
RNG = np.random.default_rng(0)
X = np.column_stack([RNG.standard_normal((14, 2)), np.ones(14)])
Y = np.sin(2 * X[:, 0]) + X[:, 1] ** 2


def assert_strict(X, patterns):
    products = np.asarray(patterns.gates) @ X.T
    np.testing.assert_array_equal(products > 0, patterns.masks)
    assert len(np.unique(patterns.masks, axis=0)) == len(patterns.masks)


@pytest.fixture(scope="module")
def trained():
    """An optimal network of few patterns, most of whose neurons are on kinks."""
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=20)
    program = cj.programs.make_two_layer(X, Y, patterns, beta=0.05)
    solution = cj.solve(program, NEWTON).check()
    variables = program.recover(solution.params)
    kernel = np.asarray(variables["params"]["first"]["kernel"])
    sizes = np.outer(np.linalg.norm(X, axis=1), np.linalg.norm(kernel, axis=0))
    assert np.sum(np.abs(X @ kernel) < 1e-7 * sizes) > 5
    return variables, kernel, float(solution.objective)


@pytest.mark.parametrize("noise", [0, 1e-9])
def test_the_optimum_over_its_cells_is_no_worse(trained, noise):
    """CASES 2.4: cells 1e-9 thin, on which solvers end after a step."""
    variables, kernel, value = trained
    noisy = kernel * (1 + noise * RNG.standard_normal(kernel.shape))
    patterns = from_network(X, noisy)
    assert_strict(X, patterns)
    assert patterns.scope is cj.Scope.SAMPLED
    if noise == 0:
        again = from_network(X, variables)
        np.testing.assert_array_equal(again.masks, patterns.masks)
    program = cj.programs.make_two_layer(X, Y, patterns, beta=0.05)
    assert len(program.masks) == len(patterns.masks)
    assert cj.solve(program, NEWTON).check().objective <= value * (1 + 1e-7)


def test_thin_cells_of_its_gates_have_an_interior(trained):
    kernel = trained[1] * (1 + 1e-9 * RNG.standard_normal(trained[1].shape))
    patterns = from_gates(X, kernel.T)
    program = cj.programs.make_two_layer(X, Y, patterns, beta=0.05)
    signed = np.where(program.masks, 1, -1) * (np.asarray(program.cones.interior) @ X.T)
    assert len(program.masks) == len(patterns.masks) and np.all(signed > 0)


def test_both_sides_of_one_kink_and_all_around_several():
    data = np.array([[1.0, 0, 1], [0, 1, 1], [1, 1, 1], [2, 1, 5]])
    one = from_network(data, np.array([[1.0], [2.0], [-1.0]]))  # on row 0
    assert sorted(np.asarray(one.masks)[:, 0]) == [False, True]
    assert np.all(np.asarray(one.masks)[:, 1:3])
    ray = np.cross(data[0], data[1])[:, None]
    assert len(from_network(data, ray).masks) == 4
    clear = from_network(data, np.array([[1.0], [1.0], [1.0]]))
    assert np.asarray(clear.masks).tolist() == [[True] * 4]


def test_many_kinks_at_once_are_sampled_from_both_sides():
    data = np.column_stack([RNG.standard_normal((12, 4)), np.zeros(12)])
    data[0] = [0, 0, 0, 0, 1]
    patterns = from_network(data, np.array([[0, 0, 0, 0, 1.0]]).T)
    masks = np.asarray(patterns.masks)[:, 1:]
    assert 20 <= len(masks) <= 256
    assert np.all(np.any(masks, axis=0) & np.any(~masks, axis=0))
    assert_strict(data, patterns)


def test_units_and_offsets_do_not_matter():
    days = np.arange(8.0)
    data = np.column_stack([20240101 + days, np.ones(8)])
    patterns = from_network(data, np.array([[1.0], [-20240103.0]]))  # on day 2
    assert_strict(data, patterns)
    assert len(patterns.masks) == 2


def test_refusals():
    with pytest.raises(ValueError, match=r"want first-layer weights \[3, m\]"):
        from_network(X, np.ones((2, 4)))
    with pytest.raises(ValueError, match="got a dict of"):
        from_network(X, {"gates": 1})
    with pytest.raises(ValueError, match="want a neuron that is active"):
        from_network(X, np.zeros((3, 2)))
    with pytest.raises(ValueError, match="want a finite tol"):
        from_network(X, np.ones((3, 2)), tol=-1)
