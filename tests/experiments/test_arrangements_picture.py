"""The picture of four patterns: values by CVXPY, its network, its verdicts."""

from __future__ import annotations

import numpy as np
import pytest

import cvxjax as cj
from experiments import arrangements_picture as experiment
from experiments._frame.record import Verdict
from tests import references

CONFIG = experiment.Config.smoke()


def test_values_with_and_without_rows(arrays):
    patterns = cj.arrangements.enumerate_patterns(experiment.POINTS)
    programs = experiment.make_programs(patterns, CONFIG.beta)
    exact, printed, gated = arrays["values"]
    want = references.two_layer_optimum(programs["all rows"])
    assert exact == pytest.approx(want, rel=1e-6)
    assert gated == pytest.approx(
        references.two_layer_optimum(programs["no rows"]), rel=1e-6
    )
    assert gated - 1e-9 <= printed < 0.95 * exact
    assert arrays["gaps"].max() <= 1e-7
    assert np.all(arrays["searches"] >= exact * (1 - 1e-8))


def test_the_network_has_the_programs_value(arrays):
    u, a = arrays["neurons"], arrays["outputs"]
    fit = references.relu_network(u, a, experiment.POINTS)
    value = np.sum((fit - experiment.LABELS) ** 2) / 2
    value += CONFIG.beta * references.half_squares(u, a)
    assert value == pytest.approx(arrays["values"][0], rel=1e-6)
    assert len(a) <= 3


def test_verdicts_follow_the_numbers(arrays):
    good = arrays | {"searches": arrays["values"][:1]}
    verdicts = [claim.verdict for claim in experiment.claims(good)]
    assert verdicts == [Verdict.REPRODUCED, Verdict.CORRECTED, Verdict.REPRODUCED]
    fewer = good | {"masks": arrays["masks"][:3]}
    assert experiment.claims(fewer)[0].verdict is Verdict.NOT_REPRODUCED


def test_figure_has_a_panel_for_each_pattern(arrays):
    figure = experiment.plot(arrays)
    titles = [axis.get_title() for axis in figure.axes]
    assert titles == [
        "D1 = diag(1, 1, 1)",
        "D2 = diag(1, 1, 0)",
        "D3 = diag(0, 0, 1)",
        "D4 = diag(0, 0, 0)",
        "Optimal values",
    ]
    below = figure.axes[1].get_xlabel()
    assert "2 u1 + 2 u2 >= 0" in below and "u1 <= 0" in below
