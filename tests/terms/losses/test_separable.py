"""Every loss against formulas and scalar optimisation written apart from it."""

from __future__ import annotations

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cvxjax.interfaces import SeparableLoss
from cvxjax.terms import losses
from tests.loss_references import (
    INF,
    MARGIN,
    RESIDUAL,
    argument,
    close,
    every,
    finite,
    minimum,
    name_of,
    sample,
    sample_dual,
)


@every
def test_protocol(reference):
    loss = reference.loss
    assert isinstance(loss, SeparableLoss) and loss.separable
    assert getattr(losses, loss.name)().name == loss.name
    assert loss.quadratic == (loss.name == "squared")
    assert len(jax.tree.leaves(loss)) == (loss.name in ("huber", "pinball"))


@every
def test_value_matches_formula(reference):
    z, y = sample(reference, 40)
    t = argument(reference, z, y)
    low, high = reference.domain
    inside = np.all((low <= t) & (t <= high))
    assert reference.loss.value(z, y) == (
        pytest.approx(sum(map(reference.f, t)), rel=1e-13) if inside else INF
    )
    feasible = reference.loss.prox(z, y, 1.0)
    expected = sum(map(reference.f, argument(reference, feasible, y)))
    assert reference.loss.value(feasible, y) == pytest.approx(expected, rel=1e-13)


@finite
def test_gradient_matches_autodiff_and_differences(reference):
    z, y = sample(reference, 40)
    gradient = reference.loss.gradient(z, y)
    close(jax.grad(reference.loss.value)(jnp.asarray(z), jnp.asarray(y)), gradient)
    h = 1e-6
    for i in range(5):
        shift = h * np.eye(40)[i]
        rise = reference.loss.value(z + shift, y) - reference.loss.value(z - shift, y)
        assert rise / (2 * h) == pytest.approx(gradient[i], abs=1e-6)


@finite
def test_smoothness_is_the_tight_lipschitz_constant(reference):
    t = np.linspace(-3, 3, 60_001)
    slope = reference.loss.gradient(t, np.ones_like(t))
    steepest = np.max(np.abs(np.diff(slope) / np.diff(t)))
    if reference.loss.smoothness is None:
        assert steepest > 1e3
    else:
        assert steepest == pytest.approx(reference.loss.smoothness, rel=1e-6)


@every
def test_conjugate_matches_supremum(reference):
    _, y = sample(reference, 15)
    u = sample_dual(reference, y)
    total = 0.0
    for ui, yi in zip(u, y, strict=True):
        s = yi * ui if reference.margin else ui
        low, high = np.clip(reference.domain, -60, 60)
        t = minimum(lambda t, s=s: reference.f(t) - s * t, low, high)
        supremum = s * t - reference.f(t) + (0 if reference.margin else ui * yi)
        one = reference.loss.conjugate(np.array([ui]), np.array([yi]))
        assert one == pytest.approx(supremum, rel=1e-9, abs=1e-7)
        total += supremum
    assert reference.loss.conjugate(u, y) == pytest.approx(total, rel=1e-9, abs=1e-6)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_conjugate_at_the_edge_of_its_domain(reference, dtype):
    y = np.ones(1, dtype)
    for edge, outward in zip(reference.dual, (-1, 1), strict=True):
        if np.isinf(edge):
            continue
        on = np.full(1, edge, dtype)
        rounded = on + 3 * outward * np.finfo(dtype).eps * max(abs(edge), 0.5)
        outside = on + dtype(outward * 1e-3)
        at_edge = reference.loss.conjugate(on, y)
        assert np.isfinite(at_edge)
        assert reference.loss.conjugate(rounded, y) == pytest.approx(at_edge, abs=2e-6)
        assert reference.loss.conjugate(outside, y) == INF


@every
@pytest.mark.parametrize("step", [1e-6, 1e-2, 0.5, 1.0, 30.0, 1e6])
def test_prox_matches_scalar_minimisation(reference, step):
    x, y = sample(reference, 12, seed=int(10 * step) % 97)
    p = reference.loss.prox(x, y, step)
    for xi, yi, pi in zip(x, y, p, strict=True):
        t = yi * xi if reference.margin else xi - yi
        found = yi * pi if reference.margin else pi - yi

        def objective(m, t=t):
            return reference.f(m) + (m - t) ** 2 / (2 * step)

        if reference.margin:
            low, high = t, max(t, 0) + 1 + np.log1p(step)
        else:
            low, high = min(t, 0), max(t, 0)
        low, high = np.clip((low, high), *reference.domain)
        best = minimum(objective, low, high)
        assert found == pytest.approx(best, abs=2e-6)
        assert objective(found) <= objective(best) * (1 + 1e-9) + 1e-12


