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

_ROUNDING = 8  # rows of Z below this times d eps, relative to X's, are zero


class LowRank(Record):
    """Data Z of rank k that approximate X, and the patterns of Z.

    Make a program of `data` and `patterns`, and use its weights on X. Weights outside
    of the row space of Z should first be projected on it, which changes no prediction
    on Z and lowers their norm.
    """

    data: Array  # [n, d], Z
    basis: Array  # [d, k], orthonormal, of the row space of Z
    patterns: Patterns | None  # all patterns of Z; None if there may be too many
    error: float = static()  # ||X - Z||_2, in float64

    @property
    def rank(self) -> int:
        return self.basis.shape[1]

    def project(self, w: ArrayLike) -> Array:
        """The nearest weights in the row space of `data`, [..., d]."""
        given, basis = np.asarray(w), np.asarray(self.basis)
        return jnp.asarray((given @ basis) @ basis.T)

    def factor(self, lipschitz: float, *, beta: float) -> float:
        """f = 1 + lipschitz error / beta, for which p <= p_k <= f p.

        A lower bound of p_k, such as a certificate's, is one of p after division by f.
        It holds for all networks on X if the program had all patterns of `data`.

        Args:
          lipschitz: the loss's constant in l2, or `local_lipschitz` at the optimum.
          beta: > 0, as in `make_two_layer`.

        Raises:
          ValueError: if an argument is out of range.

        Source: the module's docstring.
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
      gradient: [n], of the loss at the predictions: the residual, if it is squared.
      excess: >= 0, objective minus lower bound, as in a certificate of p_k.
      smoothness: > 0, the loss's attribute of this name.

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
      limit: the most patterns there may be, by `count_bound`. Beyond it `patterns` is
        None: draw some with `sample_patterns(key, low.data, num=...)`.

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
    coordinates, patterns = coordinates.astype(data.dtype), None
    if count_bound(*find_lines(coordinates).directions.shape) <= limit:
        patterns = enumerate_patterns(coordinates, limit=limit)
        gates = unit(np.asarray(patterns.gates, np.float64) @ basis.T)
        patterns = patterns.replace(gates=jnp.asarray(gates.astype(data.dtype)))
    return LowRank(
        data=jnp.asarray(near),
        basis=jnp.asarray(basis.astype(data.dtype)),
        patterns=patterns,
        error=error,
    )
