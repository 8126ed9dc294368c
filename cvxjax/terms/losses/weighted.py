"""Any loss with a weight for each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from cvxjax.terms.losses.elementwise import Array, SampleSum, prepare


class Weighted(SampleSum):
    """sum_s omega_s L(z_s, y_s), whose conjugate is sum_s omega_s L*(u_s / omega_s)."""

    loss: Any
    weights: Array  # [n], > 0

    @property
    def name(self) -> str:
        return f"weighted {self.loss.name}"

    @property
    def smoothness(self) -> Any:
        """That of the loss times the largest weight, an array; or None."""
        inner = self.loss.smoothness
        return None if inner is None else inner * self.weights.max()

    @property
    def constraint(self) -> str | None:
        return self.loss.constraint

    @property
    def steep(self) -> bool:
        return self.loss.steep

    def in_units(self, unit: Any) -> tuple[Any, int] | None:
        found = self.loss.in_units(unit)
        return None if found is None else (self.replace(loss=found[0]), found[1])

    @property
    def separable(self) -> bool:
        return self.loss.separable

    def _rows(self, *arrays: Array) -> tuple[Any, ...]:
        """NumPy or JAX, the arrays, and the weights, one for each of their rows."""
        xp, first, *others = prepare(*arrays)
        omega = xp.asarray(self.weights, dtype=first.dtype)
        return xp, first, *others, omega.reshape(-1, *(1,) * (first.ndim - 1))

    def terms(self, z: Array, y: Array) -> Array:
        _, z, y, omega = self._rows(z, y)
        terms = self.loss.terms(z, y)
        return omega.reshape(-1, *(1,) * (terms.ndim - 1)) * terms

    def gradient(self, z: Array, y: Array) -> Array:
        _, z, y, omega = self._rows(z, y)
        return omega * self.loss.gradient(z, y)

    def conjugate_terms(self, u: Array, y: Array) -> Array:
        _, u, y, omega = self._rows(u, y)
        terms = self.loss.conjugate_terms(u / omega, y)
        return omega.reshape(-1, *(1,) * (terms.ndim - 1)) * terms

    def dual_slope(self, u: Array, y: Array) -> Array:
        _, u, y, omega = self._rows(u, y)
        return self.loss.dual_slope(u / omega, y)

    def curvature(self, u: Array, y: Array) -> Array:
        _, u, y, omega = self._rows(u, y)
        return self.loss.curvature(u / omega, y) / omega

    def box(self, y: Array) -> tuple[Array, Array]:
        _, y, _, omega = self._rows(y, y)
        low, high = self.loss.box(y)
        return omega * low, omega * high

    def clip_dual(self, u: Array, y: Array) -> Array:
        _, u, y, omega = self._rows(u, y)
        return omega * self.loss.clip_dual(u / omega, y)

    def prox(self, x: Array, y: Array, step: Array) -> Array:
        _, x, y, step, omega = self._rows(x, y, step)
        return self.loss.prox(x, y, step * omega)

    def take(self, rows: Array) -> Weighted:
        return self.replace(loss=self.loss.take(rows), weights=self.weights[rows])

    def check_labels(self, y: np.ndarray) -> None:
        count = len(self.weights)
        if np.shape(y)[:1] != (count,):
            raise ValueError(
                f"{self.name} loss has {count} weights, one a sample; "
                f"got labels of shape {np.shape(y)}"
            )
        self.loss.check_labels(y)
