"""Losses of the residual z - y, for real labels."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from cvxjax.terms.losses.elementwise import (
    Array,
    Residual,
    feasibility,
    on_interval,
    prepare,
)


class Squared(Residual):
    """f(r) = r^2/2; f*(s) = s^2/2."""

    name = "squared"
    quadratic = True
    smoothness = 1.0

    def in_units(self, unit: Any) -> tuple[Any, int] | None:
        return self, 2

    def _f(self, xp: ModuleType, t: Array) -> Array:
        return 0.5 * t * t

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        return t

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return 0.5 * s * s

    def _conjugate_slope(self, xp: ModuleType, s: Array) -> Array:
        return s

    def _conjugate_curvature(self, xp: ModuleType, s: Array) -> Array:
        return xp.ones_like(s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return t / (1 + step)


class Huber(Residual):
    """f(r) = r^2/2, delta |r| - delta^2/2 past delta; f*(s) = s^2/2 up to delta."""

    name = "huber"
    smoothness = 1.0

    delta: Array  # [], > 0

    def in_units(self, unit: Any) -> tuple[Any, int] | None:
        return self.replace(delta=self.delta / unit), 2

    def _threshold(self, xp: ModuleType, t: Array) -> Array:
        return xp.asarray(self.delta, dtype=t.dtype)

    def _domain(self, xp: ModuleType, like: Array) -> tuple[Any, Any]:
        delta = self._threshold(xp, like)
        return -delta, delta

    def _f(self, xp: ModuleType, t: Array) -> Array:
        h = xp.minimum(xp.abs(t), self._threshold(xp, t))
        return h * (xp.abs(t) - 0.5 * h)

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        delta = self._threshold(xp, t)
        return xp.clip(t, -delta, delta)

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        delta = self._threshold(xp, s)
        return on_interval(xp, s, -delta, delta, lambda s: 0.5 * s * s, scale=delta)

    def _conjugate_slope(self, xp: ModuleType, s: Array) -> Array:
        return s

    def _conjugate_curvature(self, xp: ModuleType, s: Array) -> Array:
        return xp.ones_like(s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        delta = self._threshold(xp, t)
        shrunk = t - step * delta * xp.sign(t)
        return xp.where(xp.abs(t) <= delta * (1 + step), t / (1 + step), shrunk)


class Pinball(Residual):
    """f(r) = max(-q r, (1-q) r); f*(s) = 0 on -q <= s <= 1-q."""

    name = "pinball"

    quantile: Array  # [], in (0, 1)

    def _domain(self, xp: ModuleType, like: Array) -> tuple[Any, Any]:
        q = xp.asarray(self.quantile, dtype=like.dtype)
        return -q, 1 - q

    def _f(self, xp: ModuleType, t: Array) -> Array:
        low, high = self._domain(xp, t)
        return xp.maximum(low * t, high * t)

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        low, high = self._domain(xp, t)
        return xp.where(t > 0, high, xp.where(t < 0, low, xp.zeros_like(t)))

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return on_interval(xp, s, *self._domain(xp, s), xp.zeros_like)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        low, high = self._domain(xp, t)
        return xp.maximum(t - step * high, xp.minimum(t - step * low, 0))


class Interpolation(Residual):
    """f(r) = 0 if r = 0, else +inf; f*(s) = 0."""

    name = "interpolation"
    constraint = "equality"

    def terms(self, z: Array, y: Array) -> Array:
        """0 where |z - y| <= tolerance max|y|, else +inf; `FEASIBILITY`."""
        xp, z, y = prepare(z, y)
        bound = feasibility(z) * xp.max(xp.abs(y))
        return xp.where(xp.abs(z - y) <= bound, xp.zeros_like(z), xp.inf)

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return xp.zeros_like(s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return xp.zeros_like(t)
