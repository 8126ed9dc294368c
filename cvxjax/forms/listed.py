"""Programs over listed patterns, in whose place others can be taken."""

from __future__ import annotations

from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.arrangements.coverage import lists_every_pattern
from cvxjax.forms.objective import RegularisedProgram
from cvxjax.solution import Scope
from cvxjax.terms.cones import make_sign_cones

Array = jax.Array


class ListedPatterns(RegularisedProgram):
    """What programs of ReLU neurons share; subclasses say what patterns give them."""

    masks: Array  # [P, rows], bool

    @property
    def rows(self) -> Array:
        """What neurons see, [rows, d]."""
        return self.X

    def lists_every_pattern(self) -> bool:
        """Whether no pattern of X is missing."""
        return lists_every_pattern(self.X, self.masks)

    def parts_of(
        self, masks: np.ndarray, gates: np.ndarray
    ) -> tuple[dict[str, Any], np.ndarray]:
        """What the patterns with an interior give a program, and `kept` [P], bool."""
        cones, kept = make_sign_cones(np.asarray(self.rows), masks, gates)
        return {"masks": jnp.asarray(masks[kept]), "cones": cones}, kept

    def with_patterns(self, masks: Any, gates: Any) -> Self:
        """The ReLU program of the same data over other patterns; scope SAMPLED.

        Args:
          masks: [P, rows], bool; those whose cones have no interior are left out.
          gates: [P, d], points of the closed cells.

        Raises:
          ValueError: if the program is gated, or no cone has an interior.
        """
        if self.cones is None:
            raise ValueError("want a ReLU program; got a gated one, whose gates stay")
        masks, gates = np.asarray(masks, bool), np.asarray(gates, self.X.dtype)
        parts, kept = self.parts_of(masks, gates)
        if not kept.any():
            raise ValueError(f"want a cone with an interior; got {len(kept)} without")
        return self.replace(scope=Scope.SAMPLED, **parts)
