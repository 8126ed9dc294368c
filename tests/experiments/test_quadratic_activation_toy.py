"""Quadratic activation: the optimum by CVXPY's nuclear norm, claims by the arrays."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from experiments import quadratic_activation_toy as experiment
from experiments._frame.record import Verdict
from tests import references

CONFIG = experiment.Config.smoke()


def test_optima_are_those_of_the_nuclear_norm(arrays):
    X, y = experiment.sample(CONFIG)
    Z = cp.Variable((CONFIG.dim, CONFIG.dim), symmetric=True)
    fit = cp.sum(cp.multiply(X @ Z, X), axis=1)
    for k, beta in enumerate(CONFIG.betas):
        objective = 0.5 * cp.sum_squares(fit - y) + beta * cp.normNuc(Z)
        value = references.clarabel(cp.Problem(cp.Minimize(objective)))
        assert arrays["optimum"][k] == pytest.approx(value, rel=1e-7)
        assert arrays["rank"][k] == np.linalg.matrix_rank(Z.value, tol=1e-4)


def test_certificates_and_recovered_networks(arrays):
    assert arrays["gap"].max() <= CONFIG.tol
    np.testing.assert_allclose(arrays["recovered"], arrays["optimum"], rtol=1e-8)
    np.testing.assert_array_equal(arrays["neurons"], arrays["rank"])
    assert np.all(arrays["lowest"] >= arrays["bound"])
    assert np.all(arrays["curves"] >= arrays["bound"][:, None, None, None])


def test_seconds_are_those_of_single_runs(arrays):
    shape = 2, len(CONFIG.betas), len(CONFIG.widths), CONFIG.num_seeds
    assert arrays["curves"].shape[:-1] == arrays["seconds"].shape[:-1] == shape
    assert np.all(np.diff(arrays["seconds"]) > 0)


def test_verdicts_follow_the_numbers(arrays):
    """Widths 2 and 6, rank in between: wide runs put at the optimum, narrow above."""
    optimum = arrays["optimum"][:, None, None, None]
    curves = np.broadcast_to(2 * optimum, arrays["curves"].shape).copy()
    curves[:, :, 1, :, -1] = optimum[..., 0, 0]
    seconds = np.ones_like(arrays["seconds"]) + arrays["convex_seconds"].max()
    made = arrays | {"curves": curves, "seconds": seconds}
    made |= {"lowest": arrays["optimum"], "rank": np.asarray([4, 4])}
    made |= {"neurons": np.asarray([4, 4])}
    verdicts = [claim.verdict for claim in experiment.claims(made)]
    assert verdicts == [Verdict.REPRODUCED] * 6

    made["lowest"] = 0.9 * arrays["bound"]
    assert experiment.claims(made)[0].verdict is Verdict.NOT_REPRODUCED
    made["seconds"] = 0 * seconds
    assert experiment.claims(made)[4].verdict is Verdict.NOT_REPRODUCED
    made["curves"] = np.broadcast_to(2 * optimum, curves.shape)
    verdicts = [claim.verdict for claim in experiment.claims(made)]
    assert verdicts[2] is Verdict.NOT_REPRODUCED
    assert verdicts[4] is Verdict.UNCHECKABLE
