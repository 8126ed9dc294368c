"""The patterns of a program whose user gives none."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

from cvxjax.arrangements.exact import FEW, enumerate_patterns
from cvxjax.arrangements.patterns import Patterns, count_bound, find_lines, unit
from cvxjax.solution import Scope

_SEEDS = 16  # gates that a solver starts from, which finds others itself


def default_patterns(X: np.ndarray, patterns: Patterns | None) -> tuple[Patterns, bool]:
    """The user's patterns; without any, all of them, or a few where they are many.

    Args:
      X: [n, d], checked.
      patterns: of the user, or None for the problem over all patterns.

    Returns:
      Patterns, and whether they stand for all of which they are only a few.
    """
    if patterns is not None:
        return patterns, False
    lines = find_lines(X)
    if count_bound(*lines.directions.shape) <= FEW:
        return enumerate_patterns(X), False
    rank = lines.directions.shape[1]
    drawn = np.random.default_rng(0).standard_normal((_SEEDS, rank))
    bits = np.packbits(drawn @ lines.directions.T > 0, axis=1)
    masks = lines.expand(np.pad(bits, ((0, 0), (0, 1))), len(X))[:_SEEDS]
    gates = unit(drawn @ lines.to_gate.T).astype(X.dtype)
    first = np.sort(np.unique(masks, axis=0, return_index=True)[1])
    masks, gates = jnp.asarray(masks[first]), jnp.asarray(gates[first])
    return Patterns(masks=masks, gates=gates, scope=Scope.SAMPLED), True
