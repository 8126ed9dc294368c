from __future__ import annotations

import cvxpy as cp
import jax
import numpy as np
import pytest

import cvxjax as cj
from experiments import sampling_ratio as experiment
from experiments._frame.record import Verdict
from tests import references

CONFIG = experiment.Config.smoke()


def test_samples_never_go_below_the_optimum_and_only_fall(arrays):
    ratios = arrays["ratios"]
    assert ratios.shape == (1, CONFIG.num_seeds, len(CONFIG.counts))
    assert ratios.min() >= 1 - 2e-6
    assert np.diff(ratios, axis=2).max() <= 2e-6
    np.testing.assert_array_equal(arrays["patterns"], [12])
    assert arrays["gap"].max() <= CONFIG.tol and arrays["low_gap"] <= CONFIG.tol
    # Two draws: 2 and 4 samples of the 12 patterns, and all.
    assert arrays["solved"] == 2 * 3
    np.testing.assert_array_equal(ratios[..., -1], 1)


def test_a_sampled_ratio_agrees_with_cvxpy(arrays):
    X, y = experiment._draw(CONFIG, 6, 2, 1)
    key = jax.random.fold_in(jax.random.key(CONFIG.seed), 1)
    drawn = cj.arrangements.sample_patterns(key, X, num=max(CONFIG.counts))
    some = drawn.replace(masks=drawn.masks[:4], gates=drawn.gates[:4])
    values = [
        references.two_layer_optimum(
            cj.programs.make_two_layer(X, y, patterns, beta=CONFIG.beta)
        )
        for patterns in (some, cj.arrangements.enumerate_patterns(X))
    ]
    assert arrays["ratios"][0, 1, 1] == pytest.approx(values[0] / values[1], rel=2e-6)


def test_low_rank_ratios_lie_within_their_bounds(arrays):
    ratios, factors = arrays["low_ratios"], arrays["low_factors"]
    assert ratios.shape == (2, CONFIG.num_seeds, 2)
    assert ratios.min() >= 1 - 2e-6
    assert np.all(ratios <= factors)
    np.testing.assert_array_equal(ratios[..., -1], 1)
    np.testing.assert_array_equal(arrays["low_patterns"], [2, 12])


def test_a_low_rank_ratio_agrees_with_one_line_of_patterns(arrays):
    """Rank one: u is a number on X V; both signs of it, and weights of both signs."""
    X, y = experiment._draw(CONFIG, 6, 2, 0)
    X = X * CONFIG.decay ** np.arange(2)
    U, s, _ = np.linalg.svd(X)
    x = s[0] * U[:, 0]
    weights = cp.Variable(4)
    features = np.stack([np.maximum(x, 0), np.maximum(-x, 0)], axis=1)
    fit = features @ (weights[:2] - weights[2:])
    value = references.clarabel(
        cp.Problem(
            cp.Minimize(cp.sum_squares(fit - y) / 2 + CONFIG.beta * cp.sum(weights)),
            [weights >= 0],
        )
    )
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, y, patterns, beta=CONFIG.beta)
    best = references.two_layer_optimum(program)
    assert arrays["low_ratios"][0, 0, 0] == pytest.approx(value / best, rel=2e-6)
    assert arrays["low_errors"][0, 0, 0] == pytest.approx(s[1])


def test_a_broken_bound_or_a_poor_sample_is_said(arrays):
    made = dict(arrays)
    made["low_factors"] = 0.9 * made["low_ratios"]
    made["ratios"] = made["ratios"] + 1
    verdicts = [claim.verdict for claim in experiment.claims(made)]
    assert verdicts == [
        Verdict.NOT_REPRODUCED,
        Verdict.UNCHECKABLE,
        Verdict.NOT_REPRODUCED,
    ]


def test_the_talks_factor_is_corrected_where_it_fails(arrays):
    made = dict(arrays)
    made["low_ratios"] = np.ones_like(made["low_ratios"])
    assert experiment.claims(made)[2].verdict is Verdict.REPRODUCED
    made["low_ratios"] = np.minimum(2 * experiment._talk_factor(made), 1e3)
    made["low_factors"] = 2 * made["low_ratios"]
    assert experiment.claims(made)[2].verdict is Verdict.CORRECTED
