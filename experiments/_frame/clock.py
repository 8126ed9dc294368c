"""Seconds of calls, one by one."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import jax


def timed(compute: Callable[[], Any], calls: int) -> tuple[Any, list[float]]:
    """The last result of `compute`, and the seconds of every call, the first cold."""
    result, seconds = None, []
    for _ in range(calls):
        start = time.perf_counter()
        result = jax.block_until_ready(compute())
        seconds.append(time.perf_counter() - start)
    return result, seconds
