"""The best neuron against every cell's cone projection, on degenerate data too."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.algebra.row_space import row_space
from cvxjax.bounds.exact import best_neuron
from tests.references import project_cone


def best_of_cells(X, v):
    """max over enumerated cells of ||Proj_K (X^T D v)||, by NNLS."""
    best = 0.0
    for mask in np.asarray(cj.arrangements.enumerate_patterns(X).masks):
        q = np.where(mask, v, 0) @ X
        if np.linalg.norm(q) > best:
            cone = np.where(mask[:, None], X, -X)
            best = max(best, np.linalg.norm(project_cone(cone, q)))
    return best


def draw(seed):
    """Gaussian or integer X of rank <= 3, some rows parallel or zero."""
    rng = np.random.default_rng(seed)
    n, d = int(rng.integers(1, 11)), int(rng.integers(1, 4))
    X = rng.standard_normal((n, d))
    if seed % 3 == 0:
        X = rng.integers(-2, 3, (n, d)).astype(float)
    if seed % 3 == 1 and n > 4:
        X[1], X[2], X[4] = X[0], -2 * X[3], 0
    if seed % 4 == 3:
        X = X @ rng.standard_normal((d, d + 2))
    v = rng.integers(-2, 3, n).astype(float) if seed % 2 else rng.standard_normal(n)
    return X, v


@pytest.mark.parametrize("seed", range(40))
def test_best_neuron_is_the_best_of_all_cells(seed):
    X, v = draw(seed)
    want = best_of_cells(X, v)
    value, u = best_neuron(X, v)
    assert_allclose(value, want, rtol=1e-9, atol=1e-9)
    assert_allclose(np.maximum(X @ u, 0) @ v, value, atol=1e-12)
    assert np.linalg.norm(u) <= 1 + 1e-12


def test_nothing_to_gain():
    X = np.array([[1.0, 2.0], [0.0, 1.0]])
    for data, v in ((X, [-1.0, -2.0]), (X, [0.0, 0.0]), (0 * X, [1.0, 1.0])):
        value, u = best_neuron(data, np.array(v))
        assert value == 0
        assert np.all(u == 0)


def test_many_rows_against_directions_of_the_sphere():
    """n = 300: no direction of 50,000 is better, and one comes close."""
    rng = np.random.default_rng(0)
    X, v = rng.standard_normal((300, 3)), rng.standard_normal(300) + 0.3
    value, _ = best_neuron(X, v)
    u = rng.standard_normal((50_000, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    tried = max(np.max(np.maximum(part @ X.T, 0) @ v) for part in np.split(u, 20))
    assert tried <= value <= 1.01 * tried


def test_order_and_scale_change_nothing():
    X, v = draw(1)
    value, _ = best_neuron(X, v)
    order = np.random.default_rng(0).permutation(len(X))
    assert_allclose(best_neuron(X[order], v[order])[0], value, rtol=1e-13)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((X.shape[1],) * 2))[0]
    assert_allclose(best_neuron(X @ turn, v)[0], value, rtol=1e-12)
    assert_allclose(best_neuron(1e8 * X, 1e-3 * v)[0], 1e5 * value, rtol=1e-12)


def test_refuses_more_than_rank_three():
    X = np.eye(4)
    assert row_space(X).shape == (4, 4)
    with pytest.raises(ValueError, match="want X of rank at most 3; got rank 4"):
        best_neuron(X, np.ones(4))
