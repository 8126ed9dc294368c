"""The price of a dual vector: max |v^T (X u)_+| over ||u|| <= 1, and who attains it.

If every pattern is listed, the listed cells are solved in the order of their bounds
||X^T D v||, until these fall below the best value. For rank <= 3, `bounds.exact` proves
the price once the search finds nothing more. Otherwise there is only the search, and
the price it finds is a lower bound.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra.rounding import gauge_rounding, lengths, pulled, terms_of
from cvxjax.bounds.exact import best_neuron, is_exact, passed_over
from cvxjax.solvers.columns.polish import Neuron, Rows, make_rows, polish
from cvxjax.solvers.columns.search import climb
from cvxjax.watch import Watch

_POLISHED = 24  # cells of one sign that are polished after a search
_LISTED = 200  # cells of one sign that are solved in one pricing of a list
_CLOSE = 0.8  # of the best value: points worth polishing
_CHUNK_ELEMENTS = 1 << 24


class Price(NamedTuple):
    """What a pricing found: the price, whether none is higher, neurons above beta."""

    value: float
    proven: bool
    neurons: list[Neuron]  # best first, at most one for each cell


class Oracle:
    """Prices dual vectors of one data set.

    Args:
      X: [n, d].
      listed: masks [P, n] that every price covers.
      complete: whether they are all there are.
      starts: of each search.
      seed: of the starts.
      watch: ends a pricing by `watch.Stopped`.
    """

    def __init__(
        self,
        X: np.ndarray,
        listed: np.ndarray,
        *,
        complete: bool,
        starts: int,
        seed: int,
        watch: Watch | None = None,
    ) -> None:
        self.watch = Watch() if watch is None else watch
        self.X = np.asarray(X, np.float64)
        self.rows: Rows = make_rows(self.X)
        self.listed, self.complete = listed, complete
        self.low_rank = is_exact(self.X)
        self.starts = starts
        self.key = jax.random.key(seed)
        self.unit = jnp.asarray(self.rows.unit)

    @property
    def exact(self) -> bool:
        """Whether it can prove that no price is higher."""
        return self.low_rank or self.complete

    def price(
        self, v: np.ndarray, floor: float, near: np.ndarray, *, prove: bool = False
    ) -> Price:
        """The largest price found of v [n] and of -v.

        Args:
          floor: neurons worth at most that are not returned.
          near: [k, d], points from which to search as well.
          prove: sweep, for rank <= 3, even if the search found neurons.
        """
        found = [self._listed(s * v, floor) for s in (1.0, -1.0)]
        if not self.complete:
            found = [one._replace(proven=False) for one in found]
            found += [self._searched(s * v, floor, near) for s in (1.0, -1.0)]
            if self.low_rank and (prove or not any(one.neurons for one in found)):
                swept = [self._swept(s * v, floor) for s in (1.0, -1.0)]
                found = [one._replace(proven=True) for one in found] + swept
        neurons = [one for price in found for one in price.neurons]
        distinct = {one.mask.tobytes(): one for one in neurons}
        n, d = self.X.shape
        rounding = gauge_rounding(terms_of(n, n, d), pulled(v, lengths(self.X)))
        return Price(
            max(price.value for price in found) + rounding,
            all(price.proven for price in found),
            sorted(distinct.values(), key=lambda one: -one.value),
        )

    def _listed(self, v: np.ndarray, floor: float) -> Price:
        """Cells in the order of ||X^T D v||, until that falls below the best value."""
        size = max(1, _CHUNK_ELEMENTS // self.X.shape[0])
        bounds = [
            np.linalg.norm(np.where(self.listed[i : i + size], v, 0) @ self.X, axis=1)
            for i in range(0, len(self.listed), size)
        ]
        bounds = np.concatenate(bounds)
        best, neurons = 0.0, []
        for count, i in enumerate(np.argsort(-bounds)):
            if bounds[i] <= max(best, floor):
                best = max(best, min(float(bounds[i]), floor))
                break
            if count == _LISTED:
                return Price(float(bounds[i]), True, neurons)
            self.watch.ask()
            one = polish(self.rows, v, self.listed[i], crossings=0)
            if one is not None:
                best = max(best, one.value)
                if one.value > floor:
                    neurons.append(one)
        return Price(best, True, neurons)

    def _searched(self, v: np.ndarray, floor: float, near: np.ndarray) -> Price:
        """Local maxima from random starts, and from neurons in use."""
        self.watch.ask()
        self.key, key = jax.random.split(self.key)
        shape, dtype = (self.starts, self.X.shape[1]), self.unit.dtype
        starts = np.array(jax.random.normal(key, shape, dtype))
        near = near[: self.starts // 4]
        starts[: len(near)] = near
        weights = np.asarray(v * self.rows.lengths, dtype)
        points, values = map(np.asarray, climb(self.unit, weights, starts))
        order = np.argsort(-values)
        order = order[values[order] >= _CLOSE * values[order[0]]]
        masks = points[order].astype(np.float64) @ self.rows.unit.T > 0
        _, first = np.unique(masks, axis=0, return_index=True)
        return self._polished(v, masks[np.sort(first)[:_POLISHED]], floor)

    def _swept(self, v: np.ndarray, floor: float) -> Price:
        """The maximum over all cells, for rank <= 3."""
        self.watch.ask()
        value, u = best_neuron(self.X, v)
        value += passed_over(self.X, v)
        found = self._polished(v, (self.rows.unit @ u > 0)[None], floor)
        return Price(max(value, found.value), True, found.neurons)

    def _polished(self, v: np.ndarray, masks: np.ndarray, floor: float) -> Price:
        """Local maxima from the cells of some masks."""
        neurons = []
        for mask in masks:
            self.watch.ask()
            one = polish(self.rows, v, mask)
            if one is not None:
                neurons.append(one)
        best = max((one.value for one in neurons), default=0.0)
        return Price(best, False, [one for one in neurons if one.value > floor])
