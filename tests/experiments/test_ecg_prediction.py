from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

import cvxjax as cj
from experiments import ecg_prediction as experiment
from experiments._frame.record import Verdict
from experiments._parts.forecast import Split, make_split, nrmse


@pytest.fixture(scope="module")
def split() -> Split:
    signal = experiment.load(experiment.Config.smoke())
    return make_split(signal, 4, 0.7)


def test_split_whitens_the_training_windows_and_follows_in_time(split):
    n = int(0.7 * 196)
    assert split.X.shape == (n, 5)
    assert split.X_held.shape == (196 - n, 5)
    np.testing.assert_allclose(np.cov(split.X[:, :-1].T), np.eye(4), atol=1e-9)
    for X in (split.X, split.X_held):
        np.testing.assert_array_equal(X[:, -1], 1)


def test_whitening_changes_no_linear_prediction(split):
    signal = experiment.load(experiment.Config.smoke())
    windows, y = cj.data.signals.hankel_windows(signal, 4)
    assert windows.shape == (196, 4)
    n = len(split.y)
    raw = np.column_stack([windows, np.ones(len(y))])
    prediction = raw @ np.linalg.lstsq(raw[:n], y[:n], rcond=None)[0]
    expected = nrmse(prediction[n:], y[n:])
    found = split.errors(lambda X: X @ split.linear)[1]
    assert found == pytest.approx(expected, rel=1e-8)


def test_every_linear_model_is_among_the_networks(split):
    program = experiment.make_program(split, 1.0, 6, jax.random.key(0))
    masks, gates = np.asarray(program.masks), np.asarray(program.gates)
    assert program.scope is cj.Scope.SAMPLED
    assert masks[0].all()
    np.testing.assert_allclose(gates[1], split.linear)
    for mask in masks[1:]:
        assert np.any(np.all(masks == ~mask, axis=1))


def test_nrmse_of_perfection_and_of_the_mean():
    y = np.array([1.0, 2.0, 6.0])
    assert nrmse(y, y) == 0
    assert nrmse(np.full(3, 3.0), y) == pytest.approx(1)


def test_certificate_and_recovered_network(arrays):
    assert np.all(arrays["gap"] >= 0)
    assert np.all(arrays["gap"] <= 1e-3)
    assert np.all(arrays["dual"] <= arrays["primal"])
    assert np.all(arrays["cone_violation"] <= 1e-12)
    assert np.all(arrays["scope"] == cj.Scope.SAMPLED.value)
    assert np.all(arrays["network_objective"] <= arrays["primal"] * (1 + 1e-8))
    assert np.all(arrays["network_objective"] >= arrays["dual"])
    predicted = nrmse(arrays["convex_prediction"][0], arrays["y_test"])
    assert arrays["convex_held"][0] == pytest.approx(predicted)


def test_sgd_has_the_width_of_the_recovered_network(arrays):
    config = experiment.Config.smoke()
    assert arrays["width"] == arrays["neurons"][0]
    assert arrays["sgd_objective"].shape == (2, len(arrays["sgd_steps"]))
    assert arrays["sgd_beta"] == arrays["beta"]
    assert arrays["own_beta"] in config.betas


def test_claims_weigh_every_draw_against_every_seed(arrays):
    made = dict(arrays)
    made["convex_held"] = np.array([0.1, 0.12])
    made["sgd_held"] = np.array([0.2, 0.3])
    for own, verdict in (
        ([0.13, np.nan], Verdict.REPRODUCED),
        ([0.115, 0.2, 0.2], Verdict.CORRECTED),
        ([0.09, 0.1, 0.2], Verdict.NOT_REPRODUCED),
    ):
        made["own_held"] = np.array(own)
        assert experiment.claims(made)[1].verdict is verdict


def test_sgd_below_a_sampled_optimum_is_said(arrays):
    made = dict(arrays)
    made["sgd_objective"] = np.full_like(made["sgd_objective"], 0.0)
    claim = experiment.claims(made)[2]
    assert claim.verdict is Verdict.NOT_REPRODUCED
    assert claim.measured.count("2 of 2 runs are below") == 1


def test_plot_has_a_row_for_sgds_own_beta(arrays):
    made = dict(arrays)
    made["own_beta"] = made["beta"]
    rows = [len(experiment.plot(made).axes[1].get_yticks())]
    made["own_beta"] = 2 * made["beta"]
    rows.append(len(experiment.plot(made).axes[1].get_yticks()))
    assert rows == [3, 4]


def test_stretch_of_the_signal():
    config = dataclasses.replace(experiment.Config(), first_sample=1000, num_samples=10)
    whole = cj.data.signals.pywavelets_ecg()
    np.testing.assert_array_equal(experiment.load(config), whole[1000:1010])
