"""Convex losses: value, gradient, conjugate and proximal map.

Each loss is a sum over samples, with no 1/n, of one function f of one number:

    L(z, y) = sum_i f(z_i - y_i)    squared, huber, interpolation
    L(z, y) = sum_i f(y_i z_i)      logistic, hinge, squared_hinge, hard_margin

with y_i in {-1, +1} in the second row. The record of a loss meets `interfaces.Loss`:

    value(z, y)        L(z, y), scalar; +inf outside the domain
    gradient(z, y)     an element of the subdifferential at z, shape of z
    conjugate(u, y)    L*(u) = sup_z u^T z - L(z, y), scalar; +inf outside the domain
    clip_dual(u, y)    the point of L*'s domain nearest to u, shape of u
    prox(x, y, step)   argmin_z L(z, y) + ||z - x||^2 / (2 step), shape of x; step > 0

z, u, x and y have one common shape, [n] or any other (the sum runs over all entries);
`step` is a scalar or of that shape. NumPy arrays give NumPy results and JAX arrays give
JAX results, under `jit` and `vmap` as well; one JAX array among the arguments makes the
result JAX. The result has the dtype of the first argument. Unequal shapes raise
`ValueError`.

Rounding tolerances: `DOMAIN_EPS` for conjugates, `FEASIBILITY` for the values of the
two constraints `interpolation` and `hard_margin`.

Source: Parikh & Boyd, Proximal Algorithms (2014); Boyd & Vandenberghe, Convex
Optimization (2004), section 3.3 (conjugates).
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cvxjax.record import Record

Array = Any  # NumPy or JAX; the same code serves both.

FEASIBILITY = {np.dtype("float64"): 1e-9, np.dtype("float32"): 1e-4}
"""How far z = y or y z >= 1 may be missed, by dtype of z; 1e-4 if not listed."""

DOMAIN_EPS = 8
"""A dual point this many machine epsilons outside a conjugate's domain is inside."""

_NEWTON_STEPS = 8  # 7 reach rounding for every step from 1e-6 to 1e12.


def _prepare(first: Array, y: Array, *rest: Array) -> tuple[Any, ...]:
    """Picks NumPy or JAX and casts every argument to the dtype of the first."""
    arguments = (first, y, *rest)
    xp = jnp if any(isinstance(a, jax.Array) for a in arguments) else np
    first = xp.asarray(first)
    if not xp.issubdtype(first.dtype, xp.floating):
        first = first.astype(float)
    others = [xp.asarray(a, dtype=first.dtype) for a in arguments[1:]]
    if others[0].shape != first.shape:
        raise ValueError(f"want y of shape {first.shape}; got {others[0].shape}")
    return xp, first, *others


def _on_interval(
    xp: ModuleType, s: Array, low: Array, high: Array, function: Callable, scale=1.0
) -> Array:
    """`function` on [low, high], +inf beyond it by more than rounding; elementwise."""
    t = xp.clip(s, low, high)
    slack = DOMAIN_EPS * float(xp.finfo(s.dtype).eps) * scale
    return xp.where(xp.abs(s - t) <= slack, function(t), xp.inf)


class _Separable(Record):
    """What all losses share; f, its derivative, conjugate and prox are elementwise."""

    name: ClassVar[str] = ""
    quadratic: ClassVar[bool] = False
    smoothness: ClassVar[float | None] = None
    constraint: ClassVar[str | None] = None
    _labels: ClassVar[str]
    _domain: ClassVar[tuple[float | None, float | None] | None] = None

    def _f(self, xp: ModuleType, t: Array) -> Array: ...
    def _conjugate(self, xp: ModuleType, s: Array) -> Array: ...
    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array: ...
    def _legal(self, y: np.ndarray) -> np.ndarray: ...

    def _clip(self, xp: ModuleType, s: Array) -> Array:
        return s if self._domain is None else xp.clip(s, *self._domain)

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        return xp.zeros_like(t)  # Kept by the two constraints.

    def check_labels(self, y: np.ndarray) -> None:
        """Raises ValueError, saying what arrived, if a label is outside the set."""
        y = np.asarray(y)
        wanted = f"{self.name} loss wants {self._labels}"
        if y.dtype.kind not in "biuf":
            raise ValueError(f"{wanted}; got dtype {y.dtype}")
        wrong = y[~self._legal(y)]
        if wrong.size:
            distinct = np.unique(wrong).tolist()
            dots = ", ..." if len(distinct) > 5 else ""
            arrived = ", ".join(map(str, distinct[:5])) + dots
            raise ValueError(f"{wanted}; got {arrived} in {wrong.size} of {y.size}")


