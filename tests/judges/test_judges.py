"""Prices that nearly cancel, against the two rays of every cell in rational numbers."""

from fractions import Fraction

import numpy as np
import pytest

import cvxjax as cj
from tests import instances


def highest_price(X, v, masks):
    """max {v^T F w : ||w|| <= 1, A w >= 0} over both signs and all cells, d = 2."""
    X = [[Fraction(x) for x in row] for row in X]
    v = [Fraction(x) for x in v]
    highest = 0.0
    for mask in masks:
        signs = [1 if active else -1 for active in mask]
        inside = [[s * x for x in row] for s, row in zip(signs, X, strict=True)]
        rays = [(f * row[1], -f * row[0]) for row in inside for f in (1, -1)]
        q = [
            sum(vi * row[j] for vi, row, on in zip(v, X, mask, strict=True) if on)
            for j in range(2)
        ]
        for pull in (q, [-x for x in q]):
            for ray in [*rays, tuple(pull)]:
                if not any(ray) or any(a * ray[0] + b * ray[1] < 0 for a, b in inside):
                    continue
                inner = pull[0] * ray[0] + pull[1] * ray[1]
                size = np.hypot(*[float(x / max(map(abs, ray))) for x in ray])
                highest = max(highest, float(inner / max(map(abs, ray))) / size)
    return highest


@pytest.mark.parametrize("offset", [0.0, 1e3, 1e5, 20240101.0])
def test_prices_that_nearly_cancel_are_exact(offset):
    """Their rounding is 1e-8 to 1e3 times the price, and is no part of the bound."""
    X = np.column_stack([offset + np.arange(6.0), np.ones(6)])
    y = np.abs(np.arange(6.0) - 2.5)
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, y, patterns, beta=1e-5)
    v = np.asarray(cj.solve(program).dual)
    highest = highest_price(X.tolist(), v.tolist(), np.asarray(patterns.masks))
    found = program.judge().polar_bound(v, None)
    assert highest <= found * (1 + 1e-15)
    assert found == pytest.approx(highest, rel=1e-9)


def test_gated_prices_that_nearly_cancel_are_exact():
    """(3, -4, 1) takes the offset 1e9 out of a column of 0, 1 and 2."""
    X = np.column_stack([1e9 + np.arange(6.0), np.ones(6)])
    everywhere = cj.arrangements.from_gates(X, np.array([[0.0, 1.0]]))
    program = cj.programs.make_two_layer(
        X, np.ones(6), everywhere, beta=1.0, gated=True
    )
    v = np.array([3.0, -4.0, 1.0, 0.0, 0.0, 0.0])
    assert program.judge().polar_bound(v, None) == pytest.approx(2, rel=1e-13)


def test_matrices_with_negative_eigenvalues_are_outside():
    program = instances.program_of("polynomial/quadratic")
    judge, params = program.judge(), np.zeros(program.shape)
    params[0, 0] = np.diag([1.0, -0.5, 0.0])
    assert judge.violation(params) == 0.5
    assert judge.violation(judge.repair(params, keep_predictions=False)) == 0
