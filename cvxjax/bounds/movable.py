"""A dual vector that a search for better bounds moves, with the rows that matter.

Entries of v change in size, never in sign, since the relaxations are made for signs.
The slope of the dual value -L*(-v) is a prediction z, which a proximal-point iteration
follows, so that any loss will do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from cvxjax.bounds.relaxed import significant

if TYPE_CHECKING:
    from cvxjax.interfaces import Loss

_NEGLIGIBLE = 1e-9  # relative size of entries of v that are set to zero
_PROX = 10.0  # step of the proximal-point iteration for the loss's minimiser


class Movable:
    """The entries of v that are not negligible, and their rows.

    Rows are divided by `unit`, a power of two, so that float32 holds them; prices of
    all methods are in this unit. Equal rows whose v_i have the same sign are one.

    Args:
      X: [n K, d], K rows of each sample one after another, which share its v_i.
      y: [n], labels.
      v: [n], in the loss's dual domain.
      loss: L.
      beta: > 0.
    """

    def __init__(
        self, X: np.ndarray, y: np.ndarray, v: np.ndarray, *, loss: Loss, beta: float
    ) -> None:
        self.lengths, self.width = np.linalg.norm(X, axis=1), X.shape[1]
        self.K = len(X) // len(v)
        longest = float(np.max(self.lengths, initial=0.0))
        self.unit = 2.0 ** np.floor(np.log2(longest)) if longest > 0 else 1.0
        self.loss, self.beta, self.y = loss, beta / self.unit, y
        sizes = np.abs(v) * self.lengths.reshape(-1, self.K).sum(axis=1)
        self.keep = sizes > _NEGLIGIBLE * np.max(sizes)
        self.start = v[self.keep]
        self.used = np.repeat(self.keep, self.K)
        given = X[self.used] / self.unit
        rows, weights, self.matter, _ = significant(
            given, np.repeat(self.start, self.K)
        )
        self.used[self.used] = self.matter
        first, self.group = _equal(given[self.matter], np.sign(weights))
        self.rows, self.weights = rows[first], self._summed(weights)
        self._z = np.asarray(y, float).copy()

    @property
    def empty(self) -> bool:
        """Whether nothing of v is left."""
        return not np.any(self.keep)

    def on_rows(self, now: np.ndarray) -> np.ndarray:
        """The weights of `rows` for the entries that are kept."""
        return self._summed(np.repeat(now, self.K)[self.matter])

    def _summed(self, weights: np.ndarray) -> np.ndarray:
        """The weights of groups of equal rows, from those of all that matter."""
        return np.bincount(self.group, weights)

    def scaled(self, now: np.ndarray, price: float) -> tuple[np.ndarray, float]:
        """The vector [n] whose price is beta if that of `now` is `price`; its value."""
        full = np.zeros(len(self.y))
        full[self.keep] = now
        scaled = -self.loss.clip_dual(-self.beta / price * full, self.y)
        return scaled, -float(self.loss.conjugate(-scaled, self.y))

    def follow(self, scaled: np.ndarray) -> None:
        """One step of z towards the slope of -L*(-v) at a vector [n]."""
        self._z = self.loss.prox(self._z - _PROX * scaled, self.y, _PROX)

    def slope(self, now: np.ndarray, price: float, rise: np.ndarray) -> np.ndarray:
        """The slope of the scaled vector's dual value, in the entries that are kept.

        Args:
          now: those entries.
          price: a bound of their price.
          rise: its slope in the weights of `rows`.
        """
        of_rows = np.zeros(len(self.matter))
        of_rows[self.matter] = rise[self.group]
        rise = of_rows.reshape(-1, self.K).sum(axis=1)
        z = self._z[self.keep]
        return self.beta / price * (z - (z @ now) / price * rise)

    def keeps_signs(self, vector: np.ndarray) -> bool:
        """Whether a vector [n] has the signs that the relaxations were made for."""
        v = self.on_rows(vector[self.keep])
        return bool(np.all(np.sign(v) == np.sign(self.weights)))

    def extra(self, vector: np.ndarray) -> float:
        """What rows that were left out, and rounding, add to the price of [n].

        This one is not in units of `unit`.
        """
        v = np.abs(np.repeat(vector, self.K))
        extra = float(v[~self.used] @ self.lengths[~self.used])
        if self.rows.shape[1] < self.width:
            extra += 8 * self.width * np.finfo(float).eps * float(v @ self.lengths)
        return extra


def _equal(rows: np.ndarray, signs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first of each group of equal rows and signs, and the group of each row."""
    keys = np.column_stack([rows, signs]) + 0.0  # -0 is 0
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    if len(first) == len(rows):
        return np.arange(len(rows)), np.arange(len(rows))
    return first, group.ravel()
