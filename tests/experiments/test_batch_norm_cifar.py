"""Batch normalisation on images: closed form, truncation, order of learning."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from experiments import batch_norm_cifar as experiment
from experiments._frame.record import Verdict

CONFIG = experiment.Config.smoke()


def test_the_last_program_has_the_closed_form(arrays):
    assert arrays["ranks"].tolist() == [2, 11]
    np.testing.assert_allclose(arrays["optimum"][-1], arrays["closed_form"], rtol=1e-3)
    np.testing.assert_allclose(arrays["recovered"], arrays["optimum"], rtol=1e-6)
    assert np.all(arrays["objective"] >= arrays["closed_form"])
    assert arrays["gap"].max() <= 1e-3
    assert np.all(np.diff(arrays["values"]) <= 0)


def test_too_many_images_are_refused():
    config = dataclasses.replace(CONFIG, num_train=80)
    with pytest.raises(ValueError, match="want images whose centred rank is 79"):
        experiment.run(config)


def test_verdicts_follow_the_numbers(arrays):
    count = arrays["residuals"].shape[1]
    steps = np.arange(count + 1)
    ordered = (np.arange(count)[None] >= steps[:, None]) + 0.1
    first = arrays | {"residuals": ordered, "steps": steps}
    np.testing.assert_array_equal(experiment.learned_at(first), np.arange(1, count + 1))
    last = arrays | {"residuals": ordered[:, ::-1], "steps": steps}
    verdicts = [experiment.claims(x)[-1].verdict for x in (first, last)]
    assert verdicts == [Verdict.REPRODUCED, Verdict.NOT_REPRODUCED]
    below = arrays | {"objective": 0.9 * arrays["closed_form"] * np.ones((1, 2))}
    assert experiment.claims(below)[1].verdict is Verdict.NOT_REPRODUCED
    never = arrays | {"residuals": np.ones((2, count)), "steps": np.arange(2)}
    assert np.all(np.isinf(experiment.learned_at(never)))
