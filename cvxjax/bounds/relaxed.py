"""An upper bound of v^T (X u)_+ over ||u|| <= 1, for any rank; NumPy only.

With a = X u the function is v^T a / 2 + sum_i v_i |a_i| / 2. Before the convex terms
v_i > 0 are relaxed, the concave ones are subtracted from them: for any numbers B_ki
whose absolute values add up to at most |v_k| over i, the triangle inequality gives

    sum_{v_i > 0} v_i |x_i^T u| - sum_{v_k < 0} |v_k| |x_k^T u|
        <= sum_i |d_i^T u| - sum_k left_k |x_k^T u|,   d_i = v_i x_i - sum_k B_ki x_k,

where left_k is what B leaves of |v_k|. Then |d^T u| <= ((d^T u)^2 / c + c) / 2 for any
c > 0, and -|a| <= -t a for |t| <= 1 and -|a| <= -a^2 / ||x|| on the ball. What remains,

    maximise  p^T u + u^T Q u + const   subject to  ||u|| <= 1,

is bounded by lambda + p^T (lambda I - Q)^{-1} p / 4 + const for every lambda above the
eigenvalues of Q. This is jointly convex in (B, c, t, lambda) and in v. Adam improves
it, and every iterate is a bound in exact arithmetic. For rounding, 16 (n + d) u times
the sum of all its parts is added: more than any error that was seen, but an estimate,
not derived as the terms of `algebra.rounding` are.

Source: Shor (1987) for the quadratic dual; the use of B is ours.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from cvxjax.bounds.balls import balls
from cvxjax.bounds.budget import Budget

Array = np.ndarray

STEPS = 800
_RATE = 0.03  # of log c, at first; it falls to a hundredth of that
_LOGIT_RATE = 0.15  # of `Relaxation.logits`, likewise
_SMOOTHING = 1e-2, 1e-5  # of the largest eigenvalue, first and last, in units of 1 / d
_MOST = 1 << 20  # elements of B, with both signs
_NEGLIGIBLE = 1e-12  # relative size of entries of v that are bounded one by one
_LINEAR = 3  # first columns of the shares of |v_k|: t = 1, t = -1, and -a^2 / ||x||


class Adam:
    """The optimiser Adam in NumPy, for several arrays, each known by a name."""

    def __init__(self) -> None:
        self._count: dict[str, int] = {}
        self._mean: dict[str, Array] = {}
        self._square: dict[str, Array] = {}

    def move(self, name: str, slope: Array, rate: float) -> Array:
        """The step to add to the array `name`, whose gradient is `slope`."""
        k = self._count[name] = self._count.get(name, 0) + 1
        mean = self._mean.setdefault(name, np.zeros_like(slope))
        square = self._square.setdefault(name, np.zeros_like(slope))
        mean *= 0.9
        mean += 0.1 * slope
        square *= 0.99
        square += 0.01 * slope**2
        step = np.sqrt(square)
        step /= np.sqrt(1 - 0.99**k)
        step += 1e-12
        np.divide(mean, step, out=step)
        step *= -rate / (1 - 0.9**k)
        return step


class Slopes(NamedTuple):
    """Derivatives of a `Relaxation`'s bound in its own variables and in v."""

    logits: Array  # [k, 3 + 2 m]
    log_c: Array  # [p]
    v: Array  # [n]


