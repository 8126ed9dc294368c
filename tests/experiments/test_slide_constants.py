"""The talk's programs beside the exact ones: values by CVXPY, verdicts by numbers."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from experiments import slide_constants as experiment
from experiments._frame.record import Verdict
from experiments._parts import talk_example
from experiments._parts.single_matrix import optimum_without_second
from tests import references

CONFIG = experiment.Config.smoke()


def test_the_talks_example_with_and_without_its_missing_rows(arrays):
    """Printed: D_i X u >= 0 alone; exact: all rows; both by CVXPY."""
    X, y, beta = talk_example.POINTS, talk_example.LABELS, CONFIG.beta / 2
    masks = np.array([[1, 1, 1], [1, 1, 0], [0, 0, 1]], float)
    values = []
    for every in (False, True):
        v, w = (cp.Variable((2, 3)) for _ in range(2))
        fit = cp.sum(cp.multiply(masks.T, X @ (v - w)), axis=1)
        penalty = cp.sum(cp.norm(v, axis=0)) + cp.sum(cp.norm(w, axis=0))
        rows = 2 * masks.T - 1 if every else masks.T
        constraints = [cp.multiply(rows, X @ u) >= 0 for u in (v, w)]
        loss = 0.5 * cp.sum_squares(fit - y)
        objective = cp.Minimize(loss + beta * penalty)
        values.append(references.clarabel(cp.Problem(objective, constraints)))
    place = arrays["names"].tolist().index("ReLU, three points")
    assert arrays["printed"][place] == pytest.approx(values[0], rel=1e-6)
    assert arrays["exact"][place] == pytest.approx(values[1], rel=1e-6)
    assert values[0] < 0.95 * values[1]


def test_the_polynomial_program_with_one_matrix_and_with_two(arrays):
    X, y = experiment._draw(CONFIG, 6, 2)
    a, b, c = 0.09, 0.5, 0.47
    pair = [cp.Variable((3, 3), PSD=True) for _ in range(2)]
    ties = [cp.trace(Z[:2, :2]) == Z[2, 2] for Z in pair]
    values = []
    for first, second in ((pair[0], np.zeros((3, 3))), pair):
        D = first - second
        forms = cp.sum(cp.multiply(X @ D[:2, :2], X), axis=1)
        fit = a * forms + b * X @ D[:2, 2] + c * D[2, 2]
        penalty = CONFIG.beta * (first[2, 2] + second[2, 2])
        objective = cp.Minimize(0.5 * cp.sum_squares(fit - y) + penalty)
        values.append(references.clarabel(cp.Problem(objective, ties)))
    place = arrays["names"].tolist().index("polynomial")
    assert arrays["printed"][place] == pytest.approx(values[0], rel=1e-6)
    assert arrays["exact"][place] == pytest.approx(values[1], rel=1e-7)
    assert values[0] > 1.05 * values[1]


def test_one_matrix_needs_points_enough():
    X, y = experiment._draw(CONFIG, 3, 2)
    with pytest.raises(ValueError, match="determine the sum"):
        optimum_without_second(X, y, beta=0.1, coefficients=(0.09, 0.5, 0.47))


def test_no_search_is_below_and_gaps_are_certified(arrays):
    assert arrays["found"].shape == (3, CONFIG.starts)
    assert np.all(arrays["found"] >= arrays["exact"][:, None] * (1 - 1e-8))
    assert arrays["gap"].max() <= 1e-8 and arrays["exhaustive"].all()


def test_the_number_of_patterns_attains_the_exact_bound(arrays):
    np.testing.assert_array_equal(arrays["patterns"], [382, 382, 422])


def test_verdicts_follow_the_numbers(arrays):
    exact = arrays["exact"]
    agreeing = arrays | {"found": np.stack([exact, 2 * exact], axis=1)}
    verdicts = [claim.verdict for claim in experiment.claims(agreeing)]
    assert verdicts == [Verdict.REPRODUCED] + 3 * [Verdict.CORRECTED]
    below = agreeing | {"found": np.stack([0.9 * exact, exact], axis=1)}
    assert experiment.claims(below)[0].verdict is Verdict.NOT_REPRODUCED
    right = agreeing | {"printed": exact}
    assert experiment.claims(right)[1].verdict is Verdict.REPRODUCED
