"""Bounds on cones are never below a neuron there, and v moves only where it pays."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import cvxjax as cj
from cvxjax.bounds.budget import Budget
from cvxjax.bounds.cones import ConeRelaxation, stacked
from cvxjax.bounds.duals import improve_dual
from cvxjax.bounds.relaxed import Adam, Relaxation, smoothing_at
from tests.bounds.test_branching import KINDS, table


def improved(X, v, steps=60):
    """The relaxation on the whole ball."""
    whole, adam = Relaxation(X, v), Adam()
    for k in range(steps):
        left = 1 - k / steps
        whole.improve(adam, "", whole.bound(v, smoothing_at(left))[1], left)
    return whole


def divided(X, v, times=3, steps=30):
    """The relaxation on 2^times cones, and their parameters."""
    relaxation = ConeRelaxation(improved(X, v))
    cones = relaxation.root
    for _ in range(times):
        cones = relaxation.split(cones, relaxation.bound(cones, v, 1e-5)[0])
        adam = Adam()
        for k in range(steps):
            left = 0.5 * (1 - k / steps)
            slopes = relaxation.bound(cones, v, smoothing_at(left))[1]
            cones = relaxation.improve(cones, adam, slopes, left)
    return relaxation, cones


def rows_and_weights(kind, n, d):
    X, v = table(kind, n, d)
    live = np.any(X != 0, axis=1) & (v != 0)
    return X[live], v[live]


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
@pytest.mark.parametrize("kind", KINDS)
def test_bounds_are_above_neurons_of_their_cones(kind, scale):
    X, v = rows_and_weights(kind, 30, 4)
    X = X * scale
    relaxation, cones = divided(X, v)
    values = relaxation.bound(cones.exact(), v, 1e-5)[0].values
    u = np.random.default_rng(0).standard_normal((4000, 4))
    for _ in range(10):
        u /= np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300)
        reach = np.maximum(u @ X.T, 0) @ v
        inside = np.einsum("bjd,md->bmj", cones.walls, u) >= 0
        inside = np.all(inside, axis=2)
        assert np.all(np.any(inside, axis=0))  # the cones cover the ball
        size = np.abs(v) @ np.linalg.norm(X, axis=1)
        for value, mine in zip(values, inside, strict=True):
            assert np.max(reach[mine], initial=-np.inf) <= value + 1e-14 * size
        slopes = np.where(u @ X.T > 0, v, 0) @ X
        u = u + slopes / np.maximum(np.linalg.norm(slopes, axis=1)[:, None], 1e-300)


def test_cones_have_lower_bounds_than_the_ball():
    X, v = rows_and_weights("gaussian", 60, 5)
    whole = improved(X, v, 300).bound(v, 1e-5)[0]
    relaxation, cones = divided(X, v, times=5, steps=60)
    highest = np.max(relaxation.bound(cones.exact(), v, 1e-5)[0].values)
    assert climbed(X, v) <= highest < (climbed(X, v) + whole) / 2


def test_without_walls_it_is_the_relaxation_of_the_ball():
    X, v = rows_and_weights("gaussian", 20, 4)
    whole = improved(X, v)
    relaxation = ConeRelaxation(whole)
    bounds, slopes = relaxation.bound(relaxation.root.exact(), v, 1e-3)
    value, want = whole.bound(v, 1e-3)
    assert_allclose(bounds.values[0], value, rtol=1e-5)
    assert_allclose(slopes.v[0], want.v, atol=1e-4 * np.max(np.abs(want.v)))


def test_slopes_are_those_of_the_smoothed_bound():
    X, v = rows_and_weights("gaussian", 9, 3)
    relaxation, cones = divided(X, v, times=2)
    cones, tiny, h = (
        stacked([cones.take(slice(0, 1)), cones.take(slice(1, 2))]).exact(),
        1e-9,
        1e-6,
    )
    slopes = relaxation.bound(cones, v, tiny)[1]
    pairs = [
        (array, getattr(slopes, name))
        for name, array in cones._asdict().items()
        if name != "walls"
    ]
    for array, slope in [*pairs, (v, slopes.v[0])]:
        for i in [(0,) * array.ndim, (0,) + (-1,) * (array.ndim - 1)][: array.ndim]:
            values = []
            for step in (h, -2 * h):
                array[i] += step
                values.append(relaxation.bound(cones, v, tiny)[0].values[0])
            array[i] += h
            assert_allclose(slope[i], (values[0] - values[1]) / (2 * h), atol=1e-5)


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
@pytest.mark.parametrize("rows", [1, 2])
def test_division_never_lowers_the_dual_value(loss, rows):
    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((30 * rows, 5)), rng.standard_normal(30)
    y = y if loss == "squared" else np.sign(y)
    loss = getattr(cj.losses, loss)()
    v = -loss.gradient(0 * y, y) * (0.9 if loss.name == "hinge" else 1)
    beta = 0.1 * float(np.linalg.norm(X.T @ np.repeat(v, rows)))
    values = []
    for seconds in (None, 0.8):
        turned, price = improve_dual(
            X,
            y,
            v,
            loss=loss,
            beta=beta,
            steps=100,
            division=None if seconds is None else Budget(seconds),
        )
        assert_array_equal(turned, -loss.clip_dual(-turned, y))
        reach = climbed(X, np.repeat(turned, rows))
        assert reach <= price
        values.append(-float(loss.conjugate(-min(1, beta / price) * turned, y)))
    assert values[1] >= values[0] - 1e-9 * abs(values[0])


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1e6, 1e30])
def test_scales_of_the_data(scale):
    rng, loss = np.random.default_rng(5), cj.losses.squared()
    X, y = scale * rng.standard_normal((20, 5)), rng.standard_normal(20)
    beta = 0.1 * float(np.linalg.norm(X.T @ y))
    turned, price = improve_dual(
        X, y, y, loss=loss, beta=beta, steps=50, division=Budget(0.2)
    )
    assert climbed(X, turned) <= price <= beta * (1 + 1e-3)


def climbed(X, v):
    """The value of the best of many neurons that climb from random starts."""
    u, best = np.random.default_rng(0).standard_normal((1000, X.shape[1])), 0.0
    for _ in range(30):
        u = u / np.maximum(np.linalg.norm(u, axis=1, keepdims=True), 1e-300)
        for sign in (1, -1):
            best = max(best, np.max(np.maximum(u @ X.T, 0) @ (sign * v)))
        slopes = np.where(u @ X.T > 0, v, 0) @ X
        u = u + slopes / np.maximum(np.linalg.norm(slopes, axis=1)[:, None], 1e-300)
    return best


def test_signs_without_gain_or_without_cost():
    X = np.abs(np.random.default_rng(0).standard_normal((6, 3)))
    y, loss = np.ones(6), cj.losses.squared()
    turned, price = improve_dual(
        X, y, y, loss=loss, beta=1.0, steps=20, division=Budget(0.1)
    )
    assert np.linalg.norm(turned @ X) <= price * (1 + 1e-12)
