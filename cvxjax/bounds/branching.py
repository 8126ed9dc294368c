"""The price of a dual vector by branch and bound over simplicial cones.

    maximise  |v^T (X u)_+|   subject to  ||u|| <= 1

The space is divided into the orthants of a basis. `simplicial` bounds a batch of cones
at once; the one with the largest bound is split first, between two of its generators,
where the bound at its maximiser falls most. Cones whose bound is not above the value of
a neuron are closed, for both signs of v together. Whenever the search stops, the
largest bound of an open cone bounds the price. It ends by itself, since the bound is
exact on cones that no kink with v_i > 0 crosses; for data of rank r it takes about C^r
cones, and rank eight is often the end of what is possible.
"""

from __future__ import annotations

import heapq
import itertools
from typing import NamedTuple

import numpy as np

from cvxjax.bounds.budget import Budget
from cvxjax.bounds.paired import make_levels
from cvxjax.bounds.rays import Rays, make_rays
from cvxjax.bounds.simplicial import Majorant

MAX_RANK = 9
EASY = 5  # a rank up to which the function itself is enough, as a rule
CLOSE = 1e-6  # relative distance of the bounds at which the search ends
_BATCH = 256  # cones
_OPEN = 1 << 18  # cones that are kept
_DEEPEST = 1000  # cuts, of which each moves a generator by at most two roundings
_PLAIN, _RELAXED = 0.1, 0.15  # shares of the time, without other functions, for them
_LEAST_SHARE = 0.1  # of a new generator
_STARTS, _ASCENT, _POLISH = 100, 40, 20  # random neurons, steps for them and for others


class Price(NamedTuple):
    """Bounds of max |v^T (X u)_+| over ||u|| <= 1."""

    upper: float
    lower: float
    neuron: np.ndarray  # [d], whose value is `lower`
    cones: int  # bounded

    @property
    def closed(self) -> bool:
        """Whether the search has ended by itself."""
        return self.upper <= self.lower * (1 + 2 * CLOSE)


class _Cone(NamedTuple):
    """An open cone, in the order of the heap; `tie` is different for all."""

    rank: float  # minus the bound
    tie: int
    side: int  # 0 for f, 1 for -f
    depth: int
    level: int  # of the function that bounds it, see `paired`
    generators: np.ndarray  # [r, r], columns
    pair: np.ndarray
    share: float


def price(X: np.ndarray, v: np.ndarray, budget: Budget) -> Price:
    """Bounds the price of v from both sides.

    Args:
      X: [n, d], of rank at most `MAX_RANK`, finite.
      v: [n], finite.
      budget: when to stop; the upper bound is infinite if no time is left.
    """
    rays = make_rays(X, v)
    sides = (rays, rays.negated())
    plain = _Search([[side] for side in sides])
    easy = rays.rows.shape[1] <= EASY
    upper = plain.run(budget if easy else budget.part(_PLAIN))
    if easy or upper <= plain.lower * (1 + 2 * CLOSE) or budget.left == 0:
        return plain.price(upper)
    levels = [make_levels(side, budget.part(_RELAXED)) for side in sides]
    search = _Search([level.functions for level in levels], plain)
    bound = max(level.bound for level in levels)
    return search.price(min(upper, bound, search.run(budget)))