@pytest.mark.parametrize("step", 10.0 ** np.arange(-6, 7))
def test_logistic_prox_solves_its_equation_to_rounding(step):
    x = np.concatenate([np.linspace(-30, 30, 41), -step + np.linspace(-30, 30, 41)])
    x = np.concatenate([x, np.linspace(-1.2, 0.2, 41) * step])
    p = losses.logistic().prox(x, np.ones_like(x), step)
    slope = losses.logistic().gradient(p, np.ones_like(p))
    rounding = np.finfo(float).eps * (np.abs(x) + np.abs(p) + step * np.abs(slope))
    assert np.all(np.abs(p + step * slope - x) <= 4 * rounding)


@every
def test_fenchel_young(reference):
    x, y = sample(reference, 30)
    loss = reference.loss
    z = loss.prox(x, y, 0.3)
    u = sample_dual(reference, y)
    assert loss.value(z, y) + loss.conjugate(u, y) >= u @ z
    u = loss.gradient(z, y)
    assert loss.value(z, y) + loss.conjugate(u, y) == pytest.approx(u @ z, abs=1e-11)


@every
@pytest.mark.parametrize("step", [0.25, 1.0, 4.0])
def test_moreau_decomposition(reference, step):
    """(x - prox) / step minimises L*(u) + step/2 (u - x/step)^2."""
    x, y = sample(reference, 6, seed=3)
    dual = (x - reference.loss.prox(x, y, step)) / step
    for xi, yi, di in zip(x, y, dual, strict=True):
        low, high = np.clip(reference.dual, -60, 60)
        low, high = sorted((yi * low, yi * high)) if reference.margin else (low, high)

        def objective(u, xi=xi, yi=yi):
            conjugate = reference.loss.conjugate(np.array([u]), np.array([yi]))
            return float(conjugate) + step / 2 * (u - xi / step) ** 2

        assert di == pytest.approx(minimum(objective, low, high), abs=1e-6)


@every
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_extreme_inputs_stay_numbers(reference, dtype):
    z = np.array([-1e4, -80, -1e-30, 0, 1e-30, 80, 1e4], dtype)
    y = np.ones_like(z)
    loss = reference.loss

    def results(z, y):
        gradient = loss.gradient(z, y)
        points = [loss.prox(z, y, step) for step in (1e-6, 1.0, 1e6)]
        return gradient, points, loss.value(z, y), loss.conjugate(gradient, y)

    for gradient, points, value, conjugate in (results(z, y), jax.jit(results)(z, y)):
        assert np.all(np.isfinite(gradient))
        assert np.all(np.isfinite(np.stack(points)))
        assert not np.isnan(value)
        assert np.isfinite(conjugate)


@every
def test_numpy_and_jax_agree(reference):
    z, y = sample(reference, 20)
    loss = reference.loss
    u = sample_dual(reference, y)
    calls = [
        (loss.value, (loss.prox(z, y, 0.4), y)),
        (loss.gradient, (z, y)),
        (loss.conjugate, (u, y)),
        (loss.prox, (z, y, np.asarray(0.4))),
    ]
    for method, arguments in calls:
        expected = method(*arguments)
        assert isinstance(expected, (np.ndarray, np.generic))
        traced = jax.tree.map(jnp.asarray, arguments)
        actual = jax.jit(method)(*traced)
        assert isinstance(actual, jax.Array)
        close(actual, expected)
        mixed = jax.eval_shape(lambda y, m=method, a=arguments: m(a[0], y, *a[2:]), y)
        assert mixed.shape == np.shape(expected)


@every
@pytest.mark.parametrize("xp", [np, jnp], ids=["numpy", "jax"])
def test_float32_is_kept(reference, xp):
    z, y = sample(reference, 10)
    loss, step = reference.loss, np.float64(0.3)

    def results(z):
        first = loss.value(z, y), loss.gradient(z, y)
        return *first, loss.conjugate(z, y), loss.prox(z, y, step)

    call = jax.jit(results) if xp is jnp else results
    for result in call(xp.asarray(z.astype(np.float32))):
        assert result.dtype == np.float32


