"""The polynomial network: its patches, certificate, the authors' numbers, verdicts."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import pytest

from experiments import polynomial_cnn as experiment
from experiments._frame.record import Verdict
from experiments._polynomial.claims import FAMILIES, REFERENCES

CONFIG = experiment.Config.smoke()

needs_data = pytest.mark.skipif(
    "CVXJAX_DATA" not in os.environ, reason="needs CVXJAX_DATA, a folder of images"
)


def authors(data: Any, num_train: int) -> experiment.Config:
    return experiment.Config(data=data, num_train=num_train, beta=1e-6, repeats=1)


def test_patches_cover_the_digits():
    data = experiment.load(CONFIG)
    patches, labels = data.train
    assert patches.shape == (60, 4, 16) and data.names == ("3", "8")
    assert patches.min() == -0.5 and patches.max() == 0.5 and set(labels) == {0, 1}
    assert len(data.test[1]) + 60 == 183 + 174


@needs_data
@pytest.mark.parametrize(
    ("data", "num_train", "shape"),
    [("fashion_mnist", 12_000, (49, 16)), ("cifar10", 10_000, (64, 48))],
)
def test_patches_have_the_authors_sizes_and_scale(data, num_train, shape):
    found = experiment.load(authors(data, num_train))
    assert found.train[0].shape == (num_train, *shape)
    assert found.test[0].shape == (2_000, *shape)
    assert found.train[0].min() == -128 / 255 and found.train[0].max() == 127 / 255


@needs_data
def test_the_authors_numbers_on_fashion_mnist():
    config = authors("fashion_mnist", 12_000)
    found = experiment._convex(config, experiment.load(config))
    known = REFERENCES["fashion_mnist"]
    assert found["gap"] <= config.tol and found["neurons"] == known.neurons
    np.testing.assert_allclose(found["cost"], known.cost, rtol=1e-4)
    np.testing.assert_allclose(found["accuracy"], known.accuracy, atol=2e-4)


def test_the_optimum_is_certified_and_below_training(arrays):
    assert arrays["gap"] <= CONFIG.tol
    np.testing.assert_allclose(arrays["network"], arrays["objective"], rtol=1e-9)
    assert arrays["every_last"].shape == (4,)
    assert np.min(arrays["every_last"]) >= arrays["bound"]


def test_curves_have_a_point_for_every_record(arrays):
    for network, optimizer in FAMILIES:
        family = f"{network}_{optimizer}"
        assert arrays[f"{family}_objective"].shape == (2, CONFIG.records)
        assert arrays[f"{family}_accuracy"].shape == (2, 2, CONFIG.records)
        assert np.all(np.diff(arrays[f"{family}_seconds"], prepend=0) > 0)


def test_verdicts_follow_the_numbers(arrays):
    verdicts = [claim.verdict for claim in experiment.claims(arrays)]
    assert len(verdicts) == 6 and verdicts[:2] == [Verdict.REPRODUCED] * 2
    loose = arrays | {"gap": np.asarray(0.1)}
    assert experiment.claims(loose)[0].verdict is Verdict.NOT_REPRODUCED
    below = arrays | {"every_last": 0.9 * arrays["bound"][None]}
    assert experiment.claims(below)[1].verdict is Verdict.NOT_REPRODUCED
    for ours, wanted in ((2.0, Verdict.REPRODUCED), (-1.0, Verdict.NOT_REPRODUCED)):
        changed = arrays | {"accuracy": np.asarray([ours, ours])}
        other = experiment.claims(changed | {"data": np.asarray("fashion_mnist")})
        assert [other[k].verdict for k in (2, 3, 5)] == [wanted] * 3
        chosen = experiment.claims(changed)  # settings, by the test accuracy
        assert [chosen[k].verdict for k in (3, 5)] == [Verdict.UNCHECKABLE] * 2
    reached = arrays["polynomial_sgd_objective"] * 0 + arrays["bound"]
    fast = arrays | {
        "polynomial_sgd_objective": reached,
        "seconds": 2 * arrays["polynomial_sgd_seconds"][0],
    }
    assert experiment.claims(fast)[4].verdict is Verdict.NOT_REPRODUCED


def test_reference_numbers_are_compared(arrays):
    known = REFERENCES["cifar10"]
    theirs = arrays | {
        "data": np.asarray("cifar10"),
        "as_authors": np.asarray(True),
        "cost": np.asarray(known.cost),
        "accuracy": np.asarray(known.accuracy),
    }
    assert len(experiment.claims(theirs)) == 8
    assert experiment.claims(theirs)[6].verdict is Verdict.REPRODUCED
    lower = theirs | {"cost": 0.9 * np.asarray(known.cost)}
    assert experiment.claims(lower)[6].verdict is Verdict.NOT_REPRODUCED
