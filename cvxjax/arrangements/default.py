"""The patterns of a program whose user gives none."""

from __future__ import annotations

import warnings

import jax
import numpy as np

from cvxjax.arrangements.exact import FEW, enumerate_patterns
from cvxjax.arrangements.patterns import Patterns, count_bound, find_lines
from cvxjax.arrangements.sampled import sample_patterns

_SEEDS = 16  # patterns that a solver starts from, which finds others itself


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
    if count_bound(*find_lines(X).directions.shape) <= FEW:
        return enumerate_patterns(X), False
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "found .* distinct patterns")
        return sample_patterns(jax.random.key(0), X, num=_SEEDS), True
