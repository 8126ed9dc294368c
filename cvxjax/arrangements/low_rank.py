"""Low-rank data: few activation patterns, and what the approximation costs.

Let Z be the rank-k truncated singular value decomposition of X, s = ||X - Z||_2 its
first dropped singular value, p and p_k the optima of the network on X and on Z. For a
convex loss with L >= 0,

    p <= p_k <= (1 + R s / beta) p,    R = ||gradient of L at the rank-k predictions||.

The left side: the rank-k optimum has weights in the row space of Z, where X u = Z u,
so the same network costs p_k on X. The right side: v = -gradient is optimal for the
dual of p_k, so p_k = -L*(-v) and v^T (Z u)_+ <= beta for ||u|| <= 1, of either sign.
Then |v^T (X u)_+| <= beta + R s, since (.)_+ is 1-Lipschitz; v / (1 + R s / beta) is
feasible for the dual of p; and -L*(-t v) >= t p_k for 0 <= t <= 1, because the dual
objective is concave and -L*(0) = inf L >= 0.

A loss that is Lipschitz in l2 has its constant as R. The squared loss is not; its R is
the norm of the residual, ||Z-predictions - y|| <= sqrt(2 p_k) <= ||y||.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from cvxjax.arrangements.exact import enumerate_patterns
from cvxjax.arrangements.patterns import (
    Patterns,
    check_data,
    count_bound,
    find_lines,
    unit,
)
from cvxjax.record import Record, static

Array = jax.Array

_ROUNDING = 8  # times d eps: rows of Z this small against those of X are zero


class LowRank(Record):
    """Data of rank k in place of X, and the patterns of those data.

    Train on `data` with `patterns`; use the weights on X. Weights that a solver left
    outside the row space are brought back by `project`, which changes nothing on
    `data` and lowers their norm.
    """

    data: Array  # [n, d], the truncation Z
    basis: Array  # [d, k], orthonormal, of the row space of Z
    patterns: Patterns | None  # all of `data`; None if they may be too many
    error: float = static()  # ||X - data||_2, in float64

    @property
    def rank(self) -> int:
        return self.basis.shape[1]

    def project(self, w: ArrayLike) -> Array:
        """The nearest weights in the row space of `data`, [..., d]."""
        given, basis = np.asarray(w), np.asarray(self.basis)
        return jnp.asarray((given @ basis) @ basis.T)

    def factor(self, lipschitz: float, *, beta: float) -> float:
        """f = 1 + lipschitz error / beta, with p <= p_k <= f p.

        So a lower bound of p_k, such as a certificate's, is one of p once divided by f.
        That bound is over all networks on X only if `patterns` were all those of
        `data`.

        Args:
          lipschitz: of the loss in l2, or `local_lipschitz` at the rank-k optimum.
          beta: > 0, as in `make_two_layer`.

        Raises:
          ValueError: if an argument is out of range.

        Source: the module's docstring; for Lipschitz losses, the talk of Pilanci.
        """
        if not (np.isfinite(lipschitz) and lipschitz >= 0):
            raise ValueError(f"want a finite lipschitz >= 0; got {lipschitz}")
        if not (np.isfinite(beta) and beta > 0):
            raise ValueError(f"want a finite beta > 0; got {beta}")
        return 1 + float(lipschitz) * self.error / float(beta)


def local_lipschitz(
    gradient: ArrayLike, *, excess: float = 0.0, smoothness: float = 1.0
) -> float:
    """An upper bound of R, from predictions that are optimal up to `excess`.

    Returns ||gradient|| + sqrt(2 smoothness excess). With a loss whose gradient is
    smoothness-Lipschitz, the dual objective is 1/smoothness-strongly concave: its
    optimum is at most that root away from minus the gradient at any primal point.

    Args:
      gradient: [n], of the loss at the predictions; squared loss: the residual.
      excess: objective minus a lower bound of p_k, >= 0: the certificate's, unscaled.
      smoothness: the loss's, `loss.smoothness`.

    Raises:
      ValueError: if an argument is out of range.
    """
    slope = np.asarray(gradient, np.float64)
    if slope.ndim != 1 or not np.all(np.isfinite(slope)):
        raise ValueError(f"want a finite gradient [n]; got shape {slope.shape}")
    if not (np.isfinite(excess) and excess >= 0):
        raise ValueError(f"want a finite excess >= 0; got {excess}")
    if not (np.isfinite(smoothness) and smoothness > 0):
        raise ValueError(f"want a finite smoothness > 0; got {smoothness}")
    return float(np.linalg.norm(slope) + np.sqrt(2 * smoothness * excess))


def low_rank(X: ArrayLike, rank: int, *, limit: int = 20_000) -> LowRank:
    """The nearest data of rank k to `X` in the spectral norm, with their patterns.

    n points of rank k have at most 2 sum_{j < k} C(n - 1, j) patterns. They are found
    in the k coordinates X V, V = `basis`, where the rank is exact. A bias column of X
    is approximated like any other.

    Args:
      X: [n, d], taken as exact; the truncation is computed in float64.
      rank: k >= 1; more than the rank of X counts as the rank of X.
      limit: largest `count_bound` that is enumerated. Beyond it `patterns` is None:
        sample them, `sample_patterns(key, low.data, num=...)`.

    Returns:
      LowRank; `patterns` have scope EXHAUSTIVE, of `data`, not of X. `data` is X
      itself, and `error` is 0, if nothing is cut off.

    Raises:
      ValueError: if X is not a matrix of finite numbers, or rank not an integer >= 1.

    Source: Eckart & Young (1936) for the truncation.
    """
    data = check_data(X)
    if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or rank < 1:
        raise ValueError(f"want rank, an integer >= 1; got {rank!r}")
    exact = data.astype(np.float64)
    _, values, rows = np.linalg.svd(exact, full_matrices=False)
    floor = max(data.shape) * np.finfo(data.dtype).eps * values[0]
    full = max(1, int(np.sum(values > floor)))
    k = min(int(rank), full)
    basis = rows[:k].T
    if k == full:
        near, coordinates = data, exact @ basis
    else:
        coordinates = exact @ basis
        # A row orthogonal to the basis comes out as rounding, whose sign is noise.
        small = _ROUNDING * data.shape[1] * np.finfo(data.dtype).eps
        lengths = np.linalg.norm(exact, axis=1)
        lost = np.linalg.norm(coordinates, axis=1) <= small * lengths
        coordinates[lost] = 0
        near = (coordinates @ basis.T).astype(data.dtype)
    error = 0.0 if k == full else float(np.linalg.norm(exact - near, 2))
    return LowRank(
        data=jnp.asarray(near),
        basis=jnp.asarray(basis.astype(data.dtype)),
        patterns=_patterns(near, coordinates.astype(data.dtype), basis, limit),
        error=error,
    )


def _patterns(
    data: np.ndarray, coordinates: np.ndarray, basis: np.ndarray, limit: int
) -> Patterns | None:
    """Every pattern of the coordinates [n, k], with gates in R^d; None if too many."""
    lines = find_lines(coordinates).directions
    if count_bound(*lines.shape) > limit:
        return None
    found = enumerate_patterns(coordinates, limit=limit)
    gates = unit(np.asarray(found.gates, np.float64) @ basis.T)
    return found.replace(gates=jnp.asarray(gates.astype(data.dtype)))
