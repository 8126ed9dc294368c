"""How many steps one compiled call may take, for loops that return to the host.

Every return costs some milliseconds, so there should be few; but between two returns
nothing can be stopped or reported. The time of a step is kept for the next solve of the
same shapes, whose first call then needs no trial.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_CALL_SECONDS = 0.8  # between two returns to the host, where steps are short enough
_MOST_KEPT = 256  # shapes

_seconds: dict[Any, float] = {}  # of a step, by what was compiled for


class Pace:
    """Seconds a step of one solver on programs of one shape.

    Args:
      solver: from `cvxjax.solvers`.
      program: which it solves.
    """

    def __init__(self, solver: Any, program: Any) -> None:
        leaves, structure = jax.tree.flatten((solver, program))
        kinds = [(np.shape(x), jnp.result_type(x).name) for x in leaves]
        self._key = structure, tuple(kinds)

    def steps(self, seconds_left: float) -> int:
        """Of the next call, at least one; one while the time of a step is unknown."""
        known = _seconds.get(self._key)
        if known is None:
            return 1
        return max(1, int(min(_CALL_SECONDS, seconds_left) / known))

    def took(self, steps: int, seconds: float) -> None:
        """Notes the time of a call; one that also compiled makes the next one short."""
        if len(_seconds) >= _MOST_KEPT:
            _seconds.clear()
        _seconds[self._key] = seconds / max(steps, 1)
