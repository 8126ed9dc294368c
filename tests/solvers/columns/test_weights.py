"""Best sizes of given neurons against CVXPY, for every loss of one output."""

import cvxpy as cp
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.solvers.columns.weights import best_sizes
from tests.references import clarabel, cvxpy_loss

LOSSES = ("squared", "logistic", "hinge", "squared_hinge", "huber", "pinball")


def neurons(n, m, seed=0):
    """Predictions of m neurons in nearly parallel pairs, both signs."""
    rng = np.random.default_rng(seed)
    X, u = rng.standard_normal((n, 5)), rng.standard_normal((m, 5))
    u[1::2] = u[::2] + 1e-6 * rng.standard_normal(u[1::2].shape)
    signs = np.where(np.arange(m) % 4 < 2, 1, -1)
    return X, np.maximum(X @ u.T, 0) * signs


@pytest.mark.parametrize("m", [20, 120])
@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_and_both_shapes(name, m):
    loss = getattr(cj.losses, name)()
    X, A = neurons(60, m)
    y = X[:, 0] * X[:, 1]
    if name in ("logistic", "hinge", "squared_hinge"):
        y = np.sign(y)
    c = cp.Variable(m, nonneg=True)
    objective = cvxpy_loss(loss, A @ c, y)[0] + 0.3 * cp.sum(c)
    optimum = clarabel(cp.Problem(cp.Minimize(objective)))
    found = best_sizes(loss, y, A, 0.3, tol=1e-8 * optimum)
    assert np.min(found.sizes) >= 0
    assert np.max(found.dual @ A) <= 0.3 * (1 + 1e-12)
    value = float(loss.value(A @ found.sizes, y)) + 0.3 * np.sum(found.sizes)
    assert abs(value - found.value) <= 1e-12 * value
    assert abs(value - optimum) <= 1e-6 * optimum
    assert -1e-9 * optimum <= found.gap <= 1e-6 * optimum
    again = best_sizes(loss, y, A, 0.25, tol=1e-8 * optimum, near=found.dual)
    assert again.gap <= 1e-6 * optimum
    assert again.value <= value


def test_beta_at_which_no_neuron_is_used():
    X, A = neurons(40, 30)
    y = X[:, 0]
    beta = 1.01 * float(np.max(y @ A))
    found = best_sizes(cj.losses.squared(), y, A, beta, tol=1e-9)
    assert np.max(found.sizes) <= 1e-9
    assert abs(found.value - y @ y / 2) <= 1e-8
