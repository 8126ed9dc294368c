"""Programs of ReLU neurons over a list of activation patterns, which may be changed."""

from __future__ import annotations

from typing import Any, Self

import jax
import numpy as np

from cvxjax.arrangements.coverage import lists_every_pattern
from cvxjax.arrangements.patterns import Patterns
from cvxjax.bounds.ascent import highest_found
from cvxjax.forms.objective import RegularisedProgram
from cvxjax.record import static
from cvxjax.solution import Scope
from cvxjax.terms.cones import make_sign_cones

Array = jax.Array

_TRIED = 1000  # neurons of `price_reached`


class ListedPatterns(RegularisedProgram):
    """A program with a list of patterns, from which `parts_of` makes its fields."""

    masks: Array  # [P, rows], bool
    all_patterns: bool = static(default=False)

    @property
    def rows(self) -> Array:
        """The rows on which neurons have patterns, [rows, d]."""
        return self.X

    @property
    def patterns(self) -> Patterns: ...

    def lists_every_pattern(self) -> bool:
        """Whether no pattern of X is missing."""
        return lists_every_pattern(self.X, self.masks)

    def price_reached(self, v: Any) -> float:
        """The price of v [n] or [n, c] for some neurons: those along gates and rows."""
        rows = np.asarray(self.rows, np.float64)
        u = np.concatenate([np.asarray(self.patterns.gates, np.float64), rows, -rows])
        u = u[np.any(u != 0, axis=1)][:_TRIED]
        u = u / np.linalg.norm(u, axis=1, keepdims=True)
        v = np.asarray(v, np.float64)
        hidden = np.maximum(rows @ u.T, 0).reshape(len(v), -1, len(u)).sum(axis=1)
        prices = np.linalg.norm(hidden.T @ v.reshape(len(v), -1), axis=1)
        return float(np.max(prices, initial=0))

    def price_found(self, v: np.ndarray) -> float:
        """By a search, where all patterns are too many."""
        if not self.all_patterns or self.judge().covers_every_neuron():
            return super().price_found(v)
        rows = np.asarray(self.rows, np.float64)
        return highest_found(rows, np.repeat(v, len(rows) // len(v), axis=0))

    def parts_of(
        self, masks: np.ndarray, gates: np.ndarray
    ) -> tuple[dict[str, Any], np.ndarray]:
        """The fields that follow from patterns, and which of these have an interior.

        Args:
          masks: [P, rows], bool.
          gates: [P, d], a point of each closed cell.

        Returns:
          Fields of the program for the patterns kept, and `kept` [P], bool.
        """
        cones, kept = make_sign_cones(np.asarray(self.rows), masks, gates)
        return {"masks": cones.masks, "cones": cones}, kept

    def with_patterns(self, masks: Any, gates: Any) -> Self:
        """As `interfaces.NeuronProgram.with_patterns`."""
        if self.cones is None:
            raise ValueError("want a ReLU program; got a gated one, whose gates stay")
        masks, gates = np.asarray(masks, bool), np.asarray(gates, self.X.dtype)
        parts, kept = self.parts_of(masks, gates)
        if not kept.any():
            raise ValueError(f"want a cone with an interior; got {len(kept)} without")
        return self.replace(scope=Scope.SAMPLED, all_patterns=False, **parts)
