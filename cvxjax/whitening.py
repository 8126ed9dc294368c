"""Data without their mean, in an orthonormal basis, as normalisation sees them."""

from __future__ import annotations

import numpy as np

_RANK = 1e-10  # singular values below this, relative to the largest, count as zero


def centred(X: np.ndarray, centre: bool) -> np.ndarray:
    """X [n, d] less the mean of its rows, if `centre`."""
    return X - X.mean(axis=0) if centre else X


def factors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U [n, r], V S^{-1} [d, r], and a basis [d, d - r] of the null space."""
    left, values, right = np.linalg.svd(matrix)
    rank = int(np.sum(values > _RANK * max(values[0], np.finfo(float).tiny)))
    return left[:, :rank], right[:rank].T / values[:rank], right[rank:].T


def with_shift(columns: np.ndarray, shift: bool) -> np.ndarray:
    """`columns` [n, r] and, if `shift`, one more of 1 / sqrt(n)."""
    if not shift:
        return columns
    constant = np.full((len(columns), 1), len(columns) ** -0.5)
    return np.hstack([columns, constant]).astype(columns.dtype)
