"""Losses of predictions to which a constant is added: a given one, or the best one.

    Offset         L(z + c, y)                  conjugate  L*(u) - sum_i u_i c
    WithIntercept  M(z, y) = min_c L(z + c, y)  conjugate  L*(u) where sum_i u_i = 0

A network trained on M has an output bias without weight decay. M is convex, as the
minimum of a convex function over some of its variables, and as smooth as L. Its best c
is where the slopes of all samples add up to zero, found by bisection.

Source: Boyd & Vandenberghe, Convex Optimization (2004), section 3.2.5, for partial
minimisation; Rockafellar, Convex Analysis (1970), theorem 16.4, for its conjugate.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import jax
import numpy as np
from scipy.optimize import brentq

from cvxjax.terms.losses.elementwise import DOMAIN_EPS, Array, SampleSum, prepare

_DOUBLINGS = 1100  # of a bracket's width, up to where float64 ends
_TRACED_DOUBLINGS = 64  # the same under JAX
_HALVINGS = 64  # of a bracket, under JAX
_BALANCINGS = 2  # of a dual vector


class Offset(SampleSum):
    """L(z + c, y), whose conjugate is L*(u) - sum_i u_i c."""

    loss: Any
    offset: Array  # c, [], or [k] of k outputs

    @property
    def name(self) -> str:
        return f"{self.loss.name} with an offset"

    @property
    def smoothness(self) -> Any:
        return self.loss.smoothness

    @property
    def constraint(self) -> str | None:
        return self.loss.constraint

    @property
    def steep(self) -> bool:
        return self.loss.steep

    @property
    def separable(self) -> bool:
        return self.loss.separable

    def in_units(self, unit: Any) -> tuple[Any, int] | None:
        found = self.loss.in_units(unit)
        if found is None:
            return None
        return self.replace(loss=found[0], offset=self.offset / unit), found[1]

    def _shift(self, z: Array, y: Array) -> tuple[Any, ...]:
        """NumPy or JAX, z, y, and the constant in z's shape."""
        xp, z, y = prepare(z, y)
        c = xp.asarray(self.offset, dtype=z.dtype)
        return xp, z, y, xp.broadcast_to(c, z.shape)

    def terms(self, z: Array, y: Array) -> Array:
        _, z, y, c = self._shift(z, y)
        return self.loss.terms(z + c, y)

    def gradient(self, z: Array, y: Array) -> Array:
        _, z, y, c = self._shift(z, y)
        return self.loss.gradient(z + c, y)

    def conjugate_terms(self, u: Array, y: Array) -> Array:
        xp, u, y, c = self._shift(u, y)
        terms = self.loss.conjugate_terms(u, y)
        return terms - xp.sum(u * c, axis=tuple(range(terms.ndim, u.ndim)))

    def dual_slope(self, u: Array, y: Array) -> Array:
        _, u, y, c = self._shift(u, y)
        return self.loss.dual_slope(u, y) - c

    def curvature(self, u: Array, y: Array) -> Array:
        return self.loss.curvature(u, y)

    def box(self, y: Array) -> tuple[Array, Array]:
        return self.loss.box(y)

    def clip_dual(self, u: Array, y: Array) -> Array:
        return self.loss.clip_dual(u, y)

    def prox(self, x: Array, y: Array, step: Array) -> Array:
        _, x, y, c = self._shift(x, y)
        return self.loss.prox(x + c, y, step) - c

    def take(self, rows: Array) -> Offset:
        return self.replace(loss=self.loss.take(rows))

    def check_labels(self, y: np.ndarray) -> None:
        self.loss.check_labels(y)


