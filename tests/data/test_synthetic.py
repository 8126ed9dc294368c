"""Synthetic data: exact values, the documented draw order, refused arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from cvxjax.data import synthetic


def test_five_points():
    X, y = synthetic.five_points()
    np.testing.assert_array_equal(X[:, 0], [-2, -1, 0, 1, 2])
    np.testing.assert_array_equal(X[:, 1], np.ones(5))
    np.testing.assert_array_equal(y, [1, -1, 1, 1, -1])
    assert X.dtype == y.dtype == np.float64


@pytest.mark.parametrize("noise", [0.0, 0.3])
def test_planted_relu_draws_in_the_documented_order(noise):
    X, y = synthetic.planted_relu(3, n=30, d=4, num_neurons=5, noise=noise)
    rng = np.random.default_rng(3)
    drawn = rng.standard_normal((30, 4))
    W, a = rng.standard_normal((4, 5)), rng.standard_normal(5)
    expected = noise * rng.standard_normal(30)
    for j in range(5):
        expected = expected + a[j] * np.clip(drawn @ W[:, j], 0, None)
    np.testing.assert_array_equal(X, drawn)
    np.testing.assert_allclose(y, expected / np.std(expected), rtol=1e-12)
    assert y.std() == pytest.approx(1, rel=1e-12)
    assert X.dtype == y.dtype == np.float64


def test_planted_relu_depends_on_the_seed_only():
    sizes: dict[str, Any] = {"n": 8, "d": 2, "num_neurons": 3, "noise": 0.1}
    first, again = (synthetic.planted_relu(0, **sizes) for _ in range(2))
    np.testing.assert_array_equal(first[1], again[1])
    assert not np.allclose(first[1], synthetic.planted_relu(1, **sizes)[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"n": 1}, "n >= 2.*got n=1"),
        ({"d": 0}, "d >= 1.*d=0"),
        ({"num_neurons": 0}, "num_neurons=0"),
        ({"noise": -1.0}, "noise >= 0; got -1.0"),
        ({"noise": np.nan}, "noise >= 0; got nan"),
    ],
)
def test_planted_relu_refuses(change, message):
    sizes: dict[str, Any] = {"n": 8, "d": 2, "num_neurons": 3, "noise": 0.1} | change
    with pytest.raises(ValueError, match=message):
        synthetic.planted_relu(0, **sizes)


def test_planted_relu_refuses_constant_labels():
    seeds = range(200)
    with pytest.raises(ValueError, match="constant"):
        for seed in seeds:
            synthetic.planted_relu(seed, n=2, d=1, num_neurons=1)
