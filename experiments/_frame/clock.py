"""Seconds of calls, one by one, and of a solve's progress."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import cvxjax as cj


def timed(compute: Callable[[], Any], calls: int) -> tuple[Any, list[float]]:
    """The last result of `compute`, and the seconds of every call, the first cold."""
    result, seconds = None, []
    for _ in range(calls):
        start = time.perf_counter()
        result = jax.block_until_ready(compute())
        seconds.append(time.perf_counter() - start)
    return result, seconds


def watched(program: Any, **options: Any) -> tuple[cj.Solution, np.ndarray]:
    """Solves a program, and keeps what it reports.

    Args:
      program: from `cvxjax.programs`.
      **options: of `cj.solve`.

    Returns:
      The solution, and [lines, 2]: seconds from the call on and objective, the last
      line those of the solution.
    """
    lines, start = [], time.perf_counter()
    solution = cj.solve(
        program,
        report=lambda _, value, *__: lines.append((time.perf_counter() - start, value)),
        **options,
    )
    lines.append((time.perf_counter() - start, float(solution.objective)))
    return solution, np.asarray(lines)
