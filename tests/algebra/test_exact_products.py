"""Products in twice the precision, sums rounded once, against rational numbers."""

from fractions import Fraction

import numpy as np

from cvxjax.algebra.exact_products import combination, product


def test_products_keep_digits_that_cancel():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((4, 3))
    A[:, 2] = -A[:, 0]
    W = rng.standard_normal((3, 2)) * 1e6
    W[2] = W[0] * (1 + 1e-15)
    high, low = product(A, np.zeros(A.shape), W)
    again, rest = product(high, low, np.eye(2))
    np.testing.assert_array_equal(again, high)
    np.testing.assert_array_equal(rest, low)
    for i in range(4):
        for j in range(2):
            terms = [Fraction(A[i, k]) * Fraction(W[k, j]) for k in range(3)]
            error = Fraction(high[i, j]) + Fraction(low[i, j]) - sum(terms)
            assert abs(error) <= 1e-30 * float(sum(map(abs, terms)))


def test_combinations_are_rounded_once():
    """Columns of any size; sums that are 1e-20 of their terms."""
    rng = np.random.default_rng(1)
    rows = rng.standard_normal((40, 4)) * [1.0, 1e200, 1e-200, 1e6] + [0, 0, 0, 1e9]
    rows[20:] = rows[:20] * (1 + 1e-15)
    weights = rng.standard_normal(40) * 1e8
    weights[20:] = -weights[:20]
    found = combination(weights, rows)
    for column, value in zip(rows.T, found, strict=True):
        exact = sum(
            Fraction(w) * Fraction(x) for w, x in zip(weights, column, strict=True)
        )
        assert value == float(exact)

    weights[0] = np.inf
    assert np.all(np.isnan(combination(weights, rows)))
