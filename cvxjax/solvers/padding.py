"""Programs padded by patterns without effect: those of about as many share their code.

Samples of patterns differ a little in number, as for the folds of a table. Functions
are compiled for every shape, which takes longer than many a solve.
"""

from __future__ import annotations

from typing import Any

from cvxjax.algebra.compiled import few_sizes
from cvxjax.forms.contracts import Padded


def padded(program: Any) -> tuple[Any, int]:
    """The program with more patterns, and how many were added; none on many devices."""
    if not isinstance(program, Padded) or len(program.X.devices()) > 1:
        return program, 0
    count = len(program.masks)
    extra = few_sizes(count) - count
    return (program.padded(count + extra), extra) if extra else (program, 0)
