"""The autoencoder: certificates, the linear one's closed form, verdicts."""

from __future__ import annotations

import numpy as np

from experiments import convex_autoencoder as experiment
from experiments._frame.record import Verdict

CONFIG = experiment.Config.smoke()


def test_every_beta_is_certified_and_zero_is_first(arrays):
    assert arrays["gap"].max() <= CONFIG.tol
    assert arrays["neurons"][0] == 0 and np.all(np.diff(arrays["neurons"]) >= 0)
    np.testing.assert_allclose(arrays["recovered"], arrays["objective"], rtol=1e-9)
    bound = arrays["linear_objective"] * (1 + CONFIG.tol)
    assert np.all(arrays["objective"] <= bound)


def test_the_linear_optimum_is_stationary():
    """beta times a subgradient of the nuclear norm is X^T (X - X V)."""
    X = np.random.default_rng(0).standard_normal((9, 4))
    beta = float(np.median(np.linalg.svd(X, compute_uv=False)) ** 2)
    _, s, right = np.linalg.svd(X, full_matrices=False)
    found = experiment._linear(X, X, np.asarray([beta]))
    V = (right.T * np.maximum(1 - beta / s**2, 0)) @ right
    slope = X.T @ (X - X @ V)
    assert np.linalg.norm(slope, 2) <= beta * (1 + 1e-12)
    nuclear = np.linalg.svd(V, compute_uv=False).sum()
    np.testing.assert_allclose(np.sum(slope * V), beta * nuclear)
    value = np.sum((X - X @ V) ** 2) / 2 + beta * nuclear
    np.testing.assert_allclose(found["linear_objective"][0], value)
    assert found["linear_rank"][0] == np.linalg.matrix_rank(V)


def test_verdicts_follow_the_numbers(arrays):
    verdicts = [claim.verdict for claim in experiment.claims(arrays)[:3]]
    assert verdicts == [Verdict.REPRODUCED] * 3
    loose = arrays | {"gap": np.asarray([0.1])}
    assert experiment.claims(loose)[0].verdict is Verdict.NOT_REPRODUCED
    better = arrays | {"adam": 0.5 * arrays["objective"][arrays["shown"]][:, None]}
    assert experiment.claims(better)[-1].verdict is Verdict.NOT_REPRODUCED
