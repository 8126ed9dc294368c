"""What losses share, above all those that apply one function to every entry."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.record import Record

Array = Any  # NumPy or JAX; the same code serves both.

FEASIBILITY = {np.dtype("float64"): 1e-9, np.dtype("float32"): 1e-4}
"""By how much z = y or y z >= 1 may be missed, by dtype of z; 1e-4 if not listed."""

DOMAIN_EPS = 8
"""A dual point this many machine epsilons outside a conjugate's domain is inside."""


def prepare(first: Array, y: Array, *rest: Array) -> tuple[Any, ...]:
    """NumPy or jax.numpy, and the arguments in its arrays and the first one's dtype.

    Raises:
      ValueError: unless the first argument and y have one shape.
    """
    arguments = (first, y, *rest)
    xp = jnp if any(isinstance(a, jax.Array) for a in arguments) else np
    first = xp.asarray(first)
    if not xp.issubdtype(first.dtype, xp.floating):
        first = first.astype(float)
    others = [xp.asarray(a, dtype=first.dtype) for a in arguments[1:]]
    if others[0].shape != first.shape:
        raise ValueError(f"want y of shape {first.shape}; got {others[0].shape}")
    return xp, first, *others


def on_interval(
    xp: ModuleType, s: Array, low: Array, high: Array, function: Callable, scale=1.0
) -> Array:
    """`function` of each s in [low, high], +inf for s outside by more than rounding."""
    t = xp.clip(s, low, high)
    slack = DOMAIN_EPS * float(xp.finfo(s.dtype).eps) * scale
    return xp.where(xp.abs(s - t) <= slack, function(t), xp.inf)


def feasibility(z: Array) -> float:
    """By how much a constraint on z may be missed, for its dtype."""
    return FEASIBILITY.get(np.dtype(z.dtype), 1e-4)


def refuse_labels(wanted: str, y: np.ndarray, legal: Callable) -> None:
    """Raises ValueError, saying which arrived, if `legal` is False for some labels."""
    if y.dtype.kind not in "biuf":
        raise ValueError(f"{wanted}; got dtype {y.dtype}")
    wrong = y[~legal(y)]
    if wrong.size:
        distinct = np.unique(wrong).tolist()
        dots = ", ..." if len(distinct) > 5 else ""
        arrived = ", ".join(map(str, distinct[:5])) + dots
        raise ValueError(f"{wanted}; got {arrived} in {wrong.size} of {y.size}")


class SampleSum(Record):
    """A loss of this package: L and L* are sums of `terms` and of `conjugate_terms`."""

    quadratic: ClassVar[bool] = False
    coupled = False

    def terms(self, z: Array, y: Array) -> Array: ...
    def conjugate_terms(self, u: Array, y: Array) -> Array: ...

    def value(self, z: Array, y: Array) -> Array:
        return self.terms(z, y).sum()

    def conjugate(self, u: Array, y: Array) -> Array:
        return self.conjugate_terms(u, y).sum()

    def in_units(self, unit: Any) -> tuple[Any, int] | None:
        return None

    def take(self, rows: Array) -> Any:
        return self


class Separable(SampleSum):
    """A sum of f(t) over entries, t = z - y in `Residual` and t = y z in `Margin`.

    Subclasses define f, its derivative `_slope`, its conjugate f* with `_domain` and
    two derivatives, and its proximal map. The derivatives here are zero: `_slope` is
    right for constraints, the others where f* is constant or piecewise linear.
    """

    name: ClassVar[str] = ""
    smoothness: ClassVar[float | None] = None
    constraint = None
    separable = True
    steep: ClassVar[bool] = False
    _labels: ClassVar[str]  # which labels it takes, in words

    def _f(self, xp: ModuleType, t: Array) -> Array: ...
    def _conjugate(self, xp: ModuleType, s: Array) -> Array: ...
    def _prox(self, xp: ModuleType, t: Array, step: Array) -> Array: ...
    def _legal(self, y: np.ndarray) -> np.ndarray: ...

    def _slope(self, xp: ModuleType, t: Array) -> Array:
        return xp.zeros_like(t)

    def _conjugate_slope(self, xp: ModuleType, s: Array) -> Array:
        return xp.zeros_like(s)

    def _conjugate_curvature(self, xp: ModuleType, s: Array) -> Array:
        return xp.zeros_like(s)

    def _domain(self, xp: ModuleType, like: Array) -> tuple[Any, Any]:
        """The least and the largest s with finite f*(s)."""
        return -xp.inf, xp.inf

    def _edges(self, xp: ModuleType, y: Array) -> tuple[Array, Array]:
        """`_domain` as arrays of y's shape."""
        low, high = self._domain(xp, y)
        return xp.zeros_like(y) + low, xp.zeros_like(y) + high

    def _clip(self, xp: ModuleType, s: Array) -> Array:
        return xp.clip(s, *self._domain(xp, s))

    def check_labels(self, y: np.ndarray) -> None:
        wanted = f"{self.name} loss wants {self._labels}"
        refuse_labels(wanted, np.asarray(y), self._legal)


