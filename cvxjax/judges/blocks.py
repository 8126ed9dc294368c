"""The judge of `forms.blocks`: vector blocks with a matrix for each pattern."""

from __future__ import annotations

import dataclasses

import numpy as np
import scipy

from cvxjax.algebra.rounding import SPECTRAL, gauge_rounding, lengths, terms_of
from cvxjax.judges.cones import ConeJudge


@dataclasses.dataclass(frozen=True, kw_only=True)
class BlockJudge(ConeJudge):
    """sum_sp s F_p w_sp, norms of the blocks, and cones A_p w_sp >= 0."""

    features: np.ndarray  # [P, n, d], float64
    signs: np.ndarray  # [S, P]: 1 and -1; of selected blocks S = 1, 0 for padding
    norm: str  # "group", "pairs" or "nuclear", of `cvxjax.regularisers`
    shape: tuple[int, int] | None  # of a block as a matrix; for "nuclear" only
    rows: np.ndarray | None  # A [P, m, d], or [m, d] with `masks`; None: no cones
    masks: np.ndarray | None  # [P, m], bool: rows [m, d] have signs -1 where False

    @property
    def reach(self) -> np.ndarray:
        return np.max(lengths(self.features), axis=0)

    @property
    def width(self) -> int:
        return self.features.shape[2]

    @property
    def terms(self) -> int:
        n, d = self.features.shape[1:]
        walls = 0 if self.rows is None else self.rows.shape[-2]
        size = d if self.norm != "nuclear" else SPECTRAL * sum(self._matrix())
        return terms_of(n, walls, size)

    def predict(self, params: np.ndarray) -> np.ndarray:
        both = np.sum(self.signs[..., None] * params, axis=0)
        return np.einsum("pnd,pd->n", self.features, both)

    def penalty(self, params: np.ndarray) -> float:
        if self.norm == "nuclear":
            matrices = params.reshape(-1, *self._matrix())
            return float(np.sum(np.linalg.svd(matrices, compute_uv=False)))
        size = 2 if self.norm == "pairs" else params.shape[-1]
        return float(np.sum(lengths(params.reshape(-1, size))))

    def _matrix(self) -> tuple[int, int]:
        if self.shape is None:
            raise ValueError("want the shape of the matrix in a block; got None")
        return self.shape

    def dual_norms(self, q: np.ndarray) -> np.ndarray:
        if self.norm == "nuclear":
            matrices = q.reshape(*q.shape[:-1], *self._matrix())
            return np.linalg.svd(matrices, compute_uv=False)[..., 0]
        if self.norm == "pairs":
            pairs = q.reshape(*q.shape[:-1], -1, 2)
            return np.max(lengths(pairs), axis=-1)
        return lengths(q)

    def chunks(self) -> list[slice]:
        return [slice(i, i + 1) for i in range(len(self.features))]

    def adjoint(self, v: np.ndarray) -> np.ndarray:
        return self.signs[..., None] * np.einsum("pnd,n->pd", self.features, v)

    def maps(self, s: int, i: int, v: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return self.signs[s, i] * v, self.features[i]

    def cone_rows(self, i: int) -> np.ndarray:
        assert self.rows is not None
        if self.masks is None:
            return self.rows[i]
        return np.where(self.masks[i][:, None], self.rows, -self.rows)

    def least(self, q: np.ndarray, i: int, known: float) -> tuple[np.ndarray, float]:
        mu, least = super().least(q, i, known)
        if self.norm == "pairs":
            least = _pair_distance(q, self.unit_rows(i)[0], known)
        return mu, least


def _pair_distance(q: np.ndarray, signed: np.ndarray, known: float) -> float:
    """An upper bound of min_{mu >= 0} max_k ||(q + A^T mu)_pair k||, near the minimum.

    SLSQP minimises t over t^2 >= ||.||^2 for every pair, from several starts, since it
    may end early. Whatever mu it ends at gives a bound, to which rounding is added.

    Args:
      q: [d], d / 2 pairs of entries.
      signed: A, [m, d], rows of length 1 or 0.
      known: an upper bound, returned if none is lower.
    """
    size = float(lengths(q))
    if size == 0:
        return 0.0
    q = q / size
    terms = terms_of(0, *signed.shape)
    pairs = lambda mu: (q + mu @ signed).reshape(-1, 2)  # noqa: E731
    worst = lambda mu: float(np.max(np.linalg.norm(pairs(mu), axis=1)))  # noqa: E731
    groups = signed.reshape(len(signed), -1, 2)

    def room(x: np.ndarray) -> np.ndarray:
        return x[0] ** 2 - np.sum(pairs(x[1:]) ** 2, axis=1)

    def slope(x: np.ndarray) -> np.ndarray:
        inner = -2 * np.einsum("mkj,kj->km", groups, pairs(x[1:]))
        return np.hstack([np.full((len(inner), 1), 2 * x[0]), inner])

    least = worst(np.zeros(len(signed)))
    for first in (
        scipy.optimize.nnls(signed.T, -q)[0],
        np.full(len(signed), 0.1),
        np.zeros(len(signed)),
    ):
        result = scipy.optimize.minimize(
            lambda x: x[0],
            np.append(worst(first), first),
            jac=lambda x: np.eye(len(x))[0],
            bounds=[(0, None)] * (1 + len(signed)),
            constraints={"type": "ineq", "fun": room, "jac": slope},
            method="SLSQP",
            options={"ftol": 1e-15, "maxiter": 500},
        )
        mu = np.maximum(np.nan_to_num(result.x[1:]), 0)
        rounding = gauge_rounding(terms, 1 + float(np.sum(mu)))
        least = min(least, worst(mu) + rounding)
    return min(known, size * least)
