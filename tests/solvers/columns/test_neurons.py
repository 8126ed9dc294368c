"""Local maxima of prices, joined neurons and their cells, against exact prices."""

import types

import numpy as np
import pytest
from numpy.testing import assert_allclose

from cvxjax.bounds.ascent import ascend
from cvxjax.bounds.exact import best_neuron
from cvxjax.solvers.columns.neurons import Neurons, Rows, open_cells


def draw(kind, n=60, d=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    if kind == "integers":
        X = rng.integers(-2, 3, size=(n, d)).astype(float)
    if kind == "a year and a bias":
        X = np.column_stack([1900 + rng.integers(0, 99, n), X[:, 0], np.ones(n)])
    return X, rng.standard_normal(n)


def rows_of(X):
    return Rows.of(types.SimpleNamespace(rows=X, y=np.zeros(len(X))))


@pytest.mark.parametrize("kind", ["gaussian", "integers", "a year and a bias"])
def test_ascents_from_many_points_find_the_exact_price(kind):
    X, v = draw(kind)
    rows, rng = rows_of(X), np.random.default_rng(1)
    white = np.linalg.svd(rows.unit)[2].T / np.linalg.svd(rows.unit)[1]
    starts = np.concatenate(
        [
            rng.standard_normal((200, 3)),
            rng.standard_normal((200, 3)) @ white.T,
            rows.unit[np.any(X, axis=1)],
        ]
    )
    weights = np.broadcast_to(rows.weights(v), (len(starts), len(X)))
    found = ascend(rows.unit, weights, starts, 100)
    assert_allclose(np.linalg.norm(found.points, axis=1), 1, rtol=1e-12)
    values = np.maximum(X @ found.points.T, 0).T @ v
    assert_allclose(found.values, values, atol=1e-9 * np.abs(v) @ rows.lengths)
    start = starts / np.linalg.norm(starts, axis=1, keepdims=True)
    before = np.maximum(X @ start.T, 0).T @ v
    assert np.all((values >= before - 1e-9 * np.abs(v) @ rows.lengths) | (before < 0))
    best, _ = best_neuron(X, v)
    assert abs(np.max(values) - best) <= 1e-9 * best


def test_joined_neurons_predict_the_same_and_weigh_less():
    X, _ = draw("gaussian")
    rows, rng = rows_of(X), np.random.default_rng(2)
    u = rng.standard_normal((5, 3))
    u = np.repeat(u, 8, axis=0) + 0.02 * rng.standard_normal((40, 3))
    signs = np.where(np.arange(40) % 3 == 0, -1.0, 1.0)
    many = Neurons.of(u, signs)
    few = many.joined(rows)
    assert len(few.u) < len(many.u)
    assert_allclose(
        few.predictions(rows) @ few.sizes, many.predictions(rows) @ many.sizes
    )
    assert np.sum(few.sizes) <= np.sum(many.sizes)
    again = few.joined(rows)
    assert_allclose(np.sort(again.sizes), np.sort(few.sizes))


@pytest.mark.parametrize("kind", ["gaussian", "integers"])
def test_cells_around_neurons_on_kinks(kind):
    X, v = draw(kind, d=4)
    rows, rng = rows_of(X), np.random.default_rng(3)
    starts = rng.standard_normal((50, 4))
    weights = np.broadcast_to(rows.weights(v), (50, len(X)))
    u = ascend(rows.unit, weights, starts).points
    live = rows.lengths > 0
    assert np.any(np.abs(rows.unit[live] @ u.T) < 1e-12)
    masks, gates = open_cells(rows, u)
    sides = np.where(masks, 1, -1)
    assert np.all((sides * (u @ rows.unit.T))[:, live] >= -1e-12)
    assert np.all((sides * (gates @ rows.unit.T))[:, live] > 0)
    assert np.all(masks[:, ~live])
