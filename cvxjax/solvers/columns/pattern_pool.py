"""The patterns that column generation knows, and the few it works with at a time.

Restricted programs come in sizes that double, so that few shapes compile; other known
patterns fill them up, and where there are too few, a repeated one, which changes no
optimum.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.solution import Scope, Solution
from cvxjax.solvers.columns.polish import Neuron, Rows, cells_at
from cvxjax.solvers.starts import Start

_LEAST = 32  # patterns of a restricted program
_SPARE = 0.1  # of the gap, for fewer blocks
_FIRST = 128  # of the first one, where the program has more

Blocks = dict[int, np.ndarray]


class PatternPool:
    """The given patterns, then new ones, and the blocks of the best point so far.

    Args:
      program: of the given patterns, which may repeat.
      start: of its parameters, or with patterns of its own; None for zero.
    """

    def __init__(self, program: Any, start: Start | None) -> None:
        self.masks = list(np.asarray(program.masks))
        self.gates = list(np.asarray(program.gates))
        self.given = len(self.masks)
        self.names: dict[bytes, int] = {}
        for i, mask in enumerate(self.masks):
            self.names.setdefault(mask.tobytes(), i)
        self.objective = np.inf
        self.params: Blocks = {}
        if start is not None:
            own = start.patterns if start.patterns is not None else program
            for mask, gate in zip(
                *map(np.asarray, (own.masks, own.gates)), strict=True
            ):
                self._add(mask, gate)
            self.params = self._gather(own.masks, start.params)
        self.working = list(self.names.values())
        if len(self.working) > _FIRST:
            self.working = self._most_promising(program)

    def _most_promising(self, program: Any) -> list[int]:
        """Active ones, and those with the largest ||X^T D v|| at zero parameters."""
        y = np.asarray(program.y)
        slope = -np.asarray(program.loss.gradient(0 * y, y))
        sizes = np.linalg.norm(program.adjoint(jnp.asarray(slope))[0], axis=-1)
        rank = sorted(self.working, key=lambda i: (i not in self.params, -sizes[i]))
        return rank[: max(_FIRST, len(self.params))]

    def _gather(self, masks: Any, blocks: Any) -> Blocks:
        """Blocks [2, P, k] by pattern; those of equal patterns are added up."""
        total: Blocks = {}
        for i, mask in enumerate(np.asarray(masks)):
            block = np.asarray(blocks[:, i])
            if np.any(block != 0):
                name = self.names[mask.tobytes()]
                total[name] = total.get(name, 0) + block
        return total

    def restrict(self, program: Any) -> tuple[Any, Any]:
        """The program over the working patterns, and where to start [2, P, d]."""
        size = _doubled(len(self.working))
        same = {self.names[self.masks[i].tobytes()] for i in range(self.given)}
        whole = self.given == size or program.scope is Scope.EXHAUSTIVE
        if whole and set(self.working) == same:
            return program, self._place(program)
        used = set(self.working)
        known = [i for i in reversed(self.names.values()) if i not in used]
        chosen = (self.working + known)[:size]
        chosen += chosen[:1] * (size - len(chosen))
        restricted = self._over(program, chosen)
        return restricted, self._place(restricted)

    def _place(self, program: Any) -> Any:
        """The best point's blocks as parameters of a program with their patterns."""
        params = np.zeros(program.shape, program.X.dtype)
        place = {mask.tobytes(): i for i, mask in enumerate(np.asarray(program.masks))}
        for i, block in self.params.items():
            params[:, place[self.masks[i].tobytes()]] = block
        return jnp.asarray(params)

    def take(self, restricted: Any, solution: Solution) -> None:
        """Keeps the solution's blocks, or fewer of them, if they are the best so far.

        Where many cells meet at one neuron, solutions spread it over all of them. A
        vertex of the set of weights with the same fit has at most n blocks, and is kept
        unless that costs more than a share of the gap.
        """
        params = np.asarray(solution.params)
        objective = float(solution.objective)
        sparse = _vertex(restricted, params)
        value = float(restricted.objective(jnp.asarray(sparse)))
        spare = _SPARE * max(0.0, objective - float(solution.dual_bound))
        if value <= objective + spare:
            params, objective = sparse, value
        if objective < self.objective:
            self.objective = objective
            self.params = self._gather(restricted.masks, params)

    def points(self) -> np.ndarray:
        """The neurons in use, [k, d]."""
        blocks = [b for pair in self.params.values() for b in pair if np.any(b)]
        return np.reshape(blocks, (-1, len(self.gates[0])))

    def grow(self, rows: Rows, neurons: list[Neuron]) -> int:
        """Takes up the cells at the neurons, best first; drops blocks that are zero.

        Returns:
          How many working patterns were not so before.
        """
        own, beside = [], []
        for neuron in neurons:
            masks, gates = cells_at(rows, neuron)
            cells = [self._add(*cell) for cell in zip(masks, gates, strict=True)]
            own += cells[:1]
            beside += cells[1:]
        active, before = list(self.params), set(self.working)
        size = _doubled(len(active) + max(_LEAST // 2, len(active) // 2))
        new = dict.fromkeys([*active, *own, *beside, *self.working])
        self.working = list(new)[:size]
        return len(set(self.working) - before)

    def _add(self, mask: np.ndarray, gate: np.ndarray) -> int:
        """The index of a pattern, which is new or known."""
        index = self.names.setdefault(mask.tobytes(), len(self.masks))
        if index == len(self.masks):
            self.masks.append(mask)
            self.gates.append(gate.astype(self.gates[0].dtype))
        return index

    def result(self, program: Any) -> tuple[Any, Any]:
        """The program over the given patterns and new ones in use; its parameters."""
        new = [i for i in self.params if i >= self.given]
        if new:
            program = self._over(program, [*range(self.given), *new])
        return program, self._place(program)

    def _over(self, program: Any, chosen: list[int]) -> Any:
        """The program over some of the patterns."""
        parts = ([x[i] for i in chosen] for x in (self.masks, self.gates))
        return program.with_patterns(*map(np.stack, parts))


def _doubled(count: int) -> int:
    """The least size >= count among those of restricted programs."""
    return max(_LEAST, 1 << (count - 1).bit_length())


def _vertex(program: Any, params: np.ndarray) -> np.ndarray:
    """Scales blocks, most of them to zero, with the same predictions.

    Minimises sum a_b ||w_b|| over a >= 0 with sum a_b F_b w_b = F w: a vertex has at
    most n blocks. Returns `params` where there is nothing to gain or the solve fails.
    """
    rows, masks = np.asarray(program.rows), np.asarray(program.masks)
    n = len(program.y)
    norms = np.linalg.norm(params, axis=-1)
    sign, index = np.nonzero(norms)
    if len(sign) <= n // 2:
        return params
    lengths = norms[sign, index]
    fits = np.where(masks[index], params[sign, index] @ rows.T, 0)
    fits = fits.reshape(len(sign), n, -1).sum(axis=2)
    fits = (1 - 2 * sign)[:, None] * fits / lengths[:, None]
    size = np.max(lengths)
    result = scipy.optimize.linprog(
        np.ones(len(sign)), A_eq=fits.T, b_eq=fits.T @ lengths / size, method="highs-ds"
    )
    if result.status != 0:
        return params
    sparse = np.zeros_like(params)
    scale = result.x * size / lengths
    sparse[sign, index] = scale[:, None] * params[sign, index]
    return sparse
