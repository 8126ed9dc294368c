"""Products with the matrices D_i X of gates, and the prices of all of them.

The predictions of blocks b_i are sum_i D_i X b_i, row by row the inner product of X
with M^T b, for masks M [k, n]; the transposed map is M (v * X). Both are one product of
matrices, and only the chosen gates' masks are ever stored as numbers.

The price of gate i at v is ||X^T D_i v||. Single precision rules out most gates: with
sums of at most `_ROWS` terms, added up in float64, an entry is off by gamma_t times the
sum of its terms' absolute values, t in units of float32. What is left is priced in
float64.
"""

from __future__ import annotations

import numpy as np

from cvxjax.algebra import rounding
from cvxjax.solvers.host_bounds import HostBounds

_ROWS = 1024  # of a sum in single precision
_GATES = 256  # whose masks are numbers at once
_SINGLE = 2.0**-24  # the unit roundoff of float32


def gate_prices(
    X: np.ndarray, masks: np.ndarray, v: np.ndarray, judged: HostBounds
) -> tuple[np.ndarray, float]:
    """The prices of all gates: each nearly, the largest from above.

    Args:
      X: [n, d], float64.
      masks: [P, n], bool.
      v: [n], a dual vector.
      judged: bounds of the program.

    Returns:
      Prices [P], in float64 only where they may be the largest, and an upper bound of
      all of them, rounding included.
    """
    size = _size(v) * _size(X)
    rows = ((v / _size(v))[:, None] * (X / _size(X))).astype(np.float32)
    pulled = np.zeros((len(masks), X.shape[1]))
    for first in range(0, len(masks), _GATES):
        gates = slice(first, first + _GATES)
        for start in range(0, len(X), _ROWS):
            part = slice(start, start + _ROWS)
            pulled[gates] += masks[gates, part].astype(np.float32) @ rows[part]
    prices = size * np.linalg.norm(pulled, axis=1)
    terms = rounding.terms_of(min(_ROWS, len(X)), 0, X.shape[1])
    miss = rounding.gamma(terms, _SINGLE) * rounding.pulled(v, judged.reach)
    (near,) = np.nonzero(prices >= prices.max(initial=0) - 2 * miss)
    wide = v[:, None] * X
    for first in range(0, len(near), _GATES):
        gates = near[first : first + _GATES]
        prices[gates] = np.linalg.norm(masks[gates].astype(float) @ wide, axis=1)
    return prices, float(prices[near].max(initial=0) + judged.rounding(v))


class ChosenGates:
    """The maps of some gates, and the curvature of the loss along their blocks.

    Args:
      X: [n, d], float64.
      masks: [k, n], bool, of the gates.
    """

    def __init__(self, X: np.ndarray, masks: np.ndarray) -> None:
        self.X, self.masks = X, masks.astype(float)
        self._unit = _size(X)
        self._X, self._masks = (X / self._unit).astype("f4"), masks.astype("f4")
        self._columns = np.ascontiguousarray(self._X.T)

    def forward(self, blocks: np.ndarray, used: np.ndarray) -> np.ndarray:
        """sum_k D_k X b_k, [n], over the used blocks [used] of [k, d]."""
        return np.einsum("nd,nd->n", self.masks[used].T @ blocks[used], self.X)

    def adjoint(self, v: np.ndarray) -> np.ndarray:
        """X^T D_k v of every gate, [k, d]."""
        return self.masks @ (v[:, None] * self.X)

    def shares(self, weights: np.ndarray) -> np.ndarray:
        """Which share of the weights [n] each gate lets pass, [k]."""
        total = weights.sum()
        return self.masks @ weights / (total if total > 0 else 1)

    def curved(self, used: np.ndarray, weights: np.ndarray) -> CurvedGates:
        """The map x -> F^T diag(weights) F x of the used gates, in float32."""
        largest = _size(weights)
        rows = (weights / largest)[:, None] * self._X
        return CurvedGates(
            self._masks[used], self._X, rows.astype("f4"), largest * self._unit**2
        )

    def model(self, v: np.ndarray, weights: np.ndarray) -> GateModel:
        """The model of a loss of gradient -v and curvatures `weights`, in float32."""
        return GateModel(self._masks, self._columns, self._unit, v, weights)


class GateModel:
    """A quadratic model of the loss, as blocks move one after the other.

    Args:
      masks: [k, n], float32.
      columns: [d, n], X^T in units of order one, float32.
      unit: of X.
      v: [n], minus the gradient.
      weights: [n], the curvatures, >= 0.
    """

    def __init__(
        self,
        masks: np.ndarray,
        columns: np.ndarray,
        unit: float,
        v: np.ndarray,
        weights: np.ndarray,
    ) -> None:
        self.masks, self.columns, self.unit = masks, columns, unit
        self.size, self.largest = _size(v), _size(weights)
        self.left = (v / self.size).astype("f4")
        self.weights = (weights / self.largest).astype("f4")

    def pull(self, gate: int) -> np.ndarray:
        """Minus the model's gradient in the gate's block, [d]."""
        return (self.size * self.unit) * (self.columns @ (self.masks[gate] * self.left))

    def bend(self, gate: int, direction: np.ndarray) -> tuple[float, np.ndarray]:
        """The curvature along a direction [d] of the block, and the gradient's change.

        The change [n] is in units of the model's own.
        """
        fit = self.masks[gate] * (direction.astype("f4") @ self.columns)
        change = self.weights * fit
        return float(fit @ change) * self.largest * self.unit**2, change

    def move(self, length: float, change: np.ndarray) -> None:
        """Moves by `length` along the direction that `bend` gave the change of."""
        self.left -= (length * self.largest * self.unit / self.size) * change


class CurvedGates:
    """x -> F^T diag(weights) F x, for x [k, d], in single precision.

    Args:
      masks: [k, n].
      X: [n, d], in units of order one.
      rows: [n, d], those of X times the weights, likewise.
      unit: what the map is to be multiplied with.
    """

    def __init__(
        self, masks: np.ndarray, X: np.ndarray, rows: np.ndarray, unit: float
    ) -> None:
        self.masks, self.X, self.rows, self.unit = masks, X, rows, unit

    def __call__(self, x: np.ndarray) -> np.ndarray:
        size = _size(x)
        fit = np.einsum("nd,nd->n", self.masks.T @ (x / size).astype("f4"), self.X)
        return (size * self.unit) * (self.masks @ (fit[:, None] * self.rows))


def _size(x: np.ndarray) -> float:
    """The largest absolute value; 1 for zero and what is not finite."""
    largest = float(np.max(np.abs(x), initial=0))
    return largest if 0 < largest < np.inf else 1.0
