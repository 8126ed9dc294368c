from __future__ import annotations

import numpy as np

from experiments import bench_estimators as experiment
from experiments._frame.record import Verdict


def rows(ours=(0.9, 0.8), seconds=20.0):
    """Two tables and two folds; the others score .85, boosting .87."""
    scores = np.full((2, len(experiment.METHODS), 2), 0.85)
    scores[:, 0] = np.array(ours)[:, None]
    scores[:, experiment.METHODS.index("boosting")] = 0.87
    return {
        "table": np.array(["iris", "friedman1"]),
        "classes": np.array([True, False]),
        "scores": scores,
        "seconds": np.full(scores.shape, seconds),
    }


def test_verdicts():
    scores, time = experiment.claims(rows())
    assert scores.verdict is Verdict.REPRODUCED
    assert "MLP on 1, linear on 1, boosting on 1" in scores.measured
    assert "all three defaults on 1" in scores.measured
    assert time.verdict is Verdict.REPRODUCED
    scores, time = experiment.claims(rows((0.86, 0.86), 61.0))
    assert scores.verdict is Verdict.NOT_REPRODUCED
    assert time.verdict is Verdict.NOT_REPRODUCED


def test_a_picture_of_every_method():
    figure = experiment.plot(rows())
    (axis,) = figure.axes
    assert len(axis.get_legend_handles_labels()[0]) == len(experiment.METHODS)
    names = [text.get_text() for text in axis.get_yticklabels()]
    assert names == ["friedman1 (R²)", "iris"]


def test_methods_are_by_their_defaults():
    for classes in (True, False):
        ours, *others = experiment._methods(0, classes)
        assert ours.get_params() == type(ours)().get_params()
        assert len(others) + 1 == len(experiment.METHODS)