class Relaxation:
    """The bound for one data set and one sign pattern of v, with B, t and c to improve.

    A softmax of `logits` splits each |v_k| into what B takes of it and the shares of
    the other terms; c is relative to |v_i| ||x_i||.

    Args:
      X: [n, d], no zero rows.
      v: [n], no zeros.
      slope: [d], of a linear function that is added; None: 0.
    """

    def __init__(self, X: Array, v: Array, slope: Array | None = None) -> None:
        self.X, self.slope = X, np.zeros(X.shape[1]) if slope is None else slope
        self.lengths = np.linalg.norm(X, axis=1)
        order = np.argsort(-np.abs(v) * self.lengths)
        self.gain, self.cost = order[v[order] > 0], order[v[order] < 0]
        paid = min(len(self.gain), _MOST // (2 * max(1, len(self.cost))))
        self.paid = paid  # how many of the largest positive terms B has columns for
        self.logits = np.zeros((len(self.cost), _LINEAR + 2 * paid))
        self.logits[:, _LINEAR:] -= np.log(max(1, paid))
        self.log_c = np.full(len(self.gain), -0.5 * np.log(X.shape[1]))

    @property
    def parameters(self) -> tuple[Array, Array]:
        """Copies of `logits` and `log_c`."""
        return self.logits.copy(), self.log_c.copy()

    @parameters.setter
    def parameters(self, values: tuple[Array, Array]) -> None:
        self.logits, self.log_c = values

    def cast(self, kind: type) -> None:
        """Changes the dtype of the parameters."""
        self.logits, self.log_c = self.logits.astype(kind), self.log_c.astype(kind)

    def _shares(self) -> Array:
        shares = self.logits - np.max(self.logits, axis=1, keepdims=True)
        np.exp(shares, out=shares)
        shares /= np.sum(shares, axis=1, keepdims=True)
        return shares

    def subtracted(self, v: Array) -> Array:
        """B, for all rows of `cost` and the first ones of `gain`, for v [n]."""
        parts = self._shares()[:, _LINEAR:] * -v[self.cost][:, None]
        return parts[:, : self.paid] - parts[:, self.paid :]

    def bound(self, v: Array, smoothing: float) -> tuple[float, Slopes]:
        """The bound and its derivatives.

        Args:
          v: [n], with the signs that the relaxation was made for.
          smoothing: > 0, of the largest eigenvalue, relative.

        The dtype of the parameters is computed in; only in float64 is it a bound.
        """
        kind, paid, (n, d) = self.logits.dtype, self.paid, self.X.shape
        X, lengths, v = (a.astype(kind, copy=False) for a in (self.X, self.lengths, v))
        gain, cost = v[self.gain], -v[self.cost]
        rows, others = X[self.gain], X[self.cost]
        shares = self._shares()
        parts = shares * cost[:, None]
        B = parts[:, _LINEAR : _LINEAR + paid] - parts[:, _LINEAR + paid :]
        rest = gain[:, None] * rows
        rest[:paid] -= B.T @ others
        c = np.exp(self.log_c) * gain * lengths[self.gain]
        squares = parts[:, 2] / lengths[self.cost]
        p = self.slope + X.T @ v / 2 - others.T @ (parts[:, 0] - parts[:, 1]) / 2
        Q = (rest.T / c) @ rest / 4 - (others.T * squares) @ others / 2

        size = float(np.abs(v) @ lengths) + float(np.linalg.norm(self.slope))
        found = balls(p[None], Q[None], np.asarray([smoothing * size / np.sqrt(d)]))
        value, u, moment = float(found[0][0]), *(x[0].astype(kind) for x in found[1:])
        weight = np.sum(rest**2) if len(c) == 0 else np.sum(np.sum(rest**2, 1) / c)
        scale = 2 * size + float(weight) + float(np.sum(c)) + value
        value += float(np.sum(c)) / 4 + 8 * (n + d) * np.finfo(float).eps * scale

        turned = rest @ moment
        slope_c = (1 - np.sum(turned * rest, axis=1) / c**2) / 4 * c
        slope_rest = turned / (2 * c[:, None])
        slope = np.empty_like(parts)
        slope[:, 0] = -(others @ u) / 2
        slope[:, 1] = -slope[:, 0]
        slope[:, 2] = -np.sum((others @ moment) * others, axis=1) / 2
        slope[:, 2] /= lengths[self.cost]
        slope[:, _LINEAR : _LINEAR + paid] = -others @ slope_rest[:paid].T
        slope[:, _LINEAR + paid :] = -slope[:, _LINEAR : _LINEAR + paid]
        mean = np.einsum("ki,ki->k", shares, slope)
        slope_v = X @ u / 2
        slope_v[self.gain] += np.sum(rows * slope_rest, axis=1) + slope_c / gain
        slope_v[self.cost] -= mean
        slope -= mean[:, None]
        slope *= parts
        return value, Slopes(slope, slope_c, slope_v)

    def improve(self, adam: Adam, name: str, slopes: Slopes, left: float) -> None:
        """One step of Adam.

        Args:
          adam: keeps the moments under names that begin with `name`.
          slopes: from `bound`.
          left: the share of steps still to come, from 1 to 0, for the learning rate.
        """
        rate = left + 0.01
        self.logits += adam.move(name + "B", slopes.logits, _LOGIT_RATE * rate)
        self.log_c += adam.move(name + "c", slopes.log_c, _RATE * rate)


def smoothing_at(left: float) -> float:
    """The smoothing when the share `left` of the steps is still to come."""
    first, last = _SMOOTHING
    return last * (first / last) ** left


def countdown(steps: int, budget: Budget | None) -> Iterator[float]:
    """The share of steps, or of time, still to come: 1 at first, always > 0."""
    yield 1.0
    for k in range(1, steps):
        left = 1 - k / steps
        if budget is not None:
            left = min(left, budget.share_left)
        if left <= 0:
            return
        yield left


def neuron_bound(
    X: Array, v: Array, *, steps: int = STEPS, budget: Budget | None = None
) -> float:
    """An upper bound of max v^T (X u)_+ over ||u|| <= 1.

    Args:
      X: [n, d].
      v: [n].
      steps: of Adam; more make it tighter, and it holds after any number.
      budget: when to stop earlier; one step is made in any case.

    Returns:
      The bound, >= 0; inf for v that is not finite.
    """
    X, v = np.asarray(X, np.float64), np.asarray(v, np.float64)
    if not np.all(np.isfinite(v)):
        return float("inf")
    X, v, _, extra = significant(X, v)
    if not np.any(v > 0):
        return extra
    relaxation, adam, best = Relaxation(X, v), Adam(), np.inf
    for left in countdown(steps, budget):
        value, slopes = relaxation.bound(v, smoothing_at(left))
        best = min(best, value)
        relaxation.improve(adam, "", slopes, left)
    return best + extra


def significant(X: Array, v: Array) -> tuple[Array, Array, Array, float]:
    """Leaves out rows with negligible v_i x_i, and takes at most n coordinates.

    Returns:
      The rows kept [m, k], their v [m], which they are [n], bool, and an upper bound of
      what the others add to v^T (X u)_+.
    """
    sizes = np.abs(v) * np.linalg.norm(X, axis=1)
    keep = sizes > _NEGLIGIBLE * np.max(sizes, initial=0.0)
    extra = float(np.sum(np.maximum(v, 0)[~keep] * np.linalg.norm(X[~keep], axis=1)))
    X, v = X[keep], v[keep]
    n, d = X.shape
    if d > n:
        lengths = np.linalg.norm(X, axis=1)
        X = np.asarray(np.linalg.qr(X.T, mode="r")).T
        extra += 8 * d * np.finfo(float).eps * float(np.abs(v) @ lengths)
    return X, v, keep, extra