class _Search:
    """Branch and bound for f and -f.

    Args:
      functions: of each, functions above it, itself the last.
      known: a search of which the best neuron is taken.
    """

    def __init__(self, functions: list[list[Rays]], known: _Search | None = None):
        self.functions = functions
        self.sides = [levels[-1] for levels in functions]
        rays = self.sides[0]
        self.basis, r = rays.basis, rays.rows.shape[1]
        self.neuron, self.lower, self.cones = np.zeros(r), 0.0, 0
        self._number = itertools.count()
        eps = float(np.finfo(float).eps)
        extra = max(one.extra for levels in functions for one in levels)
        size = max(one.size for levels in functions for one in levels)
        self.hidden = extra + 2 * _DEEPEST * eps * size
        if known is not None:
            self.neuron, self.lower, self.cones = known.neuron, known.lower, known.cones
            return
        starts = np.random.default_rng(0).standard_normal((_STARTS, r))
        for side in self.sides:
            self._ascend(side, starts, _ASCENT)

    def price(self, upper: float) -> Price:
        """What is known when `upper` is the bound, without rounding."""
        neuron = self.basis @ self.neuron
        return Price(upper + self.hidden, self.lower, neuron, self.cones)

    def _ascend(self, rays: Rays, points: np.ndarray, steps: int) -> None:
        """Steps along the gradient, for the best of all points that are met."""
        for k in range(steps):
            points = (
                points / np.maximum(np.linalg.norm(points, axis=1), 1e-300)[:, None]
            )
            reach = points @ rays.rows.T
            values = np.maximum(reach, 0) @ rays.weights + points @ rays.slope
            best = int(np.argmax(values))
            if values[best] > self.lower:
                self.lower, self.neuron = float(values[best]), points[best]
            slopes = (reach > 0) * rays.weights @ rays.rows + rays.slope
            sizes = np.linalg.norm(slopes, axis=1, keepdims=True)
            points = points + slopes / np.maximum(sizes, 1e-300) / (1 + 0.2 * k)

    def run(self, budget: Budget) -> float:
        """The bound when it is close to a neuron's value, or time is over."""
        rays, r = self.sides[0], len(self.neuron)
        if not np.any(rays.weights) and not np.any(rays.slope):
            return 0.0
        moment = (rays.rows.T * np.abs(rays.weights)) @ rays.rows
        basis = np.linalg.qr(np.linalg.eigh(moment)[1])[0]
        scale = max(self.lower, 1e-6 * rays.size)
        self.majorants = [
            [Majorant(one, scale) for one in levels] for levels in self.functions
        ]
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=r)))
        none = np.zeros(2, int)
        new = [
            _Cone(-np.inf, 0, side, 0, 0, basis * row, none, 0.5)
            for side in (0, 1)
            for row in signs
        ]
        heap: list[_Cone] = []
        while new:
            kinds: dict[tuple[int, int], list[_Cone]] = {}
            for cone in new:
                kinds.setdefault((cone.side, cone.level), []).append(cone)
            for alike in kinds.values():
                for start in range(0, len(alike), _BATCH):
                    batch = alike[start : start + _BATCH]
                    if budget.left > 0:
                        self._bound(batch, heap)
                    else:
                        heap += [x._replace(tie=next(self._number)) for x in batch]
            heapq.heapify(heap)
            if budget.left == 0 or len(heap) > _OPEN:
                break
            new = self._split(heap)
        goal = self.lower * (1 + CLOSE)
        return max(goal, -heap[0].rank) if heap else goal

    def _bound(self, batch: list[_Cone], heap: list[_Cone]) -> None:
        """Bounds cones of one side and one level, and keeps those that stay open."""
        side, level = batch[0].side, batch[0].level
        cones = np.stack([x.generators for x in batch])
        majorants = self.majorants[side]
        parts = majorants[level].bound(cones, self.lower * (1 + CLOSE))
        self.cones += len(batch)
        bounds = np.fmin(parts.bounds, [-x.rank for x in batch])
        points = parts.points[np.all(np.isfinite(parts.points), axis=1)]
        if len(points) > 0:
            values = self.sides[side].values(points)
            if np.max(values) > self.lower:
                best = points[[int(np.argmax(values))]]
                self._ascend(self.sides[side], best, _POLISH)
        open_ = np.flatnonzero(bounds > self.lower * (1 + CLOSE))
        levels = np.full(len(batch), level)
        if level + 1 < len(majorants) and len(open_) > 0:
            both = [
                one.values(cones[open_], parts.inside[open_])
                for one in majorants[level : level + 2]
            ]
            levels[open_] += both[1] < both[0]
        for k in open_:
            cone = batch[k]._replace(
                rank=-float(bounds[k]),
                tie=next(self._number),
                level=int(levels[k]),
                pair=parts.pairs[k],
                share=float(parts.shares[k]),
            )
            heap.append(cone)

    def _split(self, heap: list[_Cone]) -> list[_Cone]:
        """Takes the cones with the largest bounds, and halves each."""
        new: list[_Cone] = []
        while heap and len(new) < 2 * _BATCH:
            cone = heapq.heappop(heap)
            if -cone.rank <= self.lower * (1 + CLOSE):
                heap.clear()
            elif cone.depth >= _DEEPEST:
                heapq.heappush(heap, cone)
                break
            else:
                new += _halves(cone)
        return new


def _halves(cone: _Cone) -> list[_Cone]:
    """The cones on both sides of a new generator between two of them."""
    share = min(max(cone.share, _LEAST_SHARE), 1 - _LEAST_SHARE)
    first, second = cone.pair
    old = cone.generators
    new = share * old[:, first] + (1 - share) * old[:, second]
    new /= np.linalg.norm(new)
    halves = []
    for k in (first, second):
        generators = old.copy()
        generators[:, k] = new
        halves.append(cone._replace(generators=generators, depth=cone.depth + 1))
    return halves
