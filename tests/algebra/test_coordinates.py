"""Coordinates of orthonormal columns, against exact rational arithmetic."""

from fractions import Fraction

import numpy as np
import pytest

from cvxjax.algebra.coordinates import orthonormal


def years(offset: float) -> np.ndarray:
    """A column that begins at `offset`, beside one of ones."""
    return np.column_stack([offset + np.arange(12.0), np.ones(12)])


def exact_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """a @ b of the numbers as they are stored, rounded once."""
    rows = [[Fraction(x) for x in row] for row in a.tolist()]
    columns = [[Fraction(x) for x in column] for column in b.T.tolist()]
    dot = lambda r, c: float(sum(x * y for x, y in zip(r, c, strict=True)))  # noqa: E731
    return np.array([[dot(r, c) for c in columns] for r in rows])


@pytest.mark.parametrize("offset", [0.0, 2024.0, 20240101.0, 1e9])
def test_a_small_variation_on_a_large_offset_keeps_its_digits(offset):
    X = years(offset)
    found = orthonormal(X)
    assert np.abs(found.Q.T @ found.Q - np.eye(2)).max() <= 1e-14
    # S is stored in float64, which leaves eps times the largest entry.
    assert np.abs(exact_product(found.Q, found.S) - X).max() <= 1e-15 * X.max()
    slope = found.Q @ found.S @ np.array([1.0, -offset])
    assert np.abs(slope - np.arange(12.0)).max() <= 1e-15 * max(offset, 10)


def test_units_of_columns_do_not_matter():
    X = np.random.default_rng(0).standard_normal((9, 3))
    units = np.array([1e12, 1.0, 1e-12])
    plain, scaled = orthonormal(X), orthonormal(X * units)
    np.testing.assert_allclose(scaled.Q, plain.Q, atol=1e-13)
    np.testing.assert_allclose(scaled.S / units, plain.S, atol=1e-13)
    np.testing.assert_allclose(scaled.T * units[:, None], plain.T, atol=1e-13)
    assert plain.distortion < 10 and scaled.distortion > 1e20


def test_dependent_columns_are_dropped_and_the_inverse_is_the_shortest():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((8, 2)) @ rng.standard_normal((2, 4))
    X = np.column_stack([X, np.zeros(8)])
    found = orthonormal(X)
    assert found.Q.shape == (8, 2)
    np.testing.assert_allclose(found.Q @ found.S, X, atol=1e-14)
    np.testing.assert_allclose(found.T, np.linalg.pinv(found.S), atol=1e-14)


def test_a_zero_matrix_has_no_coordinates():
    assert orthonormal(np.zeros((4, 3))).S.shape == (0, 3)
