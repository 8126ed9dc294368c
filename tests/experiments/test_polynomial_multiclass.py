"""Ten outputs: certificates, CVXPY's optimum, ranks, verdicts by the arrays."""

from __future__ import annotations

import numpy as np
import pytest

import cvxjax as cj
from experiments import polynomial_multiclass as experiment
from experiments._frame.record import Verdict
from experiments._parts.low_rank import truncated
from tests import spectral_references

CONFIG = experiment.Config.smoke()


def test_every_beta_is_certified_and_recovered(arrays):
    assert arrays["gap"].max() <= CONFIG.tol
    np.testing.assert_allclose(arrays["recovered"], arrays["optimum"], rtol=1e-6)
    assert np.all(arrays["neurons"] <= arrays["rank"])
    assert arrays["rank"].max() <= arrays["bound_neurons"]
    assert np.all(arrays["polynomial_objective"] >= arrays["bound"][:, None])


def test_the_optimum_is_that_of_cvxpy(arrays):
    digits = experiment.load(CONFIG)
    beta, Y = float(arrays["betas"][1]), np.eye(10)[digits.labels]
    program = cj.programs.make_polynomial(digits.X, Y, beta=beta)
    value = spectral_references.optimum(program)
    assert arrays["optimum"][1] == pytest.approx(value, rel=1e-6)


def test_scores_are_principal():
    digits = experiment.load(CONFIG)
    gram = digits.X.T @ digits.X / len(digits.X)
    assert np.trace(gram) == pytest.approx(1)
    np.testing.assert_allclose(gram, np.diag(np.diag(gram)), atol=1e-12)
    assert np.all(np.diff(np.diag(gram)) < 0) and 0 < digits.kept < 1


@pytest.mark.parametrize("coefficients", [(0.09, 0.5, 0.47), (1.0, 0.0, 0.0)])
def test_small_eigenvalues_are_left_out(coefficients):
    """One neuron beside dust: the point of rank one has its predictions and penalty."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((8, 3)), rng.standard_normal(8)
    program = cj.programs.make_polynomial(X, y, beta=1.0, coefficients=coefficients)
    q = program.order
    u = np.append([0.6, 0.8, 0.0], np.ones(q - 3))
    w = np.zeros(program.shape)
    w[0, 0] = np.outer(u, u)
    dust = w + 1e-9 * np.asarray(program.regulariser.centre(q))
    low, rank = truncated(program, dust, 1e-6)
    assert rank == 1
    np.testing.assert_allclose(low, w, atol=1e-7)
    kernel = program.recover(low)["params"]["first"]["kernel"]
    np.testing.assert_allclose(np.abs(kernel[:, 0]), u[:3], atol=1e-7)


def test_verdicts_follow_the_numbers(arrays):
    optimum = arrays["optimum"][:, None]
    made = arrays | {"polynomial_objective": 1.1 * optimum}
    made |= {"relu_accuracy": 0.5 * arrays["accuracy"]}
    made |= {"polynomial_accuracy": 0.5 * arrays["accuracy"]}
    verdicts = [claim.verdict for claim in experiment.claims(made)]
    assert verdicts[0] is verdicts[2] is verdicts[3] is Verdict.REPRODUCED
    made |= {"polynomial_objective": 0.9 * optimum}
    made |= {"neurons": arrays["neurons"][::-1] + np.arange(3)[::-1]}
    made |= {"relu_accuracy": 2 * arrays["accuracy"]}
    verdicts = [claim.verdict for claim in experiment.claims(made)]
    assert verdicts[0] is verdicts[1] is verdicts[3] is Verdict.NOT_REPRODUCED