class WithIntercept(SampleSum):
    """min_c L(z + c, y), a loss that couples the samples."""

    loss: Any

    coupled = True
    separable = False

    @property
    def name(self) -> str:
        return f"{self.loss.name} with an intercept"

    @property
    def smoothness(self) -> Any:
        return self.loss.smoothness

    @property
    def constraint(self) -> str | None:
        return self.loss.constraint

    def in_units(self, unit: Any) -> tuple[Any, int] | None:
        found = self.loss.in_units(unit)
        return None if found is None else (self.replace(loss=found[0]), found[1])

    def intercept(self, z: Array, y: Array) -> Array:
        """The best constant c for predictions z, [].

        Where it may be y_i - z_i for a sample, as with losses that have a kink there
        and with equal labels, it is exactly that.
        """
        low, high = self._bracket(z, y)
        xp, z, y = prepare(z, y)
        middle = (low + high) / 2
        exact = xp.ravel(y - z)
        exact = exact[xp.argmin(xp.abs(exact - middle))]
        better = self.loss.value(z + exact, y) <= self.loss.value(z + middle, y)
        return xp.where(better, exact, middle)

    def fixed(self, z: Array, y: Array) -> Offset:
        """The loss whose constant stays what is best for predictions z."""
        return Offset(loss=self.loss, offset=self.intercept(z, y))

    def terms(self, z: Array, y: Array) -> Array:
        """The summand of each sample at the best constant, [n]."""
        return self.loss.terms(z + self.intercept(z, y), y)

    def gradient(self, z: Array, y: Array) -> Array:
        """The subgradient whose entries add up to zero, up to rounding."""
        low, high = self._bracket(z, y)
        xp, z, y = prepare(z, y)
        falls, rises = (self.loss.gradient(z + c, y) for c in (low, high))
        less, more = xp.minimum(xp.sum(falls), 0), xp.maximum(xp.sum(rises), 0)
        apart = more - less
        share = xp.where(apart > 0, -less / xp.where(apart > 0, apart, 1), 0.5)
        return falls + share * (rises - falls)

    def conjugate(self, u: Array, y: Array) -> Array:
        """L*(u) where the entries of u add up to zero, up to rounding, else +inf."""
        xp, u, y = prepare(u, y)
        slack = DOMAIN_EPS * u.size * float(xp.finfo(u.dtype).eps)
        balanced = xp.abs(xp.sum(u)) <= slack * xp.sum(xp.abs(u))
        return xp.where(balanced, self.loss.conjugate(u, y), xp.inf)

    def conjugate_terms(self, u: Array, y: Array) -> Array:
        return self.loss.conjugate_terms(u, y)

    def clip_dual(self, u: Array, y: Array) -> Array:
        """The nearest point of L*'s domain whose entries add up to zero."""
        xp, u, y = prepare(u, y)

        def total(c: Array) -> Array:
            return xp.sum(self.loss.clip_dual(u + c, y))

        low, high = _root(xp, total, u)
        clipped = self.loss.clip_dual(u + (low + high) / 2, y)
        for _ in range(_BALANCINGS):  # of what rounding leaves
            sizes = xp.abs(clipped)
            whole = xp.sum(sizes)
            share = sizes / xp.where(whole > 0, whole, 1)
            clipped = self.loss.clip_dual(clipped - xp.sum(clipped) * share, y)
        return clipped

    def prox(self, x: Array, y: Array, step: Array) -> Array:
        xp, x, y, step = prepare(x, y, step)

        def total(c: Array) -> Array:
            return xp.sum((x + c - self.loss.prox(x + c, y, step)) / step)

        low, high = _root(xp, total, x)
        c = (low + high) / 2
        return self.loss.prox(x + c, y, step) - c

    def take(self, rows: Array) -> WithIntercept:
        """Of these samples alone, with the best constant for them."""
        return self.replace(loss=self.loss.take(rows))

    def check_labels(self, y: np.ndarray) -> None:
        self.loss.check_labels(y)
        low, high = (np.sum(x) for x in self.loss.box(np.asarray(y, float)))
        if not low < 0 < high:
            raise ValueError(
                f"{self.name} wants labels of both classes; got {np.unique(y)[0]:g} "
                "in all samples, which a constant alone fits"
            )

    def _bracket(self, z: Array, y: Array) -> tuple[Array, Array]:
        """Two constants between which the best one is, as near as rounding allows."""
        xp, z, y = prepare(z, y)
        return _root(xp, lambda c: xp.sum(self.loss.gradient(z + c, y)), z)


def _root(xp: ModuleType, rising: Callable[[Any], Any], like: Array) -> tuple[Any, Any]:
    """Two numbers between which a function that rises, from < 0 to > 0, changes sign.

    Args:
      rising: of one number; it need not be continuous.
      like: an array of the dtype that is computed in.
    """
    if xp is not np:
        return _traced_root(xp, rising, like)
    if rising(0.0) == 0:
        return np.zeros((), like.dtype), np.zeros((), like.dtype)
    unit = 1.0
    for _ in range(_DOUBLINGS):
        if rising(-unit) <= 0 <= rising(unit):
            break
        unit *= 2
    else:
        raise ValueError("want finite predictions and labels; got others")
    eps = 4 * np.finfo(float).eps
    root: Any = brentq(rising, -unit, unit, xtol=1e-300, rtol=eps, maxiter=10_000)
    width = eps * abs(root)
    return np.asarray(root - width, like.dtype), np.asarray(root + width, like.dtype)


def _traced_root(
    xp: ModuleType, rising: Callable[[Array], Array], like: Array
) -> tuple[Array, Array]:
    """The same by doublings and halvings that `jit` compiles."""
    one = xp.ones((), like.dtype)

    def short(carry: tuple[Array, Array]) -> Array:
        count, unit = carry
        outside = (rising(-unit) > 0) | (rising(unit) < 0)
        return outside & (count < _TRACED_DOUBLINGS)

    def double(carry: tuple[Array, Array]) -> tuple[Array, Array]:
        return carry[0] + 1, 2 * carry[1]

    _, unit = jax.lax.while_loop(short, double, (0, one))

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low + high) / 2
        above = rising(middle) > 0
        return xp.where(above, low, middle), xp.where(above, middle, high)

    return jax.lax.fori_loop(0, _HALVINGS, halve, (-unit, unit))
