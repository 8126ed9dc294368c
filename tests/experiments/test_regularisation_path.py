from __future__ import annotations

import numpy as np
import pytest

import cvxjax as cj
from experiments import regularisation_path as experiment
from experiments._frame.record import Verdict
from tests import references

CONFIG = experiment.Config.smoke()


def test_the_path_is_certified_and_starts_at_the_zero_network(arrays):
    assert np.all(arrays["sine_gap"] <= CONFIG.tol)
    assert np.all(arrays["table_gap"] <= 1) and np.all(arrays["table_gap"] >= 0)
    assert np.all(arrays["table_gap"][:, 0] <= 1e-4)  # zero is optimal
    assert arrays["sine_patterns"] == 2 * CONFIG.num_points
    y = arrays["sine_y"]
    assert arrays["sine_primal"][0] == pytest.approx(y @ y / 2, rel=CONFIG.tol)
    assert arrays["sine_neurons"][0] == 0 and arrays["sine_neurons"][1] > 0
    assert np.all(arrays["sine_neurons"] <= CONFIG.num_points)
    assert np.all(arrays["sine_cone_violation"] <= 1e-12)


def test_every_optimum_of_the_sine_agrees_with_cvxpy(arrays):
    X = np.stack([arrays["sine_x"], np.ones(CONFIG.num_points)], axis=1)
    patterns = cj.arrangements.enumerate_patterns(X)
    for beta, primal in zip(arrays["sine_betas"], arrays["sine_primal"], strict=True):
        program = cj.programs.make_two_layer(
            X, arrays["sine_y"], patterns, beta=float(beta)
        )
        best = references.two_layer_optimum(program)
        assert primal == pytest.approx(best, rel=2e-6, abs=2e-6)


def test_pruned_networks_have_the_certified_objective(arrays):
    for kind in ("sine", "table"):
        network, primal = arrays[f"{kind}_network"], arrays[f"{kind}_primal"]
        assert np.all(network <= primal * (1 + 1e-8))
        assert np.all(network >= arrays[f"{kind}_dual"] * (1 - 1e-14))  # rounding


def test_norms_of_all_neurons_add_up_to_the_penalty(arrays):
    total = arrays["sine_norms"].sum(axis=(1, 2))
    np.testing.assert_allclose(total, arrays["sine_penalty"], rtol=1e-3, atol=1e-6)


def test_collinear_neurons_of_one_sign_are_added_up():
    w = np.zeros((2, 4, 2))
    w[0, 1], w[0, 3], w[0, 2], w[1, 0] = (3, 4), (6, 8), (-3, -4), (3, 4)
    expected = np.zeros((2, 4))
    expected[0, 1], expected[0, 2], expected[1, 0] = 15, 5, 5
    np.testing.assert_allclose(experiment.neuron_norms(w), expected)
    np.testing.assert_array_equal(experiment.neuron_norms(0 * w), 0)


def test_errors_of_the_zero_network_are_those_of_the_mean(arrays):
    np.testing.assert_allclose(arrays["table_train"][:, 0], 1, rtol=1e-6)
    assert np.all(arrays["table_test"][:, 0] >= 1)
    assert arrays["table_test"].shape == (CONFIG.num_splits, CONFIG.num_table_betas)
    assert np.all(np.diff(arrays["table_train"], axis=1) <= 0)


def test_claims_say_what_fails(arrays):
    claims = experiment.claims(arrays)
    verdicts = [claims[k].verdict for k in (0, 1, 2, 4)]
    assert verdicts == [Verdict.REPRODUCED] * 4
    made = dict(arrays)
    made["sine_neurons"] = arrays["sine_neurons"] + 100
    made["table_primal"] = np.ones_like(arrays["table_primal"])
    made["table_penalty"] = np.broadcast_to([3.0, 2, 1], made["table_primal"].shape)
    made["table_betas"] = np.ones_like(arrays["table_betas"])
    made["table_penalty"] = made["table_penalty"] * 10
    made["table_test"] = np.broadcast_to([1.0, 0.9, 0.8], made["table_test"].shape)
    made["local_lbfgs"] = 0.9 * arrays["local_lbfgs"]
    made["local_lbfgs"][0] = 0
    verdicts = [claim.verdict for claim in experiment.claims(made)]
    assert verdicts == [Verdict.NOT_REPRODUCED] * 5
    made["table_test"] = np.broadcast_to([1.0, 0.7, 0.8], made["table_test"].shape)
    assert experiment.claims(made)[3].verdict is Verdict.REPRODUCED
