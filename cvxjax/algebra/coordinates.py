"""Coordinates in which the columns of data are orthonormal, whatever their units are.

A column of years beside a column of ones, or prices beside rates, makes cones and
products ill conditioned, though the networks of such data are not. With X = Q S and
parameters w = T w', S T = I, the predictions X w = Q w' and the cones are those of Q,
and the norm becomes that of an ellipsoid, ||w|| = ||T w'||.

Q, S and T are computed in extended precision where the machine has it, so that a small
variation on a large offset keeps its digits.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

_EXTENDED_WORK = 1e8  # largest n d^2 for which extended precision is used
_PASSES = 2  # of Gram-Schmidt; twice is enough for orthogonality to rounding


class Coordinates(NamedTuple):
    """X = Q S with orthonormal Q; T is the pseudo-inverse of S."""

    Q: np.ndarray  # [n, r], float64
    S: np.ndarray  # [r, d]
    T: np.ndarray  # [d, r]

    @property
    def distortion(self) -> float:
        """The condition number of S, which is that of X."""
        values = np.linalg.svd(self.S, compute_uv=False)
        return float(values[0] / values[-1]) if values[-1] > 0 else np.inf


def orthonormal(X: np.ndarray) -> Coordinates:
    """The coordinates of data X [n, d], by Gram-Schmidt with column pivoting.

    The numerical rank r is reached when what is left of every column is below
    max(n, d) machine epsilons of its length.
    """
    n, d = X.shape
    extended = n * d * d <= _EXTENDED_WORK
    rest = X.astype(np.longdouble if extended else np.float64)
    sizes = np.max(np.abs(rest), axis=0)
    exponents = np.frexp(np.where(sizes > 0, sizes, 1))[1]
    rest = np.ldexp(rest, -exponents)
    lengths = np.sqrt(np.sum(rest * rest, axis=0))
    floor = max(n, d) * np.finfo(np.float64).eps * lengths
    Q = np.zeros((n, 0), rest.dtype)
    R = np.zeros((0, d), rest.dtype)
    chosen: list[int] = []
    while len(chosen) < min(n, d):
        left = np.sqrt(np.sum(rest * rest, axis=0))
        left[chosen] = 0
        ratio = np.where(left > floor, left / np.where(lengths > 0, lengths, 1), 0)
        pivot = int(np.argmax(ratio))
        if ratio[pivot] == 0:
            break
        column = rest[:, pivot] / left[pivot]
        for _ in range(_PASSES):
            column = column - Q @ (Q.T @ column)
            column = column / np.sqrt(column @ column)
        row = column @ rest
        row[chosen] = 0
        rest = rest - column[:, None] * row
        rest[:, pivot] = 0
        Q, R = np.hstack([Q, column[:, None]]), np.vstack([R, row])
        chosen.append(pivot)
    S = np.ldexp(R, exponents)
    if len(chosen) == d:
        inverse = np.empty_like(R)
        inverse[chosen] = _upper_inverse(R[:, chosen])
        T = np.ldexp(inverse, -exponents[:, None])
    else:
        T = _right_inverse(S.astype(np.float64))
    return Coordinates(
        Q=Q.astype(np.float64), S=S.astype(np.float64), T=T.astype(np.float64)
    )


def _upper_inverse(R: np.ndarray) -> np.ndarray:
    """R^{-1} of an upper triangular R [r, r], in its precision."""
    inverse = np.eye(len(R), dtype=R.dtype)
    for i in range(len(R) - 1, -1, -1):
        inverse[i] = (inverse[i] - R[i, i + 1 :] @ inverse[i + 1 :]) / R[i, i]
    return inverse


def _right_inverse(S: np.ndarray) -> np.ndarray:
    """S^+ of S [r, d], of rank r < d: S^+ w' is the shortest w with S w = w'."""
    lengths = np.linalg.norm(S, axis=1)
    basis, upper = np.linalg.qr((S / lengths[:, None]).T)
    return np.linalg.solve(upper, basis.T).T / lengths
