"""Compilation in less memory and time: leaner code, and for fewer shapes."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any

import jax

_FEW = 64  # sizes up to here stay
_STEPS = 32  # sizes between 0 and a power of two, beyond, by default
_LEAN = {"xla_cpu_use_fusion_emitters": False}


def few_sizes(count: int, steps: int = _STEPS) -> int:
    """The least size >= count of a list with few, at most 2 / steps of it larger.

    Functions are compiled for every shape: arrays padded to these sizes share the code.

    Args:
      count: up to 64 it stays.
      steps: sizes between 0 and a power of two, a power of two up to 64.
    """
    if count <= _FEW:
        return count
    step = 2 ** math.ceil(math.log2(count)) // steps
    return -(-count // step) * step


def jit_leanly(function: Callable, **options: Any) -> Callable:
    """`jax.jit` that on a CPU compiles in a fourth of the memory, and in less time.

    It leaves out XLA's fusion emitters, which take about half a MiB for each loop.
    Element-wise loops then run up to 1.5 times as long, so this is for functions that
    run once, or whose time is in products and factorisations. It has no effect where
    jaxlib does not know the option.

    Args:
      function: called from the host, not within another jit, vmap or grad.
      options: of `jax.jit`.
    """
    usual = jax.jit(function, **options)
    lean = jax.jit(function, compiler_options=_LEAN, **options)

    @functools.wraps(function)
    def call(*args: Any) -> Any:
        return (lean if _lean_is_known() else usual)(*args)

    return call


@functools.cache
def _lean_is_known() -> bool:
    if jax.default_backend() != "cpu":
        return False
    try:
        jax.jit(lambda: 0, compiler_options=_LEAN).lower().compile()
    except jax.errors.JaxRuntimeError:
        return False
    return True
