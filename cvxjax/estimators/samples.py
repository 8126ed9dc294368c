"""Samples as programs take them: weighted, merged, standardised, with a column of ones.

Equal samples are one sample whose weight is their number, and samples of weight zero
are left out. Fits thus depend neither on the order of samples nor on how their weights
are written, and repeated samples cost nothing.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import numpy as np
import scipy

import cvxjax as cj

_SAME = 1e-9  # of the size: two scalings that agree
_CONSTANT = 1e-12  # of its size: a column that varies less is constant


@dataclasses.dataclass(frozen=True)
class Scaling:
    """How features [n, d] become the input of a network."""

    mean: np.ndarray  # [d], subtracted
    scale: np.ndarray  # [d], then divided by
    ones: bool  # whether a column of ones is appended

    @classmethod
    def of(
        cls, X: np.ndarray, weights: np.ndarray, *, standardize: bool, ones: bool
    ) -> Scaling:
        """Columns of mean 0 and standard deviation 1, or as they are."""
        mean, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
        if standardize:
            unit = np.max(np.abs(X), axis=0)
            unit[unit == 0] = 1
            share = weights / np.sum(weights)
            mean = share @ (X / unit)
            scale = np.sqrt(share @ (X / unit - mean) ** 2)
            scale[scale <= _CONSTANT] = 1
            mean, scale = mean * unit, scale * unit
        return cls(mean=mean, scale=scale, ones=ones)

    def is_close(self, other: Scaling) -> bool:
        """Whether it is the same, up to rounding."""
        if self.ones != other.ones or len(self.mean) != len(other.mean):
            return False
        same = np.abs(self.scale - other.scale) <= _SAME * np.abs(other.scale)
        sizes = np.abs(other.mean) + np.abs(other.scale)
        return bool(np.all(same & (np.abs(self.mean - other.mean) <= _SAME * sizes)))

    def apply(self, X: np.ndarray) -> np.ndarray:
        """[n, d], or [n, d + 1] with the column of ones."""
        scaled = (X - self.mean) / self.scale
        if not self.ones:
            return scaled
        return np.column_stack([scaled, np.ones(len(X))])


def row_basis(X: np.ndarray) -> np.ndarray | None:
    """An orthonormal basis [d, n] of the rows of X [n, d] where d > n, else None.

    Weights that are optimal lie in the span of the rows: what is orthogonal to it costs
    weight decay and changes no output. So training needs X times the basis alone.
    """
    n, d = X.shape
    return np.linalg.qr(X.T)[0] if d > n else None


def merged(
    X: np.ndarray, y: np.ndarray, *weights: np.ndarray
) -> tuple[np.ndarray, ...]:
    """Distinct samples in lexical order, their labels, and their summed weights.

    Args:
      X: [n, d].
      y: [n] or [n, c].
      weights: [n] each, >= 0. Samples whose first weight is 0 are left out.
    """
    live = weights[0] > 0
    both = np.column_stack([X[live], y[live]]) + 0.0  # -0 is 0
    distinct, group = np.unique(both, axis=0, return_inverse=True)
    summed = (np.bincount(np.ravel(group), given[live]) for given in weights)
    d = X.shape[1]
    return distinct[:, :d], distinct[:, d:].reshape(-1, *y.shape[1:]), *summed


def weighted(loss: Any, weights: np.ndarray) -> Any:
    """The loss with these weights [n]; the loss itself where all are one."""
    if np.all(np.abs(weights - 1) <= 4 * np.finfo(float).eps):
        return loss
    return cj.losses.weighted(loss, weights)


def check_weights(sample_weight: Any, n: int) -> np.ndarray:
    """Weights [n] >= 0, ones if None is given.

    Raises:
      ValueError: if they are not n finite numbers >= 0, or all of them are zero.
    """
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(sample_weight, float)
    if weights.ndim == 0:
        weights = np.full(n, float(weights))
    if weights.shape != (n,):
        raise ValueError(f"want sample_weight [{n}]; got {list(weights.shape)}")
    if not np.all(np.isfinite(weights)) or np.any(weights < 0):
        raise ValueError("want a finite sample_weight >= 0; got other values")
    if not np.any(weights > 0):
        raise ValueError("want a sample_weight > 0; got zeros alone")
    return weights


def dense(X: Any) -> np.ndarray:
    """X as an array; a warning says how large it is where it was sparse."""
    if not scipy.sparse.issparse(X):
        return X
    size = X.shape[0] * X.shape[1] * 8 / 2**20
    warnings.warn(
        f"sparse X {list(X.shape)} becomes dense, {size:.1f} MiB",
        UserWarning,
        stacklevel=4,
    )
    return X.toarray()
