"""Losses of the margin y z, for labels -1 and +1."""

from __future__ import annotations

from types import ModuleType
from typing import Any

from cvxjax.terms.losses.elementwise import Array, Margin, feasibility, on_interval

_NEWTON_STEPS = 8  # 7 reach rounding for every step from 1e-6 to 1e12.


class Logistic(Margin):
    """f(m) = log(1 + exp(-m)); f*(-p) = p log p + (1-p) log(1-p) on 0 <= p <= 1."""

    name = "logistic"
    smoothness = 0.25
    steep = True

    def _domain(self, xp: ModuleType, like: Array) -> tuple[Any, Any]:
        return -1.0, 0.0

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

        return on_interval(xp, s, -1, 0, entropy)

    def _conjugate_slope(self, xp: ModuleType, s: Array) -> Array:
        return xp.log1p(s) - xp.log(-s)

    def _conjugate_curvature(self, xp: ModuleType, s: Array) -> Array:
        return -1 / (s * (1 + s))

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


class Hinge(Margin):
    """f(m) = max(0, 1 - m); f*(s) = s on -1 <= s <= 0."""

    name = "hinge"

    def _domain(self, xp: ModuleType, like: Array) -> tuple[Any, Any]:
        return -1.0, 0.0

    def _f(self, xp: ModuleType, t: Array) -> Array:
        return xp.maximum(1 - t, 0)

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        return xp.where(t < 1, -xp.ones_like(t), xp.zeros_like(t))

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return on_interval(xp, s, -1, 0, lambda s: s)

    def _conjugate_slope(self, xp: ModuleType, s: Array) -> Array:
        return xp.ones_like(s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return xp.maximum(t, xp.minimum(t + step, 1))


class SquaredHinge(Margin):
    """f(m) = max(0, 1 - m)^2 / 2; f*(s) = s + s^2/2 on s <= 0."""

    name = "squared_hinge"
    smoothness = 1.0

    def _domain(self, xp: ModuleType, like: Array) -> tuple[Any, Any]:
        return -xp.inf, 0.0

    def _f(self, xp: ModuleType, t: Array) -> Array:
        return 0.5 * xp.maximum(1 - t, 0) ** 2

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        return -xp.maximum(1 - t, 0)

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return on_interval(xp, s, None, 0, lambda s: s + 0.5 * s * s)

    def _conjugate_slope(self, xp: ModuleType, s: Array) -> Array:
        return 1 + s

    def _conjugate_curvature(self, xp: ModuleType, s: Array) -> Array:
        return xp.ones_like(s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return xp.where(t < 1, (t + step) / (1 + step), t)


class HardMargin(Margin):
    """f(m) = 0 if m >= 1, else +inf; f*(s) = s on s <= 0."""

    name = "hard_margin"
    constraint = "margin"

    def _domain(self, xp: ModuleType, like: Array) -> tuple[Any, Any]:
        return -xp.inf, 0.0

    def _f(self, xp: ModuleType, t: Array) -> Array:
        return xp.where(t >= 1 - feasibility(t), xp.zeros_like(t), xp.inf)

    def _conjugate(self, xp: ModuleType, s: Array) -> Array:
        return on_interval(xp, s, None, 0, lambda s: s)

    def _conjugate_slope(self, xp: ModuleType, s: Array) -> Array:
        return xp.ones_like(s)

    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array:
        return xp.maximum(t, 1)
