"""Constants added to predictions: a given one, and the best one."""

from __future__ import annotations

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from cvxjax.interfaces import Loss
from cvxjax.solvers.columns.weights import best_sizes
from cvxjax.terms import losses
from tests.loss_references import FINITE, close, name_of, sample, sample_dual

unconstrained = pytest.mark.parametrize("reference", FINITE, ids=name_of)


def of_both_classes(reference, n: int = 9):
    z, y = sample(reference, n)
    if reference.margin:
        y[:2] = 1.0, -1.0
    return z, y


@unconstrained
def test_an_offset_shifts_predictions(reference):
    loss, inner = losses.offset(reference.loss, 0.75), reference.loss
    z, y = of_both_classes(reference)
    close(loss.value(z, y), inner.value(z + 0.75, y))
    close(loss.gradient(z, y), inner.gradient(z + 0.75, y))
    u = sample_dual(reference, y)
    close(loss.conjugate(u, y), inner.conjugate(u, y) - 0.75 * np.sum(u))
    close(loss.prox(z, y, 0.7), inner.prox(z + 0.75, y, 0.7) - 0.75)


@unconstrained
def test_the_best_constant_is_best(reference):
    """By a minimiser that knows nothing of slopes, and under jit."""
    loss, inner = losses.with_intercept(reference.loss), reference.loss
    assert isinstance(loss, Loss)
    z, y = of_both_classes(reference)
    found = minimize_scalar(
        lambda c: float(inner.value(z + c, y)), bounds=(-40, 40), method="bounded"
    )
    assert loss.value(z, y) <= found.fun + 1e-12
    assert loss.value(z, y) == pytest.approx(found.fun, rel=1e-4)
    close(loss.value(z, y), inner.value(z + loss.intercept(z, y), y))
    close(jax.jit(loss.value)(jnp.asarray(z), y), loss.value(z, y))
    g = loss.gradient(z, y)
    assert abs(np.sum(g)) < 1e-12
    close(jax.jit(loss.gradient)(jnp.asarray(z), y), g)
    # Equality in Fenchel's inequality: g is a subgradient, whatever made it.
    close(loss.value(z, y) + loss.conjugate(g, y), g @ z)
    close(loss.value(z + 5.0, y), loss.value(z, y))


@unconstrained
def test_prox_is_optimal_and_clipping_balances(reference):
    loss = losses.with_intercept(reference.loss)
    x, y = of_both_classes(reference)
    z = loss.prox(x, y, 0.7)
    u = loss.clip_dual((x - z) / 0.7, y)
    close(u, (x - z) / 0.7)
    close(loss.value(z, y) + loss.conjugate(u, y), u @ z)
    close(jax.jit(lambda x: loss.prox(x, y, 0.7))(jnp.asarray(x)), z)
    far = loss.clip_dual(3 * x, y)
    assert np.isfinite(loss.conjugate(far, y))
    assert np.isinf(loss.conjugate(far + 1e-6, y))


@unconstrained
def test_sizes_with_a_free_constant(reference):
    """The best sizes of neurons beside an output bias, against CVXPY."""
    rng = np.random.default_rng(0)
    n, m, beta = 40, 15, 0.3
    A = np.maximum(rng.normal(size=(n, m)), 0) * rng.choice([-1, 1], m)
    y = rng.normal(size=n) + 3
    y = np.sign(y - 2.5) if reference.margin else y
    c, b = cp.Variable(m, nonneg=True), cp.Variable()
    value = cvxpy_value(reference.loss.name, A @ c + b, y)
    known = cp.Problem(cp.Minimize(value + beta * cp.sum(c))).solve(solver="CLARABEL")
    loss = losses.with_intercept(reference.loss)
    found = best_sizes(loss, y, A, beta, tol=1e-8)
    assert found.gap <= 1e-8
    assert found.value == pytest.approx(known, rel=1e-6)
    assert abs(np.sum(found.dual)) < 1e-12


def cvxpy_value(name: str, z, y):
    r, t = z - y, cp.multiply(y, z)
    return {
        "squared": lambda: cp.sum_squares(r) / 2,
        "huber": lambda: cp.sum(cp.huber(r, 0.7)) / 2,
        "pinball": lambda: cp.sum(cp.maximum(-0.3 * r, 0.7 * r)),
        "logistic": lambda: cp.sum(cp.logistic(-t)),
        "hinge": lambda: cp.sum(cp.pos(1 - t)),
        "squared_hinge": lambda: cp.sum_squares(cp.pos(1 - t)) / 2,
    }[name]()


@pytest.mark.parametrize("label", [-0.08, 0.1, 1e8 + 0.3])
@pytest.mark.parametrize("inner", [losses.pinball(0.9), losses.huber(0.7)])
def test_equal_labels_cost_nothing(inner, label):
    loss, y = losses.with_intercept(inner), np.full(3, label)
    assert loss.value(np.zeros(3), y) == 0
    assert jax.jit(loss.value)(jnp.zeros(3), y) == 0


def test_units_and_weights():
    loss = losses.with_intercept(losses.huber(0.7))
    scaled, power = loss.in_units(8.0)
    z, y = np.array([0.3, -5.0, 2.0]), np.array([1.0, 2.0, -0.5])
    close(loss.value(8 * z, 8 * y), 8.0**power * scaled.value(z, y))
    moved, power = losses.offset(losses.huber(0.7), 2.0).in_units(8.0)
    value = losses.offset(losses.huber(0.7), 2.0).value(8 * z, 8 * y)
    close(value, 8.0**power * moved.value(z, y))
    counts = np.array([1, 3, 2])
    weighted = losses.with_intercept(losses.weighted(losses.huber(0.7), counts))
    again = loss.value(np.repeat(z, counts), np.repeat(y, counts))
    close(weighted.value(z, y), again)


def test_refusals():
    with pytest.raises(ValueError, match="wants labels of both classes; got 1 in all"):
        losses.with_intercept(losses.hinge()).check_labels(np.ones(3))
    with pytest.raises(ValueError, match="want a loss that is no constraint"):
        losses.with_intercept(losses.interpolation())
    with pytest.raises(ValueError, match="want a loss of one output; got softmax"):
        losses.with_intercept(losses.softmax())
    with pytest.raises(ValueError, match="want a loss of cvxjax.losses"):
        losses.offset("hinge", 1.0)
    with pytest.raises(ValueError, match="want a finite constant; got inf"):
        losses.offset(losses.hinge(), np.inf)
    with pytest.raises(ValueError, match="want a sum over samples; got hinge with an"):
        losses.weighted(losses.with_intercept(losses.hinge()), [1.0])


def test_offsets_of_several_outputs():
    loss = losses.offset(losses.softmax(), [0.5, -1.0, 0.0])
    rng = np.random.default_rng(0)
    z, y = rng.normal(size=(4, 3)), np.eye(3)[[0, 1, 2, 1]]
    close(loss.value(z, y), losses.softmax().value(z + [0.5, -1.0, 0.0], y))
    g = loss.gradient(z, y)
    close(loss.value(z, y) + loss.conjugate(g, y), np.sum(g * z))
