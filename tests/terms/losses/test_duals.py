"""The derivatives of conjugates, and where these are finite."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cvxjax.terms import losses
from tests.loss_references import every, sample, sample_dual

WEIGHTS = np.array([0.3, 1.0, 2.0, 7.0, 1e-3, 40.0])


@every
@pytest.mark.parametrize("weights", [None, WEIGHTS], ids=["plain", "weighted"])
def test_derivatives_of_conjugates(reference, weights):
    loss, scale = reference.loss, np.ones(6)
    _, y = sample(reference, 6)
    u = sample_dual(reference, y)
    if weights is not None:
        loss, scale = losses.weighted(loss, weights), weights
        u = weights * u
    h = 1e-6 * scale
    up, down = (loss.dual_slope(u + s * h, y) for s in (1, -1))
    rise = loss.conjugate_terms(u + h, y) - loss.conjugate_terms(u - h, y)
    np.testing.assert_allclose(loss.dual_slope(u, y), rise / (2 * h), atol=1e-7)
    curvature = loss.curvature(u, y)
    np.testing.assert_allclose(curvature, (up - down) / (2 * h), rtol=1e-6, atol=1e-8)
    low, high = loss.box(y)
    assert np.all(low < u) and np.all(u < high)
    for edge, out in ((low, -1), (high, 1)):
        wall = np.isfinite(edge)
        assert np.all(np.isfinite(loss.conjugate_terms(np.where(wall, edge, u), y)))
        beyond = loss.conjugate_terms(np.where(wall, edge + 1e-3 * out * scale, u), y)
        assert np.array_equal(np.isinf(beyond), wall)
    assert np.array_equal(loss.clip_dual(u, y), u)


@every
def test_numpy_and_jax_agree_in_every_precision(reference):
    _, y = sample(reference, 6)
    u = sample_dual(reference, y)

    @jax.jit
    def results(loss, u, y):
        return loss.dual_slope(u, y), loss.curvature(u, y), *loss.box(y)

    weighted = losses.weighted(reference.loss, WEIGHTS)
    for loss, at in ((reference.loss, u), (weighted, WEIGHTS * u)):
        for dtype, tol in ((np.float64, 1e-12), (np.float32, 1e-5)):
            point, labels = at.astype(dtype), y.astype(dtype)
            expected = (
                loss.dual_slope(point, labels),
                loss.curvature(point, labels),
                *loss.box(labels),
            )
            actual = results(loss, jnp.asarray(point), jnp.asarray(labels))
            for one, other in zip(actual, expected, strict=True):
                assert isinstance(other, np.ndarray) and one.shape == other.shape
                assert one.dtype == other.dtype == dtype
                np.testing.assert_allclose(one, other, rtol=tol)
