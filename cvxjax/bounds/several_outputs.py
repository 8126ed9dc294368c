"""The best neurons of networks with several outputs, in NumPy float64.

    maximise  ||R^T D_i X u||_2   subject to  ||u|| <= 1,  (2 D_i - I) X u >= 0

maximises the quadratic form of M_i = X^T D_i R R^T D_i X over a cone. In the interior
of the cone, or of one of its faces, a maximiser is an eigenvector of the largest
eigenvalue of M_i on that face's span. So the O(n^(r-1)) faces for X of rank r give all
candidates, and the maximum exactly. Where r is larger than three, upper bounds are the
largest singular value of R^T D_i X and, for every N >= 0, the root of the largest
eigenvalue of M_i + K_i^T N K_i, K_i = (2 D_i - I) X: the copositive relaxation.

Source: Sahiner, Ergen, Pauly & Pilanci, Vector-output ReLU Neural Network Problems are
Copositive Programs (ICLR 2021), for the recursion over faces.
"""

from __future__ import annotations

import itertools

import numpy as np

from cvxjax.algebra import rounding
from cvxjax.algebra.row_space import left_out, row_space
from cvxjax.bounds.exact import is_exact

_OUTSIDE = 1e-11  # for unit rows and vectors, a product above -this counts as >= 0
_MOST_ELEMENTS = 1 << 22  # of a temporary [lines, cells]
_PARALLEL = 1e-10  # singular values of unit rows below this count as zero


def cell_maxima(
    X: np.ndarray, masks: np.ndarray, R: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The maximum over every cell and a maximiser, for rank X <= 3.

    Args:
      X: [n, d].
      masks: [P, n], bool.
      R: [n, c].

    Returns:
      Maxima [P], >= 0, and unit vectors u [P, d], zero where nothing is gained.
    """
    basis = row_space(X)
    rows = X @ basis
    lengths = np.linalg.norm(rows, axis=1)
    maps = np.einsum("nc,pn,nr->pcr", R, masks.astype(float), rows)
    r = basis.shape[1]
    best, argument = np.zeros(len(masks)), np.zeros((len(masks), r))
    live = lengths > 0
    units = rows[live] / lengths[live, None]
    sides = np.where(masks[:, live], 1.0, -1.0)
    spans = _spans(units)
    lines = [span[:, 0] for span in spans if span.shape[1] == 1]
    for part in _parts(len(lines), len(masks)):
        _along_lines(np.array(lines[part]), maps, units, sides > 0, best, argument)
    for span in spans:
        if span.shape[1] == 1:
            continue
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
    return best, argument @ basis.T


def _parts(count: int, P: int) -> list[slice]:
    """Slices of `count` lines, whose products with P cells fit into memory."""
    size = max(1, _MOST_ELEMENTS // max(1, P))
    return [slice(i, i + size) for i in range(0, count, size)]


def _along_lines(
    lines: np.ndarray,
    maps: np.ndarray,
    units: np.ndarray,
    masks: np.ndarray,
    best: np.ndarray,
    argument: np.ndarray,
) -> None:
    """Improves maxima and maximisers by both directions of lines, at all cells at once.

    Args:
      lines: [S, r], unit.
      maps: [P, c, r].
      units: rows of length one, [m, r].
      masks: on which side of them cells lie, [P, m], bool.
      best, argument: [P] and [P, r], changed in place.
    """
    reach = lines @ units.T
    squares = sum((lines @ maps[:, k].T) ** 2 for k in range(maps.shape[1]))
    outside, cells = (~masks.T).astype(float), masks.T.astype(float)
    for sign in (1, -1):
        above = (sign * reach > _OUTSIDE).astype(float)
        below = (sign * reach < -_OUTSIDE).astype(float)
        wrong = above @ outside + below @ cells
        values = np.sqrt(np.where(wrong == 0, squares, 0))
        which = np.argmax(values, axis=0)
        found = values[which, np.arange(len(best))]
        better = found > best
        best[better] = found[better]
        argument[better] = sign * lines[which[better]]


def vector_bound(
    X: np.ndarray,
    masks: np.ndarray,
    R: np.ndarray,
    multipliers: np.ndarray | None = None,
) -> float:
    """An upper bound of the maxima over all cells.

    Exact to rounding for rank X <= 3, and what X has outside of its numerical row space
    is added. For higher rank it is that of `relaxed_maxima`, or without multipliers of
    `gated_maxima`.

    Args:
      X: [n, d].
      masks: [P, n], bool.
      R: [n, c].
      multipliers: as in `relaxed_maxima`; not used if they have another form.
    """
    if is_exact(X):
        rest = np.linalg.norm(R, axis=1) @ left_out(X, row_space(X))
        return float(np.max(cell_maxima(X, masks, R)[0]) + rest)
    if multipliers is not None and _are_products(multipliers, *masks.shape):
        return float(np.max(relaxed_maxima(X, masks, R, multipliers)))
    return float(np.max(gated_maxima(X, masks, R)))


def relaxed_maxima(
    X: np.ndarray, masks: np.ndarray, R: np.ndarray, multipliers: np.ndarray
) -> np.ndarray:
    """Upper bounds of the maxima, [P], from multipliers of products of rows.

    Args:
      X: [n, d].
      masks: [P, n], bool.
      R: [n, c].
      multipliers: [P, k, 3], of each (j, l, N_jl): rows of X, and the weight of
        u^T a_j a_l^T u >= 0, a_j = +-x_j; negative weights count as 0.
    """
    (P, d), c = (len(masks), X.shape[1]), R.shape[1]
    outer = (X[:, :, None] * R[:, None]).reshape(len(X), d * c)
    pulled = (masks.astype(float) @ outer).reshape(P, d, c)
    M = pulled @ np.swapaxes(pulled, 1, 2)
    rows, weights = multipliers[..., :2].astype(int), np.maximum(multipliers[..., 2], 0)
    signs = np.where(masks, 1.0, -1.0)
    a, b = (
        X[at] * np.take_along_axis(signs, at, axis=1)[..., None]
        for at in np.moveaxis(rows, 2, 0)
    )
    half = np.swapaxes(a * weights[..., None], 1, 2) @ b
    sizes = np.linalg.norm(a, axis=2) * np.linalg.norm(b, axis=2)
    # Entries of M are sums of n, then of c products, of at most the square of R's pull.
    order = rounding.SPECTRAL * d
    terms = rounding.terms_of(2 * len(X) + c, weights.shape[1], order)
    square = rounding.pulled(R, rounding.lengths(X)) ** 2
    plain = np.linalg.eigvalsh(M)[:, -1] + rounding.gauge_rounding(terms, square)
    moved = np.linalg.eigvalsh(M + half + np.swapaxes(half, 1, 2))[:, -1]
    square = square + 2 * np.sum(weights * sizes, axis=1)
    moved = moved + rounding.gauge_rounding(terms, square)
    return np.sqrt(np.maximum(np.minimum(plain, moved), 0))


def _are_products(multipliers: np.ndarray, P: int, n: int) -> bool:
    """Whether these have the form of multipliers of `relaxed_maxima`."""
    if multipliers.ndim != 3 or multipliers.shape[::2] != (P, 3):
        return False
    rows = multipliers[..., :2]
    listed = np.all((rows >= 0) & (rows < n))
    return bool(listed and np.all(np.isfinite(multipliers)))


def gated_maxima(X: np.ndarray, masks: np.ndarray, R: np.ndarray) -> np.ndarray:
    """The largest singular values of R^T D_i X, [P]: the maxima without cones.

    Args:
      X: [n, d].
      masks: [P, n], bool.
      R: [n, c].
    """
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
