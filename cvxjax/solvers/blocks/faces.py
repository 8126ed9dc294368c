"""Blocks of a program over sign cones in NumPy: maps, cones, projections onto them.

The block b has predictions F_b w_b, F_b = +-D X or a given matrix, and the cone
A_b w_b >= 0 with unit rows. The projection onto the cone lies on a face
{w : A_T w = 0}, and as long as the face T stays the same, the projection is the linear
map N N^T onto it.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
import scipy

_RANK = 1e-9  # singular values of unit rows below this count as zero
_INDEPENDENT = 1e-7  # diagonals of R above this: QR will do
_FEASIBLE = 1e-14  # A w of a unit vector above minus this counts as >= 0
_SOUND = 1e-12  # multipliers of a unit vector above minus this count as >= 0
_ATTEMPTS = 20  # at one projection


class Face(NamedTuple):
    """{w : A_T w = 0} and how the multipliers of a projection onto it are found."""

    rows: np.ndarray  # [m], int, T
    basis: np.ndarray  # [d, k], N, orthonormal
    solve: np.ndarray  # [m, d]: mu_T = solve x


def make_blocks(program: Any) -> HostBlocks:
    """The blocks of a program that has them by X and masks, or by matrices."""
    return HostBlocks(program) if program.features is None else GivenBlocks(program)


class HostBlocks:
    """Every block of one two-layer program, numbered as its flattened [2 P]."""

    def __init__(self, program: Any) -> None:
        self.X, self.masks = np.asarray(program.X), np.asarray(program.masks)
        self.signs = np.broadcast_to(program.signs, program.shape[:2]).ravel()
        self.pattern = np.arange(len(self.signs)) % len(self.masks)
        cones, d = program.cones, program.shape[-1]
        rows = np.zeros((0, d)) if cones is None else np.asarray(cones.rows)
        self.live = np.flatnonzero(np.any(rows != 0, axis=1))
        self.rows, self.sides = rows[self.live], self.masks[:, self.live]
        self.turns = np.where(self.sides, 1.0, -1.0)
        self.whole = Face(np.zeros(0, int), np.eye(d), np.zeros((0, d)))
        self.faces: dict[int, Face] = {}

    def features(self, blocks: np.ndarray, bases: list[np.ndarray]) -> np.ndarray:
        """F_b N_b beside each other, [n, sum k_b], for N_b [d, k_b]."""
        which = np.repeat(blocks, [basis.shape[1] for basis in bases])
        values = self.X @ np.hstack(bases)
        return (
            np.where(self.masks[self.pattern[which]].T, values, 0) * self.signs[which]
        )

    def predict(self, blocks: np.ndarray, w: np.ndarray) -> np.ndarray:
        """sum_b F_b w_b over some blocks, [n], for w [k, d]."""
        values = np.where(self.masks[self.pattern[blocks]], w @ self.X.T, 0)
        return self.signs[blocks] @ values

    def adjoint(self, v: np.ndarray) -> np.ndarray:
        """F_b^T v of every block, [2 P, d]."""
        moved = np.where(self.masks, v, 0) @ self.X
        return self.signs[:, None] * moved[self.pattern]

    def bend(self, blocks: np.ndarray, multipliers: np.ndarray) -> np.ndarray:
        """A_b^T mu_b of some blocks, [k, d], for mu [k, m]."""
        sides = self.sides[self.pattern[blocks]]
        return np.where(sides, multipliers, -multipliers) @ self.rows

    def project(self, block: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The point of the cone nearest to x [d], x + A^T mu, and mu [m].

        The block's last face is tried first, then NNLS on the rows nearest to it, to
        which violated ones are added. Where that fails, the point is zero.
        """
        sign = self.turns[self.pattern[block]]
        size, least = np.sqrt(x @ x), 2 * len(x)
        face = self.faces.get(block, self.whole)
        near = np.zeros(len(sign), bool)
        near[face.rows] = True
        for _ in range(_ATTEMPTS):
            part = face.solve @ x
            point = face.basis @ (face.basis.T @ x)
            slacks = sign * (self.rows @ point)
            sound = len(part) == 0 or part.min() >= -_SOUND * size
            feasible = len(slacks) == 0 or slacks.min() >= -_FEASIBLE * size
            if sound and feasible:
                self.faces[block], mu = face, np.zeros(len(sign))
                mu[face.rows] = np.maximum(part, 0)
                return point, mu
            short = slacks < -_FEASIBLE * size
            if sound and near[short].all():  # NNLS misses them by rounding
                rows = np.union1d(face.rows, np.flatnonzero(short))
            else:
                near[np.argpartition(slacks, min(least, len(slacks) - 1))[:least]] = (
                    True
                )
                (rows,) = np.nonzero(near)
                signed = self.rows[rows] * sign[rows, None]
                rows = rows[_support(signed, x / size)]
            face = _face(self.rows[rows] * sign[rows, None], rows)
        return 0 * x, np.zeros(len(sign))


class GivenBlocks(HostBlocks):
    """Every block of a program of matrices F_p, `BlockProgram`."""

    def __init__(self, program: Any) -> None:
        super().__init__(program)
        self.matrices = np.asarray(program.features)

    def features(self, blocks: np.ndarray, bases: list[np.ndarray]) -> np.ndarray:
        pairs = zip(blocks, bases, strict=True)
        return np.hstack(
            [self.signs[b] * (self.matrices[self.pattern[b]] @ N) for b, N in pairs]
        )

    def predict(self, blocks: np.ndarray, w: np.ndarray) -> np.ndarray:
        both = np.zeros((len(self.masks), w.shape[1]))
        np.add.at(both, self.pattern[blocks], self.signs[blocks, None] * w)
        (used,) = np.nonzero(np.any(both != 0, axis=1))
        return np.einsum("knd,kd->n", self.matrices[used], both[used], optimize=True)

    def adjoint(self, v: np.ndarray) -> np.ndarray:
        moved = v @ self.matrices
        return self.signs[:, None] * moved[self.pattern]


def _support(rows: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Which multipliers of argmin_{mu >= 0} ||x + A^T mu|| are not zero."""
    try:
        return scipy.optimize.nnls(rows.T, -x)[0] > 0
    except RuntimeError:
        return np.zeros(len(rows), bool)


def _face(signed: np.ndarray, rows: np.ndarray) -> Face:
    """The face of some rows, by QR; by singular values if they are dependent."""
    m, d = signed.shape
    if 0 < m <= d:
        q, r = np.linalg.qr(signed.T, mode="complete")
        if np.abs(np.diagonal(r)).min() > _INDEPENDENT:
            return Face(rows, q[:, m:], -_trtrs()(r[:m], q[:, :m].T)[0])
    left, values, right = np.linalg.svd(signed.T)
    rank = int(np.sum(values > _RANK))
    solve = -(right[:rank].T / values[:rank]) @ left[:, :rank].T
    return Face(rows, left[:, rank:], solve)


@functools.cache
def _trtrs() -> Any:
    """LAPACK's triangular solve, without the checks of `solve_triangular`."""
    return scipy.linalg.get_lapack_funcs(("trtrs",), dtype=np.float64)[0]