class Residual(Separable):
    """L(z, y) = sum f(z - y), hence L*(u) = u^T y + sum f*(u)."""

    _labels = "finite real labels"

    def in_units(self, unit: Any) -> tuple[Any, int] | None:
        return self, 1

    def terms(self, z: Array, y: Array) -> Array:
        xp, z, y = prepare(z, y)
        return self._f(xp, z - y)

    def gradient(self, z: Array, y: Array) -> Array:
        xp, z, y = prepare(z, y)
        return self._slope(xp, z - y)

    def conjugate_terms(self, u: Array, y: Array) -> Array:
        xp, u, y = prepare(u, y)
        return u * y + self._conjugate(xp, u)

    def dual_slope(self, u: Array, y: Array) -> Array:
        xp, u, y = prepare(u, y)
        return y + self._conjugate_slope(xp, u)

    def curvature(self, u: Array, y: Array) -> Array:
        xp, u, _ = prepare(u, y)
        return self._conjugate_curvature(xp, u)

    def box(self, y: Array) -> tuple[Array, Array]:
        return self._edges(*prepare(y, y)[:2])

    def clip_dual(self, u: Array, y: Array) -> Array:
        xp, u, _ = prepare(u, y)
        return self._clip(xp, u)

    def prox(self, x: Array, y: Array, step: Array) -> Array:
        xp, x, y, step = prepare(x, y, step)
        return y + self._prox(xp, x - y, step)

    def _legal(self, y: np.ndarray) -> np.ndarray:
        return np.isfinite(y)


class Margin(Separable):
    """L(z, y) = sum f(y z) with y = +-1, hence L*(u) = sum f*(y u)."""

    _labels = "labels -1 and +1"

    def terms(self, z: Array, y: Array) -> Array:
        xp, z, y = prepare(z, y)
        return self._f(xp, y * z)

    def gradient(self, z: Array, y: Array) -> Array:
        xp, z, y = prepare(z, y)
        return y * self._slope(xp, y * z)

    def conjugate_terms(self, u: Array, y: Array) -> Array:
        xp, u, y = prepare(u, y)
        return self._conjugate(xp, y * u)

    def dual_slope(self, u: Array, y: Array) -> Array:
        xp, u, y = prepare(u, y)
        return y * self._conjugate_slope(xp, y * u)

    def curvature(self, u: Array, y: Array) -> Array:
        xp, u, y = prepare(u, y)
        return self._conjugate_curvature(xp, y * u)

    def box(self, y: Array) -> tuple[Array, Array]:
        xp, y, _ = prepare(y, y)
        low, high = self._edges(xp, y)
        return xp.where(y > 0, low, -high), xp.where(y > 0, high, -low)

    def clip_dual(self, u: Array, y: Array) -> Array:
        xp, u, y = prepare(u, y)
        return y * self._clip(xp, y * u)

    def prox(self, x: Array, y: Array, step: Array) -> Array:
        xp, x, y, step = prepare(x, y, step)
        return y * self._prox(xp, y * x, step)

    def _legal(self, y: np.ndarray) -> np.ndarray:
        return np.isin(y, (-1, 1))
