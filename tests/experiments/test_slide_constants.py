"""The talk's programs beside the exact ones: values by CVXPY, verdicts by numbers."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from experiments import _talk_example
from experiments import slide_constants as experiment
from experiments._record import Verdict
from tests import references

CONFIG = experiment.Config.smoke()


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return experiment.run(CONFIG)


def test_the_talks_example_with_and_without_its_missing_rows(arrays):
    """Printed: D_i X u >= 0 alone; exact: all rows; both by CVXPY."""
    X, y, beta = _talk_example.POINTS, _talk_example.LABELS, CONFIG.beta / 2
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


def test_no_search_is_below_and_gaps_are_certified(arrays):
    assert arrays["found"].shape == (2, CONFIG.starts)
    assert np.all(arrays["found"] >= arrays["exact"][:, None] * (1 - 1e-8))
    assert arrays["gap"].max() <= 1e-8 and arrays["exhaustive"].all()


def test_the_number_of_patterns_attains_the_exact_bound(arrays):
    np.testing.assert_array_equal(arrays["patterns"], [382, 382, 422])


def test_verdicts_follow_the_numbers(arrays):
    exact = arrays["exact"]
    agreeing = arrays | {"found": np.stack([exact, 2 * exact], axis=1)}
    verdicts = [claim.verdict for claim in experiment.claims(agreeing)]
    assert verdicts == [Verdict.REPRODUCED, Verdict.CORRECTED, Verdict.CORRECTED]
    below = agreeing | {"found": np.stack([0.9 * exact, exact], axis=1)}
    assert experiment.claims(below)[0].verdict is Verdict.NOT_REPRODUCED
    right = agreeing | {"printed": exact}
    assert experiment.claims(right)[1].verdict is Verdict.REPRODUCED


def test_figure(arrays):
    figure = experiment.plot(arrays)
    assert len(figure.axes) == 2
    labels = [label.get_text() for label in figure.axes[1].get_yticklabels()]
    assert labels == arrays["names"].tolist()
