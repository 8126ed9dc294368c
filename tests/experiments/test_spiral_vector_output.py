"""The spiral: its shape, the certificate, verdicts, the figure's panels."""

from __future__ import annotations

import numpy as np

from experiments import spiral_vector_output as experiment
from experiments._frame.record import Verdict

CONFIG = experiment.Config.smoke()


def test_arms_have_radius_up_to_one_half_and_start_at_the_origin():
    X, labels = experiment.draw_spirals(experiment.Config())
    radius = np.linalg.norm(X, axis=1).reshape(3, 20)
    np.testing.assert_allclose(radius, np.linspace(0, 0.5, 20)[None] + 0 * radius)
    np.testing.assert_array_equal(labels, np.repeat([0, 1, 2], 20))


def test_optimum_is_certified_and_no_run_is_below(arrays):
    assert arrays["gap"].max() <= CONFIG.tol
    assert np.all(arrays["found"] >= arrays["bound"][:, None, None] * (1 - 1e-9))
    assert np.all(arrays["optimum"] < 0.5 * 12)  # that of the zero network
    assert arrays["rounds"].shape[1] == arrays["steps"].shape[1] == 5


def test_networks_with_a_bias_are_bounded_and_share_a_point(arrays):
    assert arrays["bias_bound"] <= arrays["bias_objective"] * (1 + 1e-9)
    assert arrays["bias_objective"] <= arrays["bias_curves"][:, -1].min() * (1 + 1e-9)
    np.testing.assert_allclose(arrays["bias_most"], 10 / 12)  # of the three at zero
    assert arrays["bias_regions"].shape == (20, 20)


def test_the_relaxation_has_the_same_optimum(arrays):
    assert arrays["relaxed_gap"].max() <= CONFIG.tol
    np.testing.assert_allclose(arrays["relaxed"], arrays["optimum"], rtol=2e-6)


def test_verdicts_follow_the_numbers(arrays):
    optimum = arrays["optimum"][:, None, None]
    near = arrays | {
        "found": np.ones((1, 1, 2)) * optimum * 1.001,
        "bias_correct": arrays["bias_most"],
    }
    verdicts = [claim.verdict for claim in experiment.claims(near)]
    assert verdicts == [Verdict.REPRODUCED] * 5
    unlearned = near | {"bias_correct": 0.5 * arrays["bias_most"]}
    assert experiment.claims(unlearned)[4].verdict is Verdict.NOT_REPRODUCED
    below = arrays | {"found": 0.9 * optimum * np.ones((1, 1, 2))}
    assert experiment.claims(below)[2].verdict is Verdict.NOT_REPRODUCED
    far = arrays | {"found": 1.1 * optimum * np.ones((1, 1, 2))}
    assert experiment.claims(far)[3].verdict is Verdict.NOT_REPRODUCED
    loose = near | {"gap": np.asarray([0.1])}
    assert experiment.claims(loose)[0].verdict is Verdict.NOT_REPRODUCED
    for name, value in {"relaxed_gap": 0.1, "relaxed": 1.0}.items():
        inexact = near | {name: np.asarray([value])}
        assert experiment.claims(inexact)[1].verdict is Verdict.NOT_REPRODUCED