@every
def test_jit_vmap_over_points_and_steps(reference):
    z, y = sample(reference, 24)
    z, y = z.reshape(4, 6), y[:6]
    steps = np.array([1e-3, 0.1, 1.0, 50.0])
    loss = reference.loss
    batched = jax.jit(jax.vmap(loss.prox, (0, None, 0)))(z, y, steps)
    close(batched, np.stack([loss.prox(z[i], y, steps[i]) for i in range(4)]))
    values = jax.jit(jax.vmap(loss.value, (0, None)))(batched, y)
    points = np.asarray(batched)
    close(values, np.stack([loss.value(points[i], y) for i in range(4)]))
    dual = jax.jit(jax.vmap(loss.conjugate, (0, None)))(0.1 * z, y)
    close(dual, np.stack([loss.conjugate(0.1 * z[i], y) for i in range(4)]))


def test_losses_pass_through_jit_and_huber_traces_once():
    @jax.jit
    @chex.assert_max_traces(n=2)
    def value(loss, z, y):
        return loss.value(z, y)

    z, y = jnp.asarray([3.0, -1.0]), jnp.asarray([0.0, 0.0])
    for delta in (0.5, 1.0, 2.0):
        expected = losses.huber(delta).value(np.asarray(z), np.asarray(y))
        close(value(losses.huber(delta), z, y), expected)
    assert value(losses.squared(), z, y) == 5.0


def test_constraints_forgive_rounding_only():
    for loss in (losses.interpolation(), losses.hard_margin()):
        for dtype, tolerance in losses.FEASIBILITY.items():
            y = np.array([1.0, -1.0], dtype)
            off = np.array([-1.0, 0.0], dtype)
            assert loss.value(y + dtype.type(0.5 * tolerance) * off, y) == 0
            assert loss.value(y + dtype.type(2.5 * tolerance) * off, y) == INF
    large = np.array([1e6, 2e6])
    assert losses.interpolation().value(large + 1e-4, large) == 0
    assert losses.interpolation().value(large + 1e-2, large) == INF


@pytest.mark.parametrize("reference", MARGIN, ids=name_of)
def test_margin_labels(reference):
    check = reference.loss.check_labels
    check(np.array([-1, 1, 1]))
    with pytest.raises(ValueError, match=r"labels -1 and \+1; got 0, 2 in 3 of 4"):
        check(np.array([0, 1, 2, 0]))
    with pytest.raises(ValueError, match="nan"):
        check(np.array([1.0, np.nan]))
    with pytest.raises(ValueError, match="0.0, 2.0, 3.0, 4.0, 5.0, ..."):
        check(np.arange(9.0))
    with pytest.raises(ValueError, match="dtype <U3"):
        check(np.array(["yes", "no"]))


@pytest.mark.parametrize("reference", RESIDUAL, ids=name_of)
def test_residual_labels(reference):
    check = reference.loss.check_labels
    check(np.array([-1.5, 0.0, 7.0]))
    check(np.array([3, 4]))
    for bad in ([np.inf, 0.0], [0.0, np.nan]):
        with pytest.raises(ValueError, match="finite real labels; got (inf|nan)"):
            check(np.array(bad))
    with pytest.raises(ValueError, match="complex"):
        check(np.array([1j]))


@every
def test_unequal_shapes_are_refused(reference):
    with pytest.raises(ValueError, match=r"want y of shape \(3,\); got \(3, 1\)"):
        reference.loss.value(np.zeros(3), np.ones((3, 1)))


@pytest.mark.parametrize("delta", [0.0, -1.0, np.nan, np.inf, np.ones(2)])
def test_huber_refuses_delta(delta):
    with pytest.raises(ValueError, match="delta > 0; got"):
        losses.huber(delta)


@pytest.mark.parametrize("quantile", [0.0, 1.0, np.nan, np.ones(2)])
def test_pinball_refuses_quantile(quantile):
    with pytest.raises(ValueError, match=r"quantile in \(0, 1\); got"):
        losses.pinball(quantile)


def test_pinball_is_least_at_its_quantile():
    y = np.random.default_rng(0).standard_normal(99)
    levels = [losses.pinball(0.9).value(np.full(99, level), y) for level in np.sort(y)]
    assert np.argmin(levels) == 89


def test_integers_become_floats():
    labels = np.array([1, -1])
    moved = losses.logistic().prox(np.array([0, 1]), labels, 0.5)
    close(moved, losses.logistic().prox(np.array([0.0, 1.0]), labels, 0.5))
