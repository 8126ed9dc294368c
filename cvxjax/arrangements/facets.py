"""Which rows of a cone {u : A u >= 0} are facets; the other inequalities are redundant.

For g with A g > 0 the points a_j / (a_j^T g) lie in a hyperplane, and row j is a facet
exactly if its point is a vertex of their convex hull. In two dimensions the hull is an
interval, and a cone has two facets; in one dimension it has one.

Source: Ziegler, Lectures on Polytopes (1995), sections 1.2 and 2.3, for the duality.
"""

from __future__ import annotations

import numpy as np
import scipy


def find_facets(
    rows: np.ndarray, masks: np.ndarray, interior: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The facets of every cone {u : (2 D_i - I) rows u >= 0}.

    Args:
      rows: [n, r], of rank r; zero rows bound nothing.
      masks: [P, n], bool.
      interior: [P, r], strictly inside.

    Returns:
      Indices of rows [P, f], for the largest number f of facets, and which of them are
      facets [P, f], bool: shorter lists are padded with zeros.
    """
    live = np.flatnonzero(np.any(rows != 0, axis=1))
    lists = [
        live[_corners(np.where(mask[live], 1.0, -1.0)[:, None] * rows[live], inside)]
        for mask, inside in zip(masks, interior, strict=True)
    ]
    most = max((len(found) for found in lists), default=0)
    indices = np.zeros((len(masks), most), int)
    for i, found in enumerate(lists):
        indices[i, : len(found)] = found
    return indices, np.arange(most) < np.asarray([[len(found)] for found in lists])


def _corners(rows: np.ndarray, inside: np.ndarray) -> np.ndarray:
    """The sorted indices of the facets of the cone {u : rows u >= 0}."""
    if not len(rows):
        return np.zeros(0, int)
    points = rows / (rows @ inside)[:, None]
    plane = np.linalg.svd(inside[None])[2][1:]  # [r - 1, r], orthonormal
    flat = points @ plane.T
    if not len(plane):
        return np.zeros(1, int)
    if len(plane) == 1:
        return np.unique([np.argmin(flat), np.argmax(flat)])
    if len(flat) == len(plane) + 1:
        return np.arange(len(flat))
    return np.sort(scipy.spatial.ConvexHull(flat).vertices)
