"""The best neurons of networks with several outputs, in NumPy float64.

    maximise  ||R^T D_i X u||_2   subject to  ||u|| <= 1,  (2 D_i - I) X u >= 0

is the largest eigenvalue problem of M_i = X^T D_i R R^T D_i X over a cone. Inside the
cone, or inside one of its faces, a maximiser is an eigenvector of the largest
eigenvalue of M_i on that face's span, so that all faces give all candidates: exact,
with O(n^(r-1)) faces for X of rank r. Where r is larger than three, the largest
singular value of R^T D_i X bounds it.

Source: Sahiner, Ergen, Pauly & Pilanci, Vector-output ReLU Neural Network Problems are
Copositive Programs (ICLR 2021), for the recursion over faces.
"""

from __future__ import annotations

import itertools

import numpy as np

from cvxjax.pricing.exact import MAX_RANK, row_space

_OUTSIDE = 1e-11  # a unit vector's A u above minus this counts as >= 0
_PARALLEL = 1e-10  # singular values of unit rows below this count as zero


def is_exact(X: np.ndarray) -> bool:
    """Whether `cell_maxima` takes X: rank <= 3."""
    return row_space(X).shape[1] <= MAX_RANK


def cell_maxima(
    X: np.ndarray, masks: np.ndarray, R: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The maximum over every cell and a maximiser, for rank X <= 3.

    Args:
      X: [n, d].
      masks: [P, n], bool.
      R: [n, c].

    Returns:
      Maxima [P], >= 0; unit vectors u [P, d], zero where nothing is gained; and
      projections [P, d, d] onto the spans of the faces that u lie inside.
    """
    basis = row_space(X)
    rows = X @ basis
    lengths = np.linalg.norm(rows, axis=1)
    maps = np.einsum("nc,pn,nr->pcr", R, masks.astype(float), rows)
    r = basis.shape[1]
    best, argument = np.zeros(len(masks)), np.zeros((len(masks), r))
    faces = np.zeros((len(masks), r, r))
    live = lengths > 0
    units = rows[live] / lengths[live, None]
    sides = np.where(masks[:, live], 1.0, -1.0)
    for span in _spans(units):
        inner = maps @ span
        top = np.linalg.eigh(np.swapaxes(inner, 1, 2) @ inner)[1][..., -1]
        u = top @ span.T  # [P, r]
        reach = sides * (u @ units.T)
        value = np.linalg.norm(np.einsum("pcr,pr->pc", maps, u), axis=1)
        for sign in (1, -1):
            inside = np.all(sign * reach >= -_OUTSIDE, axis=1)
            better = inside & (value > best)
            best[better] = value[better]
            argument[better] = sign * u[better]
            faces[better] = span @ span.T
    return best, argument @ basis.T, basis @ faces @ basis.T


def vector_bound(X: np.ndarray, masks: np.ndarray, R: np.ndarray) -> float:
    """An upper bound of all maxima: exact to rounding for rank X <= 3."""
    if is_exact(X):
        return float(np.max(cell_maxima(X, masks, R)[0]))
    return float(np.max(gated_maxima(X, masks, R)))


def gated_maxima(X: np.ndarray, masks: np.ndarray, R: np.ndarray) -> np.ndarray:
    """The largest singular values of R^T D_i X, [P]: the maxima without cones."""
    return np.asarray(
        [np.linalg.norm(R[mask].T @ X[mask], 2) if mask.any() else 0 for mask in masks]
    )


def _spans(units: np.ndarray) -> list[np.ndarray]:
    """Orthonormal bases [r, k] of the spans of all faces, the whole space first."""
    r = units.shape[1]
    if r == 0:
        return []
    found = [np.eye(r)]
    for count in range(1, r):
        for chosen in itertools.combinations(range(len(units)), count):
            _, values, right = np.linalg.svd(units[list(chosen)])
            if values[-1] > _PARALLEL:
                found.append(right[count:].T)
    return found