class _Residual(_Separable):
    """L(z, y) = sum f(z - y), hence L*(u) = u^T y + sum f*(u)."""

    _labels = "finite real labels"

    def value(self, z: Array, y: Array) -> Array:
        xp, z, y = _prepare(z, y)
        return xp.sum(self._f(xp, z - y))

    def gradient(self, z: Array, y: Array) -> Array:
        xp, z, y = _prepare(z, y)
        return self._slope(xp, z - y)

    def conjugate(self, u: Array, y: Array) -> Array:
        xp, u, y = _prepare(u, y)
        return xp.sum(u * y + self._conjugate(xp, u))

    def clip_dual(self, u: Array, y: Array) -> Array:
        xp, u, _ = _prepare(u, y)
        return self._clip(xp, u)

    def prox(self, x: Array, y: Array, step: Array) -> Array:
        xp, x, y, step = _prepare(x, y, step)
        return y + self._prox(xp, x - y, step)

    def _legal(self, y: np.ndarray) -> np.ndarray:
        return np.isfinite(y)


class _Margin(_Separable):
    """L(z, y) = sum f(y z) with y = +-1, hence L*(u) = sum f*(y u)."""

    _labels = "labels -1 and +1"

    def value(self, z: Array, y: Array) -> Array:
        xp, z, y = _prepare(z, y)
        return xp.sum(self._f(xp, y * z))

    def gradient(self, z: Array, y: Array) -> Array:
        xp, z, y = _prepare(z, y)
        return y * self._slope(xp, y * z)

    def conjugate(self, u: Array, y: Array) -> Array:
        xp, u, y = _prepare(u, y)
        return xp.sum(self._conjugate(xp, y * u))

    def clip_dual(self, u: Array, y: Array) -> Array:
        xp, u, y = _prepare(u, y)
        return y * self._clip(xp, y * u)

    def prox(self, x: Array, y: Array, step: Array) -> Array:
        xp, x, y, step = _prepare(x, y, step)
        return y * self._prox(xp, y * x, step)

    def _legal(self, y: np.ndarray) -> np.ndarray:
        return np.isin(y, (-1, 1))


class Squared(_Residual):
    """f(r) = r^2/2; f*(s) = s^2/2."""

    name = "squared"
    quadratic = True
    smoothness = 1.0

    def _f(self, xp: ModuleType, t: Array) -> Array:
        return 0.5 * t * t

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        return t

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return 0.5 * s * s

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return t / (1 + step)


class Huber(_Residual):
    """f(r) = r^2/2, delta |r| - delta^2/2 past delta; f*(s) = s^2/2 up to delta."""

    name = "huber"
    smoothness = 1.0

    delta: Array  # [], > 0

    def _threshold(self, xp: ModuleType, t: Array) -> Array:
        return xp.asarray(self.delta, dtype=t.dtype)

    def _clip(self, xp: ModuleType, s: Array) -> Array:
        delta = self._threshold(xp, s)
        return xp.clip(s, -delta, delta)

    def _f(self, xp: ModuleType, t: Array) -> Array:
        h = xp.minimum(xp.abs(t), self._threshold(xp, t))
        return h * (xp.abs(t) - 0.5 * h)

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        delta = self._threshold(xp, t)
        return xp.clip(t, -delta, delta)

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        delta = self._threshold(xp, s)
        return _on_interval(xp, s, -delta, delta, lambda s: 0.5 * s * s, scale=delta)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        delta = self._threshold(xp, t)
        shrunk = t - step * delta * xp.sign(t)
        return xp.where(xp.abs(t) <= delta * (1 + step), t / (1 + step), shrunk)


