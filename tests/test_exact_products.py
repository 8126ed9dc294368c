"""Products in twice the precision, against rational numbers."""

from fractions import Fraction

import numpy as np

from cvxjax.exact_products import product


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
