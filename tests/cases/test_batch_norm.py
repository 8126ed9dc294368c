"""Normalised programs whose recovered network was another one, or lost a direction."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj


def solved(X, y, beta=0.05, **options):
    """The program, its solution, and by how much the network predicts otherwise."""
    program = cj.programs.make_batch_norm(X, y, beta=beta, **options)
    solution = cj.solve(program)
    variables = program.recover(solution.params)
    z = program.network().apply(variables, program.inputs)
    return program, solution, np.max(np.abs(z - program.forward(solution.params)))


def test_a_timestamp_beside_a_feature():
    """CASES 1.2: 7.57 was called optimal; the feature alone has 0.4843."""
    rng = np.random.default_rng(0)
    times = 1.7e18 + np.sort(rng.uniform(0, 8.6e13, 12))
    x = rng.standard_normal(12)
    X, y = np.column_stack([times, x]), 3 * np.maximum(x, 0)
    program, solution, off = solved(X, y)
    assert program.X.shape == (12, 3) and off <= 1e-9
    certificate = cj.certify(program, solution.check())
    assert certificate.scope is cj.Scope.EXHAUSTIVE
    assert certificate.gap <= 1e-7 and certificate.primal <= 0.4843131
    with pytest.raises(ValueError, match="float32 tells apart .* or use float64"):
        cj.programs.make_batch_norm(X.astype("f4"), y.astype("f4"), beta=0.05)


def test_a_sum_of_columns_in_float32():
    """CASES 1.2: rank 3 with weights of 5e6, predictions off by 0.18."""
    rng = np.random.default_rng(1)
    ab, y = rng.standard_normal((6, 2)), rng.standard_normal(6)
    X = np.column_stack([ab, ab.sum(axis=1)]).astype("f4")
    program, solution, off = solved(X, y.astype("f4"))
    assert program.X.shape == (6, 3) and off <= 1e-5
    assert program.scope is cj.Scope.SAMPLED  # a direction is lost in float32


@pytest.mark.parametrize("size", [1e-12, 1e-7, 1.0, 1e12])
def test_small_data_after_the_relu(size):
    """CASES 1.11: data of 1e-7 predicted otherwise than their program, by 0.88."""
    rng = np.random.default_rng(8)
    X, y = rng.standard_normal((6, 2)) * size, rng.standard_normal(6)
    options = {"order": "after", "centre": False, "shift": False}
    _, solution, off = solved(X, y, 0.01, **options)
    assert off <= 1e-9
    assert_allclose(solution.objective, 0.234084, rtol=1e-5)


@pytest.mark.parametrize("order", ["before", "after"])
@pytest.mark.parametrize("noise", [1e-6, 1e-7])
def test_nearly_dependent_columns(order, noise):
    """CASES 1.11: 5 and 13 networks of 25 were others."""
    rng = np.random.default_rng(2)
    a, b, y = rng.standard_normal((3, 6))
    X = np.column_stack([a, a + noise * b])
    _, solution, off = solved(X, y, order=order)
    assert off <= 1e-7
    plain = solved(np.column_stack([a, b]), y, order=order)[1]
    if order == "before":  # the same directions, so the same networks
        assert_allclose(solution.objective, plain.objective, rtol=1e-6)


def test_several_outputs_of_small_data():
    """CASES 1.11: off by 1.66."""
    rng = np.random.default_rng(3)
    X, Y = rng.standard_normal((2, 6, 2))
    sizes = [solved(X * size, Y) for size in (1e-7, 1.0)]
    assert max(off for *_, off in sizes) <= 1e-9
    small, plain = (solution.objective for _, solution, _ in sizes)
    assert_allclose(small, plain, rtol=1e-5)


def test_dates_and_ones_after_the_relu():
    days = np.arange(5.0)
    X = np.column_stack([20240101 + days, np.ones(5)])
    program, _, off = solved(X, np.sin(days), order="after")
    assert program.scope is cj.Scope.EXHAUSTIVE and off <= 1e-6


def test_constant_and_zero_data():
    """CASES 2.8: "zero-size array", "argmax of an empty sequence"."""
    for options in ({}, {"order": "after"}):
        for X in ([[1.0], [1.0]], np.zeros((2, 2))):
            program, solution, off = solved(X, [1.0, 2.0], 0.1, **options)
            assert off <= 1e-9
            assert_allclose(solution.objective, 0.457132, rtol=1e-5)
        with pytest.raises(ValueError, match="want X that is not constant, or shift"):
            solved(np.zeros((2, 2)), [1.0, 2.0], shift=False, **options)
