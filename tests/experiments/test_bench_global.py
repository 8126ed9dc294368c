from __future__ import annotations

import numpy as np
import pytest

from experiments import bench_global as experiment
from experiments._frame.record import Verdict

CONFIG = experiment.Config.smoke()


def rows(**changes):
    """Two problems: one far below the best local run, one at it."""
    progress = np.full((2, 3, 2), np.nan)
    progress[:, 0], progress[:, 1] = (0.1, 9.0), (1.0, 2.0)
    return {
        "fraction": np.asarray([0.1, 0.03]),
        "objective": np.asarray([2.0, 2.0]),
        "adam": np.asarray([[[2.5, 2.2]], [[2.0, 3.0]]]),
        "adam_seconds": np.asarray([[1.0], [0.25]]),
        "sgd": np.asarray([[[np.nan, 2.4]], [[2.1, 2.1]]]),
        "lbfgs": np.asarray([[2.1], [2.1]]),
        "progress": progress,
        "gap": np.asarray([1e-4, 1e-1]),
    } | changes


def test_a_run_compares_a_solve_with_every_local_search(arrays):
    assert arrays["adam"].shape == (1, 1, CONFIG.num_seeds)
    assert arrays["lbfgs"].shape == (1, CONFIG.num_seeds)
    assert experiment.differences(arrays)[0] <= 1e-4
    assert 0 < arrays["gap"][0] < 1
    assert np.isfinite(experiment.times_to_adam(arrays)[0])
    seconds, values = arrays["progress"][0].T
    known = np.isfinite(seconds)
    assert np.all(np.diff(seconds[known]) >= 0)
    assert np.nanmin(values) == pytest.approx(arrays["objective"][0], rel=1e-6)
    experiment.plot(arrays)


def test_scores():
    np.testing.assert_allclose(experiment.differences(rows()), [2.0 / 2.1 - 1, 0])
    np.testing.assert_allclose(experiment.times_to_adam(rows()), [1.0, 4.0])


def test_verdicts():
    first, second, third = experiment.claims(rows())
    assert first.verdict is Verdict.REPRODUCED
    assert "above on 0, below on 1" in first.measured
    assert second.verdict is Verdict.NOT_REPRODUCED
    assert "below 1e-3 on 1 of 2" in third.measured
    assert third.verdict is Verdict.NOT_REPRODUCED
    near = experiment.claims(rows(gap=np.asarray([1e-2, 8e-2])))[2]
    assert near.verdict is Verdict.REPRODUCED
    above = experiment.claims(rows(objective=np.asarray([2.2, 2.0])))[0]
    assert above.verdict is Verdict.NOT_REPRODUCED
