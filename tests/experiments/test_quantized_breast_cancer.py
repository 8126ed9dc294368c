"""Networks of signs on breast cancer tables: splits, the bound, verdicts."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest

from cvxjax.data import download
from cvxjax.recovery.signs import GROTHENDIECK
from experiments import quantized_breast_cancer as experiment
from experiments._frame.record import Verdict
from experiments._quantized import planted_signs

CONFIG = experiment.Config.smoke()
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDER = Path(os.environ.get(download.ENVIRONMENT) or SHARED)


@pytest.mark.parametrize("bias", [False, True])
def test_training_rows_alone_set_the_scale(bias):
    config = dataclasses.replace(CONFIG, bias=bias)
    X, y = experiment.load(config)
    assert X.shape == (569, 30)
    split = experiment.make_split(config, X, y, 0)
    (Z, labels), (T, others) = split
    assert Z.shape == (455, 9 + bias) and T.shape == (114, 9 + bias)
    np.testing.assert_allclose(Z[:, :9].mean(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(Z[:, :9].T @ Z[:, :9] / len(Z), np.eye(9), atol=1e-12)
    assert sorted([*labels, *others]) == sorted(y)
    again = experiment.make_split(config, np.r_[X, 9 * X][: len(y)], y, 0)
    np.testing.assert_array_equal(split.test[0], again.test[0])


@pytest.mark.skipif(
    not (FOLDER / "uci").is_dir(), reason="no folder with the UCI tables"
)
def test_the_table_of_the_talk():
    config = dataclasses.replace(CONFIG, data="ljubljana", data_dir=str(FOLDER))
    X, y = experiment.load(config)
    split = experiment.make_split(config, X, y, 0)
    assert split.train[0].shape == (228, 9) and split.test[0].shape == (58, 9)
    np.testing.assert_allclose(split.train[0].std(axis=0), 1)


def test_the_bound_is_below_every_network_of_signs(arrays):
    assert arrays["gap"].max() <= 1e-6 and arrays["planted_gap"].max() <= 1e-6
    for name in ("drawn", "refitted", "random", "rounded", "rounded_refitted"):
        assert np.all(arrays[f"{name}_objective"] >= arrays["bound"] * (1 - 1e-9))
    assert np.all(arrays["refitted_objective"] <= arrays["drawn_objective"])
    np.testing.assert_allclose(arrays["drawn_penalty"], GROTHENDIECK * arrays["rho"])
    fraction = arrays["drawn_accuracy"] * (np.asarray([455, 114]))
    np.testing.assert_allclose(fraction, np.round(fraction), atol=1e-9)
    np.testing.assert_allclose(
        arrays["rounded_records"][:, -1], arrays["rounded_accuracy"]
    )


def test_planted_networks_are_seen_as_forms():
    data = planted_signs.make_planted(0, 50, 4, 2)
    (X, y), _ = data
    Z = np.linalg.lstsq((X[:, :, None] * X[:, None]).reshape(50, -1), y)[0]
    error = planted_signs.form_errors(Z.reshape(4, 4), data)
    np.testing.assert_allclose(error, 0, atol=1e-12)
    zero = np.zeros((4, 4))
    np.testing.assert_allclose(planted_signs.form_errors(zero, data), 1)


def test_refits_of_planted_networks_fit_better(arrays):
    drawn, refitted = arrays["planted_drawn"], arrays["planted_refitted"]
    assert np.all(refitted[:, 0, 0] <= drawn[:, 0, 0] + 1e-12)
    assert np.all(np.isnan(refitted[:, 1:])) and not np.any(np.isnan(drawn))


def test_verdicts_follow_the_numbers(arrays):
    widths = arrays["widths"]
    line = np.ones((2, 1, 2)) / np.sqrt(widths)[None, :, None]
    good = arrays | {
        "planted_drawn": line,
        "rounded_accuracy": np.zeros((2, 2)),
        "majority": np.zeros((2, 2)),
        "drawn_seconds": np.full(2, -2.0),
        "refitted_seconds": np.full(2, -1.0),
        "refitted_objective": arrays["bound"],
    }
    assert abs(experiment.exponent(good) + 0.5) < 1e-9
    verdicts = [claim.verdict for claim in experiment.claims(good)]
    assert verdicts == [Verdict.CORRECTED] + 5 * [Verdict.REPRODUCED]
    bad = good | {
        "gap": np.asarray([1e-3]),
        "drawn_penalty": 2 * arrays["rho"],
        "rounded_accuracy": np.ones((2, 2)),
        "drawn_seconds": np.full(2, 1e9),
        "adam": arrays["bound"][:, None] * np.ones((1, arrays["adam"].shape[1])),
        "planted_drawn": line**2,
    }
    assert {claim.verdict for claim in experiment.claims(bad)} == {
        Verdict.NOT_REPRODUCED
    }
    useless = good | {"majority": np.ones((2, 2))}  # as good as the larger class alone
    assert experiment.claims(useless)[3].verdict is Verdict.CORRECTED
    far = arrays | {"adam": 2 * bad["adam"]}
    assert np.all(np.isinf(experiment.seconds_to(far, arrays["bound"])))
    slow = good | {"refitted_seconds": np.full(2, 1e9), "adam": bad["adam"]}
    assert experiment.claims(slow)[4].verdict is Verdict.CORRECTED
