from __future__ import annotations

import dataclasses

import numpy as np
import pytest

import cvxjax as cj
from experiments import ecg_prediction as experiment
from experiments._frame.record import Verdict
from experiments._parts.forecast import Split, make_split, nrmse

CONFIG = experiment.Config.smoke()


@pytest.fixture(scope="module")
def split() -> Split:
    signal = experiment.load(CONFIG, "pywavelets")
    return make_split(signal, 4, 0.7)


def test_split_whitens_the_training_windows_and_follows_in_time(split):
    n = int(0.7 * 196)
    assert split.X.shape == (n, 5)
    assert split.X_held.shape == (196 - n, 5)
    np.testing.assert_allclose(np.cov(split.X[:, :-1].T), np.eye(4), atol=1e-9)
    for X in (split.X, split.X_held):
        np.testing.assert_array_equal(X[:, -1], 1)


def test_whitening_changes_no_linear_prediction(split):
    signal = experiment.load(CONFIG, "pywavelets")
    windows, y = cj.data.signals.hankel_windows(signal, 4)
    assert windows.shape == (196, 4)
    n = len(split.y)
    raw = np.column_stack([windows, np.ones(len(y))])
    prediction = raw @ np.linalg.lstsq(raw[:n], y[:n], rcond=None)[0]
    expected = nrmse(prediction[n:], y[n:])
    found = split.errors(lambda X: X @ split.linear)[1]
    assert found == pytest.approx(expected, rel=1e-8)


def test_nrmse_of_perfection_and_of_the_mean():
    y = np.array([1.0, 2.0, 6.0])
    assert nrmse(y, y) == 0
    assert nrmse(np.full(3, 3.0), y) == pytest.approx(1)


def test_the_network_is_bounded_and_recovered(arrays):
    objective = arrays["pywavelets_objective"]
    assert arrays["pywavelets_bound"] <= objective
    assert arrays["pywavelets_network_objective"] == pytest.approx(objective, rel=1e-8)
    assert arrays["pywavelets_progress"][-1, 1] == pytest.approx(objective, rel=1e-9)
    predicted = nrmse(
        arrays["pywavelets_convex_prediction"], arrays["pywavelets_y_test"]
    )
    assert arrays["pywavelets_convex_held"] == pytest.approx(predicted)


def test_every_local_search_has_its_runs(arrays):
    settings = len(CONFIG.widths) * len(CONFIG.rates)
    assert arrays["pywavelets_adam_last"].shape == (settings, CONFIG.num_seeds)
    for kind in ("adam", "lbfgs", "sgd"):
        curves = arrays[f"pywavelets_{kind}_curves"]
        assert curves.shape == arrays[f"pywavelets_{kind}_times"].shape
        best = np.min(arrays[f"pywavelets_{kind}_last"])
        assert np.min(curves[:, -1]) == pytest.approx(best)
        assert len(arrays[f"pywavelets_{kind}_held"]) == CONFIG.num_seeds
    assert arrays["pywavelets_own_beta"] in CONFIG.betas


def test_claims_weigh_every_run(arrays):
    held = {"linear": 0.2, "convex": 0.1, "adam": [0.2, np.nan], "lbfgs": [0.3]}
    held |= {"sgd": [0.2, 0.2]}
    made = arrays | {
        f"pywavelets_{name}_held": np.asarray(value) for name, value in held.items()
    }
    for own, verdict in (
        ([0.13, np.nan], Verdict.REPRODUCED),
        ([0.09, 0.2, 0.2], Verdict.CORRECTED),
        ([0.09, 0.09, 0.2], Verdict.NOT_REPRODUCED),
    ):
        made["pywavelets_own_held"] = np.asarray(own)
        assert experiment.claims(made)[1].verdict is verdict
    assert experiment.claims(made)[0].verdict is Verdict.REPRODUCED


def test_a_run_below_the_convex_network_is_said(arrays):
    made = arrays | {"pywavelets_lbfgs_last": np.zeros((1, 2))}
    claim = experiment.claims(made)[2]
    assert claim.verdict is Verdict.NOT_REPRODUCED
    assert "against 0, the lowest of" in claim.measured


def test_both_recordings_are_drawn_and_the_worse_one_decides(arrays):
    other = {
        f"mitbih_{name.removeprefix('pywavelets_')}": value
        for name, value in arrays.items()
        if name.startswith("pywavelets_")
    }
    made = arrays | other | {"recordings": np.asarray(["pywavelets", "mitbih"])}
    assert len(experiment.plot(made).axes) == 8
    made |= {"pywavelets_convex_held": 0.0, "mitbih_convex_held": 9.0}
    claim = experiment.claims(made)[0]
    assert claim.verdict is Verdict.NOT_REPRODUCED and "record 208" in claim.measured


def test_plot_has_a_row_for_a_beta_of_its_own(arrays):
    made, rows = dict(arrays), []
    for factor in (1, 2):
        made["pywavelets_own_beta"] = factor * made["pywavelets_beta"]
        rows.append(len(experiment.plot(made).axes[1].get_yticks()))
    assert rows == [5, 6]


def test_stretch_of_the_signal():
    config = dataclasses.replace(experiment.Config(), first_sample=1000, num_samples=10)
    whole = cj.data.signals.pywavelets_ecg()
    np.testing.assert_array_equal(
        experiment.load(config, "pywavelets"), whole[1000:1010]
    )