class Interpolation(_Residual):
    """f(r) = 0 if r = 0, else +inf; f*(s) = 0."""

    name = "interpolation"
    constraint = "equality"

    def value(self, z: Array, y: Array) -> Array:
        """0 where max|z - y| <= tolerance max|y|, else +inf; `FEASIBILITY`."""
        xp, z, y = _prepare(z, y)
        bound = _feasibility(z) * xp.max(xp.abs(y))
        return xp.sum(xp.where(xp.abs(z - y) <= bound, xp.zeros_like(z), xp.inf))

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return xp.zeros_like(s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return xp.zeros_like(t)


class Logistic(_Margin):
    """f(m) = log(1 + exp(-m)); f*(-p) = p log p + (1-p) log(1-p) on 0 <= p <= 1."""

    name = "logistic"
    _domain = (-1, 0)
    smoothness = 0.25

    def _f(self, xp: ModuleType, t: Array) -> Array:
        return xp.logaddexp(0.0, -t)

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        e = xp.exp(-xp.abs(t))
        return -xp.where(t >= 0, e, xp.ones_like(e)) / (1 + e)

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        def entropy(s: Array) -> Array:
            p, q = -s, 1 + s
            log_p = xp.log(xp.where(p > 0, p, xp.ones_like(p)))
            return p * log_p + q * xp.log1p(xp.where(q > 0, s, xp.zeros_like(s)))

        return _on_interval(xp, s, -1, 0, entropy)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        """Solves m = t + step / (1 + exp(m)) by Newton's method.

        The reflection (m, t) -> (-m, -(t + step)) maps the equation to itself, so the
        root may be taken >= 0, where m - c - step / (1 + exp(m)) is increasing and
        concave: Newton's method from below the root stays below it and converges
        without safeguards. The start inserts the upper bound
        m <= max(c, 0) + log(1 + step) in exp(m) + 1 = step / (m - c).
        """
        flip = t + 0.5 * step < 0
        c = xp.where(flip, -(t + step), t)
        floor = xp.maximum(c, 0)
        ratio = step / (floor - c + xp.log1p(step)) - 1
        m = xp.maximum(floor, xp.log(xp.maximum(ratio, 1)))
        for _ in range(_NEWTON_STEPS):
            e = xp.exp(-m)
            pull = step * e / (1 + e)
            m = m - (m - c - pull) / (1 + pull / (1 + e))
        return xp.where(flip, -m, m)


class Hinge(_Margin):
    """f(m) = max(0, 1 - m); f*(s) = s on -1 <= s <= 0."""

    name = "hinge"
    _domain = (-1, 0)

    def _f(self, xp: ModuleType, t: Array) -> Array:
        return xp.maximum(1 - t, 0)

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        return xp.where(t < 1, -xp.ones_like(t), xp.zeros_like(t))

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return _on_interval(xp, s, -1, 0, lambda s: s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return xp.maximum(t, xp.minimum(t + step, 1))


class SquaredHinge(_Margin):
    """f(m) = max(0, 1 - m)^2 / 2; f*(s) = s + s^2/2 on s <= 0."""

    name = "squared_hinge"
    _domain = (None, 0)
    smoothness = 1.0

    def _f(self, xp: ModuleType, t: Array) -> Array:
        return 0.5 * xp.maximum(1 - t, 0) ** 2

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        return -xp.maximum(1 - t, 0)

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return _on_interval(xp, s, None, 0, lambda s: s + 0.5 * s * s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return xp.where(t < 1, (t + step) / (1 + step), t)


class HardMargin(_Margin):
    """f(m) = 0 if m >= 1, else +inf; f*(s) = s on s <= 0."""

    name = "hard_margin"
    _domain = (None, 0)
    constraint = "margin"

    def _f(self, xp: ModuleType, t: Array) -> Array:
        return xp.where(t >= 1 - _feasibility(t), xp.zeros_like(t), xp.inf)

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return _on_interval(xp, s, None, 0, lambda s: s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return xp.maximum(t, 1)


def _feasibility(z: Array) -> float:
    return FEASIBILITY.get(np.dtype(z.dtype), 1e-4)


def squared() -> Squared:
    """1/2 ||z - y||^2, for real labels y."""
    return Squared()


def logistic() -> Logistic:
    """sum_i log(1 + exp(-y_i z_i)), for labels y_i = -1 or +1."""
    return Logistic()


def hinge() -> Hinge:
    """sum_i max(0, 1 - y_i z_i), for labels y_i = -1 or +1; gradient 0 at the kink."""
    return Hinge()


def squared_hinge() -> SquaredHinge:
    """1/2 sum_i max(0, 1 - y_i z_i)^2, for labels y_i = -1 or +1; note the 1/2."""
    return SquaredHinge()


def huber(delta: float | jax.Array = 1.0) -> Huber:
    """sum_i h(z_i - y_i), h(r) = r^2/2 if |r| <= delta, else delta |r| - delta^2/2.

    Args:
      delta: [], > 0, in the units of y; traced, so changing it recompiles nothing.

    Raises:
      ValueError: `delta` is not a positive, finite scalar (not checked on a tracer).
    """
    if not isinstance(delta, Tracer):
        number = np.asarray(delta)
        if number.shape != () or not (np.isfinite(number) and number > 0):
            raise ValueError(f"want a finite scalar delta > 0; got {delta!r}")
    return Huber(delta=delta)


def interpolation() -> Interpolation:
    """0 if z = y, else +inf: the network must fit every real label exactly.

    The value is 0 if max|z - y| <= tolerance * max|y| with the `FEASIBILITY`
    tolerance of z's dtype. The gradient is 0, the subgradient of least norm on the
    domain.
    """
    return Interpolation()


def hard_margin() -> HardMargin:
    """0 if y_i z_i >= 1 for all i, else +inf, for labels y_i = -1 or +1.

    The value is 0 if y_i z_i >= 1 - tolerance with the `FEASIBILITY` tolerance of z's
    dtype. The gradient is 0, the subgradient of least norm on the domain.
    """
    return HardMargin()
