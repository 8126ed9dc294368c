"""The decision of rank, and coordinates without units and offsets."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cvxjax.algebra.row_space import coordinates, left_out, rank_of, row_space

RNG = np.random.default_rng(0)
A = RNG.standard_normal((8, 3))
T = np.arange(8.0)
RANKS = {
    "plain": (A, 3),
    "an offset of 1e13 beside ones": (np.column_stack([1e13 + T, T**0]), 2),
    "units": (A * [1e12, 1, 1e-12], 3),
    "one huge row": (np.vstack([[1e20, 1, 1], A]), 3),
    "one huge entry": (np.array([[1e16, 0], [-1, 1]]), 2),
    "one tiny entry": (np.vstack([[5e-324, 1, 1], A]), 3),
    "rows of any size": (A * 10.0 ** RNG.integers(-9, 10, (8, 1)), 3),
    "near the largest float": (A * 1e300, 3),
    "below the least normal float": (np.array([[5e-324, 0], [0, 1.0]]), 2),
    "a sum of columns": (np.column_stack([A, A.sum(axis=1)]), 3),
    "repeated": (np.column_stack([A, A]), 3),
    "wide": (A.T, 3),
    "zero": (np.zeros((3, 2)), 0),
    "float32 noise, which is exact": (
        np.column_stack([A[:, :2], A[:, 0] + A[:, 1]]).astype(np.float32),
        3,
    ),
}


@pytest.mark.parametrize("name", RANKS)
def test_rank_and_coordinates(name):
    X, rank = RANKS[name]
    space = coordinates(X)
    assert rank_of(X) == space.rank == rank == row_space(X).shape[1]
    assert space.change.shape == (X.shape[1], rank)
    assert space.null.shape == (X.shape[1], X.shape[1] - rank)
    assert 1 <= space.condition < 10
    with np.errstate(under="ignore"):
        products = np.float64(X) @ space.change
        sizes = np.abs(np.float64(X)) @ np.abs(space.change)
        want = np.ldexp(space.rows, space.exponents[:, None])
    assert np.all(np.abs(products - want) <= 1e-14 * sizes)
    size = np.max(np.abs(X), initial=0)
    assert np.all(np.abs(X @ space.null) <= 1e-13 * size)


def test_coordinates_of_offsets_are_right_to_the_last_digits():
    """Against the exact differences of the years."""
    X = np.column_stack([20240101 + T, T**0])
    space = coordinates(X)
    rows = np.ldexp(space.rows, space.exponents[:, None])
    steps = np.diff(rows, axis=0)
    assert_allclose(steps, np.broadcast_to(steps[:1], steps.shape), rtol=0, atol=1e-14)


def test_what_is_left_out_bounds_the_rest():
    X = np.column_stack([A, A.sum(axis=1)])  # the last column is rounded
    basis = row_space(X)
    assert_allclose(basis.T @ basis, np.eye(3), atol=1e-14)
    rest = X - (X @ basis) @ basis.T
    bound = left_out(X, basis)
    assert np.all(np.linalg.norm(rest, axis=1) <= bound)
    assert np.all(bound <= 1e-13 * np.linalg.norm(X, axis=1))
    assert np.all(left_out(A, row_space(A)) == 0)
