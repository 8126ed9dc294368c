"""The prices of a two-layer program's blocks: which join the working set, which bound.

The price of block b at a dual vector v is max {v^T F_b u : ||u|| <= 1, A_b u >= 0};
||F_b^T v + A_b^T mu|| bounds it for any mu >= 0. If no price is above beta, v bounds
the optimum from below; blocks whose price is above must join the working set.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from cvxjax.solvers.blocks.faces import HostBlocks
from cvxjax.solvers.blocks.selection import approached
from cvxjax.solvers.host_bounds import HostBounds

_EXACT = 24  # blocks, up to which each is projected exactly
_GLANCE = 40  # steps of a rough projection of many
_LEAST = 32  # blocks that may join at once; more if more are in
_MARGIN = 0.1  # of the tolerance: by which a price may lie above beta


class Prices:
    """The multipliers of every block, by which prices are bounded, and the working set.

    Args:
      program: two-layer, in float64.
      blocks: of the program.
      judged: its bounds.
      tol: relative duality gap that is aimed at.
    """

    def __init__(
        self, program: Any, blocks: HostBlocks, judged: HostBounds, tol: float
    ) -> None:
        self.program, self.blocks = program, blocks
        self.judged, self.beta = judged, judged.beta
        self.most = self.beta * (1 + _MARGIN * tol)
        self.multipliers = np.zeros((len(blocks.signs), len(blocks.rows)))
        self.working = np.zeros(len(blocks.signs), bool)

    def near(self, v: np.ndarray) -> float:
        """The lower bound that v would give if only the working set mattered."""
        bounds = self._bounds(v)[self.working]
        return self.judged.scaled(v, float(bounds.max(initial=0)))[0]

    def offer(self, v: np.ndarray) -> float:
        """An upper bound of all prices at v, by `multipliers`.

        Blocks outside the working set with the highest prices above beta join it.
        """
        bounds = self._bounds(v)
        (doubtful,) = np.nonzero((bounds > self.most) & ~self.working)
        if self.program.cones is not None:
            if len(doubtful) > _EXACT:
                bounds[doubtful] = self._approached(v, doubtful, bounds[doubtful])
                doubtful = doubtful[bounds[doubtful] > self.most]
            if len(doubtful) <= _EXACT:
                self._project(v, doubtful, bounds)
        (outside,) = np.nonzero((bounds > self.most) & ~self.working)
        room = max(_LEAST, int(self.working.sum()))
        self.working[outside[np.argsort(-bounds[outside])[:room]]] = True
        return float(bounds.max(initial=0))

    def highest(self, v: np.ndarray) -> float:
        """An upper bound of all prices, by the known multipliers."""
        return float(self._bounds(v).max(initial=0))

    def _bounds(self, v: np.ndarray) -> np.ndarray:
        """Upper bounds of all prices [2 P], by the known multipliers."""
        blocks = self.blocks.adjoint(v)
        bounds = np.linalg.norm(blocks, axis=1) + self.judged.rounding(v)
        (far,) = np.nonzero(bounds > self.beta)
        multipliers = self.multipliers[far]
        bent = blocks[far] + self.blocks.bend(far, multipliers)
        rounding = self.judged.rounding(v, multipliers.sum(axis=1))
        bounds[far] = np.minimum(bounds[far], np.linalg.norm(bent, axis=1) + rounding)
        return bounds

    def _project(self, v: np.ndarray, chosen: np.ndarray, bounds: np.ndarray) -> None:
        """The prices of a few blocks, in place, by their projections."""
        blocks = self.blocks.adjoint(v)
        for block in chosen:
            _, mu = self.blocks.project(int(block), blocks[block])
            bent = self.blocks.bend(np.asarray([block]), mu[None])[0]
            bound = np.linalg.norm(blocks[block] + bent)
            bound += self.judged.rounding(v, mu.sum())
            if bound < bounds[block]:
                bounds[block], self.multipliers[block] = bound, mu

    def _approached(self, v: np.ndarray, chosen: np.ndarray, bounds: Any) -> np.ndarray:
        """Refines these bounds of many blocks' prices by rough projections."""
        start = np.zeros((len(chosen), self.program.cones.num_rows))
        start[:, self.blocks.live] = self.multipliers[chosen]
        given = self.program, self.judged, v, chosen, start, self.most
        norms, found = approached(*given, (_GLANCE, _GLANCE))
        self.multipliers[chosen] = found[:, self.blocks.live]
        return np.minimum(bounds, norms)
