"""The price of a dual vector: max |v^T f(u)| over ||u|| <= 1, and who attains it.

A search climbs from many points: neurons of trained networks and neurons in use, moved
by a little; rows of the data and their differences; directions drawn at random, plain
and in coordinates in which the data are white. What it finds is a lower bound of the
price. The price itself is known where every cell is listed, by `listed_cells`, and for
data of rank <= 3, by `bounds.exact`.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra.rounding import gauge_rounding, lengths, pulled, terms_of
from cvxjax.bounds.ascent import ascend, whitening
from cvxjax.bounds.budget import Budget
from cvxjax.bounds.exact import best_neuron, is_exact, passed_over
from cvxjax.bounds.relaxed import neuron_bound
from cvxjax.solvers.columns.listed_cells import listed_price
from cvxjax.solvers.columns.neurons import Neurons, Rows
from cvxjax.solvers.columns.search import climb
from cvxjax.solvers.columns.training import padded
from cvxjax.watch import Watch

_CLOSE = 0.9  # of beta: points of a search that are worth an ascent
_MOST = 100  # of each sign
_LONG = 80  # rounds of their ascent
_SHORT = 20  # the same from neurons in use, which are near a maximum
AT_ONCE = 0.3  # seconds, for a bound when the time is over
_MOVED = 3.0  # decades: neurons in use are moved by 1 to 1e-3 of their length


class Price(NamedTuple):
    """What a pricing found."""

    value: float  # the largest price, rounding included
    proven: bool  # whether none is larger
    neurons: Neurons  # worth more than the floor, best first; their sizes are prices


class Oracle:
    """Prices dual vectors of one data set.

    Args:
      rows: the data.
      masks: [P, n K], listed patterns.
      complete: whether they are all there are.
      starts: of a search, for each sign.
      seed: of the starts.
      watch: ends a pricing by `watch.Stopped`.
    """

    def __init__(
        self,
        rows: Rows,
        masks: np.ndarray,
        *,
        complete: bool,
        starts: int,
        seed: int,
        watch: Watch | None = None,
    ) -> None:
        self.watch = Watch() if watch is None else watch
        self.rows, self.masks, self.complete = rows, masks, complete
        self.X = rows.unit * rows.lengths[:, None]
        self.low_rank = is_exact(self.X)
        self.count, self.rng = starts, np.random.default_rng(seed)
        self.searched = 0  # points climbed from so far
        self.device = jnp.asarray(padded(rows.unit, np.float32))
        self.white = whitening(rows.unit)

    @property
    def exact(self) -> bool:
        """Whether it can prove that no price is higher."""
        return self.low_rank or self.complete

    def directions(self, count: int) -> np.ndarray:
        """Random directions [count, d] of length about 1, half of them whitened."""
        d = self.rows.unit.shape[1]
        drawn = self.rng.standard_normal((count, d))
        half = count // 2
        if len(self.white):
            turned = self.rng.standard_normal((half, len(self.white))) @ self.white
            size = np.linalg.norm(turned, axis=1, keepdims=True) / np.sqrt(d)
            drawn[:half] = turned / np.where(size > 0, size, 1)
        return self.rng.permutation(drawn) / np.sqrt(d)

    def improved(self, v: np.ndarray, neurons: Neurons) -> Neurons:
        """Local maxima of the price near the neurons; their sizes are their prices."""
        weights = neurons.signs[:, None] * self.rows.weights(v)
        points, values = ascend(self.rows.unit, weights, neurons.u, _SHORT)
        return Neurons(points, neurons.signs, values)

    def search(self, v: np.ndarray, beta: float, *near: Neurons) -> Neurons:
        """Local maxima of prices about beta or more; their sizes are their prices.

        Args:
          v: [n].
          beta: > 0.
          near: neurons near which to search, each group with a share of the starts.
        """
        w, found = self.rows.weights(v), []
        for sign in (1.0, -1.0):
            self.watch.ask()
            starts = self._starts([x.u[x.signs == sign] for x in near])
            weights = jnp.asarray(padded((sign * w)[:, None], np.float32)[:, 0])
            climbed = climb(self.device, weights, padded_columns(starts, self.device))
            points, values = (np.asarray(x, np.float64) for x in climbed)
            best = np.argsort(-values)[:_MOST]
            best = best[values[best] > _CLOSE * beta]
            points = points[best, : starts.shape[1]]
            points = points[np.any(points != 0, axis=1)]
            self.watch.ask()
            wide = np.broadcast_to(sign * w, (len(points), len(w)))
            maxima = ascend(self.rows.unit, wide, points, _LONG)
            signs = np.full(len(points), sign)
            found.append(Neurons(maxima.points, signs, maxima.values))
        self.searched += 2 * self.count
        return found[0].and_also(found[1])

    def _starts(self, near: list[np.ndarray]) -> np.ndarray:
        """Points [count, d] from which to climb."""
        drawn = self.directions(self.count)
        unit, rng, d = self.rows.unit, self.rng, self.rows.unit.shape[1]
        share = self.count // (len(near) + 2)
        pairs = rng.integers(len(unit), size=(share, 2))
        far = rng.integers(2, size=share)[:, None]
        groups = [unit[pairs[:, 0]] - far * unit[pairs[:, 1]]]
        for u in near:
            chosen = u[rng.integers(len(u), size=share)] if len(u) else u
            size = 10.0 ** -rng.uniform(0, _MOVED, size=(len(chosen), 1))
            noise = rng.standard_normal(chosen.shape) / np.sqrt(d)
            groups.append(chosen + size * noise)
        at = 0
        for group in groups:
            group = group[np.any(group != 0, axis=1)]
            drawn[at : at + len(group)] = group
            at += len(group)
        return drawn

    def proof(self, v: np.ndarray, floor: float) -> Price:
        """The largest price, rounding included, where `exact`; it may be `floor`."""
        found, neurons = [], []
        for sign in (1.0, -1.0):
            self.watch.ask()
            w = sign * self.rows.weights(v)
            if self.complete:
                value, u = listed_price(self.rows, w, self.masks, floor, self.watch)
            else:
                each = w / np.where(self.rows.lengths > 0, self.rows.lengths, 1)
                value, point = best_neuron(self.X, each)
                value += passed_over(self.X, each)
                u = point[None][: int(np.any(point))]
            found.append(value)
            neurons.append(Neurons(u, np.full(len(u), sign), np.zeros(len(u))))
        value = max(found) + self.rounding(v)
        better = self.improved(v, neurons[0].and_also(neurons[1]))
        return Price(value, True, better.take(better.sizes > floor))

    def relaxed(self, v: np.ndarray) -> float:
        """An upper bound of the prices of v over all networks, in `AT_ONCE` seconds."""
        each, half = np.repeat(v, len(self.X) // len(v)), AT_ONCE / 2
        bounds = [neuron_bound(self.X, s * each, budget=Budget(half)) for s in (1, -1)]
        return max(bounds) + self.rounding(v)

    def rounding(self, v: np.ndarray) -> float:
        """What rounding may hide of a price of v."""
        n, d = self.X.shape
        each = np.repeat(v, n // self.rows.samples)
        weight = pulled(each, lengths(self.X))
        return float(gauge_rounding(terms_of(n, n, d), weight))


def padded_columns(points: np.ndarray, like: jax.Array) -> jax.Array:
    """Points [S, d] with columns of zeros up to the width of `like`."""
    wide = like.shape[1] - points.shape[1]
    return jnp.asarray(np.pad(points, ((0, 0), (0, wide))), like.dtype)
