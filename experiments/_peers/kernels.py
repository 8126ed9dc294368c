"""The operations that solvers spend their time in, with their work counted."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.programs.two_layer import TwoLayerProgram
from experiments._frame.clock import timed

_HALF = 0.625  # of the products of `spread`, which leaves out what symmetry gives


@dataclasses.dataclass(frozen=True, kw_only=True)
class Kernel:
    """One operation; bytes count every argument and every result once."""

    name: str
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    flops: float

    def traffic(self) -> float:
        """Bytes that must move at least."""
        result = jax.eval_shape(self.function, *self.arguments)
        leaves = jax.tree.leaves((self.arguments, result))
        return float(sum(np.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves))


def make_kernels(program: TwoLayerProgram) -> list[Kernel]:
    """Of a program with cones; multiply-adds count as two, elementwise work as none."""
    X, masks, cones = program.X, program.masks, program.cones
    if cones is None:
        raise ValueError("want a program with cones; got gated ReLU")
    (n, d), P, dtype = X.shape, len(masks), X.dtype
    key = jax.random.key(0)
    w = jax.random.normal(key, (2, P, d), dtype)
    s = jax.random.normal(key, (2, P, n), dtype)
    blocks = jnp.broadcast_to(jnp.eye(d, dtype=dtype), (2, P, d, d))
    ones, inner = jnp.ones((2, P), dtype), jnp.eye(d, dtype=dtype)
    at = lambda f: functools.partial(_applied, program, f)  # noqa: E731
    return [
        Kernel(
            name="forward",
            function=at(TwoLayerProgram.forward),
            arguments=(X, masks, w),
            flops=2 * P * n * d,
        ),
        Kernel(
            name="adjoint",
            function=at(TwoLayerProgram.adjoint),
            arguments=(X, masks, program.y),
            flops=2 * P * n * d,
        ),
        Kernel(
            name="cone map",
            function=lambda X, masks, w: cones.replace(rows=X, masks=masks).apply(w),
            arguments=(cones.rows, cones.masks, w),
            flops=4 * P * n * d,
        ),
        Kernel(
            name="cone adjoint",
            function=lambda X, masks, s: cones.replace(rows=X, masks=masks).adjoint(s),
            arguments=(cones.rows, cones.masks, s),
            flops=4 * P * n * d,
        ),
        Kernel(
            name="response",
            function=at(TwoLayerProgram.response),
            arguments=(X, masks, ones, inner),
            flops=2 * n * d * d + 2 * n * n * d + 2 * n * n * P,
        ),
        Kernel(
            name="spread",
            function=at(TwoLayerProgram.spread),
            arguments=(X, masks, blocks),
            flops=2 * P * n * d * d + _HALF * 2 * n * n * P * d,
        ),
    ]


def _applied(program: Any, method: Any, X: Any, masks: Any, *rest: Any) -> Any:
    """With X and the masks as arguments: closed over, they would be constants."""
    return method(program.replace(X=X, masks=masks), *rest)


def peaks(dtype: Any, *, side: int, copied: int) -> tuple[float, float]:
    """Flops per second of a GEMM, bytes per second of reading and writing.

    Args:
      dtype: of both.
      side: of the matrices.
      copied: numbers read and written; they should not fit any cache.
    """
    square = jnp.ones((side, side), dtype)
    gemm = seconds_of(linalg.dot, (square, square), repeats=5)
    long = jnp.ones(copied, dtype)
    copy = seconds_of(lambda x: x + 1, (long,), repeats=5)
    return 2 * side**3 / gemm, 2 * copied * long.dtype.itemsize / copy


def seconds_of(
    function: Callable[..., Any], arguments: tuple[Any, ...], *, repeats: int
) -> float:
    """Median seconds of one compiled call."""
    compiled = jax.jit(function)
    _, seconds = timed(lambda: compiled(*arguments), 1 + repeats)
    return float(np.median(seconds[1:]))
