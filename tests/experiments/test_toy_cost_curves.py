from __future__ import annotations

import numpy as np
import pytest

import cvxjax as cj
from experiments import toy_cost_curves as experiment
from experiments._frame.record import Verdict
from experiments._parts.stationary import own_optimum


def test_no_training_goes_below_the_certified_bound(arrays):
    assert arrays["scope"] == cj.Scope.EXHAUSTIVE.value
    assert arrays["num_patterns"] == 10
    assert arrays["lower_bound"] <= arrays["optimum"]
    assert 0 <= arrays["gap"] <= 1e-6
    for trained in (arrays["final"], arrays["adam_final"], arrays["curves"]):
        assert np.nanmin(trained) >= arrays["lower_bound"]


def test_recovered_network_has_the_convex_objective(arrays):
    assert arrays["cone_violation"] <= 1e-12
    np.testing.assert_allclose(arrays["recovered"], arrays["optimum"], rtol=1e-8)
    assert arrays["minimal"] <= arrays["recovered"] * (1 + 1e-12)
    assert arrays["minimal"] >= arrays["lower_bound"]
    assert arrays["minimal_neurons"] <= 5


def test_arrays_speak_of_the_chosen_learning_rate(arrays):
    config = experiment.Config.smoke()
    widths, shown = len(config.widths), config.num_shown
    assert arrays["curves"].shape == (widths, shown, len(arrays["steps"]))
    assert arrays["final"].shape == (widths, 1, config.num_seeds)
    np.testing.assert_array_equal(
        arrays["curves"][:, :, -1], arrays["final"][:, 0, :shown]
    )
    assert arrays["steps"][0] == 0
    assert arrays["steps"][-1] == config.steps


def test_own_optimum_of_the_optimal_network_is_the_global_one():
    X, y = cj.data.synthetic.five_points()
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, y, patterns, beta=0.03)
    solution = cj.solve(program, cj.solvers.Admm(tol=1e-8))
    u, a = cj.recovery.two_layer_neurons(program.recover(solution.params))
    own = own_optimum(u, a, X, y, 0.03)
    assert own == pytest.approx(float(solution.objective), rel=1e-5)


def test_own_optimum_of_one_neuron_and_of_none():
    # A line that is nowhere negative: t (4, 3, 2, 1, 0), best at t = 4/30.
    X, y = cj.data.synthetic.five_points()
    u, a = np.array([[0.1, 1.0]]), np.array([1.0])
    w, _ = cj.recovery.balance(np.array([[0.0, 0.1]]))
    assert own_optimum(u, a, X, y, 1e-6) == pytest.approx((5 - 16 / 30) / 2, rel=1e-5)
    assert own_optimum(0 * w, 0 * a, X, y, 0.03) == pytest.approx(2.5)
    assert np.isnan(own_optimum(np.nan * w, a, X, y, 0.03))


def test_stuck_and_reached_runs_are_drawn_and_claimed(arrays):
    made = dict(arrays)
    optimum = float(made["optimum"])
    made["final"] = np.full_like(made["final"], optimum)
    made["own_optimum"] = np.full_like(made["own_optimum"], np.nan)
    made["final"][0, 0, :2] = 2 * optimum
    made["own_optimum"][0, :2] = 2 * optimum
    verdicts = [claim.verdict for claim in experiment.claims(made)]
    assert verdicts == [Verdict.REPRODUCED] * 4
    titles = [axis.get_title() for axis in experiment.plot(made).axes]
    assert titles == [
        "4 neurons: 1 of 3 runs reach it",
        "8 neurons: 3 of 3 runs reach it",
    ]


def test_a_run_below_the_bound_refutes_the_optimum(arrays):
    made = dict(arrays)
    made["final"] = np.full_like(made["final"], 0.9 * float(made["lower_bound"]))
    claim = experiment.claims(made)[2]
    assert claim.verdict is Verdict.NOT_REPRODUCED
