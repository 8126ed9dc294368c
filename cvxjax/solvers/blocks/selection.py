"""Programs over a few of a program's blocks, and their prices, for the host.

Selections are padded to few sizes, so that little compiles.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra.compiled import few_sizes
from cvxjax.solvers.host_bounds import HostBounds
from cvxjax.terms.regularisers import group_norms

Array = jax.Array

SMALLEST = 64  # blocks of a selection
_STEPS = 8  # sizes between 0 and a power of two: selections grow


def padded(count: int) -> int:
    """The least size >= count among 64, 80, 96, 112, 128, 160, 192, 224, 256, ..."""
    return few_sizes(max(count, SMALLEST), _STEPS)


def selected(program: Any, chosen: np.ndarray) -> tuple[Any, np.ndarray]:
    """The program of the chosen blocks, padded by dead ones, and which they all are."""
    blocks = np.zeros(padded(len(chosen)), int)
    blocks[: len(chosen)] = chosen
    return _select(program, blocks, np.arange(len(blocks)) < len(chosen)), blocks


def approached(
    program: Any,
    judged: HostBounds,
    v: np.ndarray,
    chosen: np.ndarray,
    multipliers: np.ndarray,
    most: float,
    steps: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Bounds of some blocks' prices at v, by steps towards their projections.

    Args:
      judged: of the program.
      chosen: [k], of the flattened [2 P].
      multipliers: [k, m], of unit rows, where to start.
      most: it ends where all norms are at most that.
      steps: between two looks at the norms, and in all.

    Returns:
      The bounds [k], rounding included, and multipliers [k, m] that show them.
    """
    part, blocks = selected(program, chosen)
    start = np.zeros((len(blocks), multipliers.shape[1]), multipliers.dtype)
    start[: len(chosen)] = multipliers
    norms, mu = (np.asarray(x)[0] for x in _approach(part, v, start, most, *steps))
    mu = mu[: len(chosen)]
    sums = np.sum(np.asarray(mu, np.float64), axis=1)
    return norms[: len(chosen)] + judged.rounding(v, sums), mu


_select = jax.jit(lambda program, blocks, live: program.select(blocks, live))


@jax.jit
def _approach(
    part: Any, v: Array, multipliers: Array, most: Array, glance: Array, steps: Array
) -> Any:
    """Norms [1, B] of F_b^T v moved towards the cones, and the multipliers."""
    blocks = part.adjoint(v)

    def more(carry: tuple[Array, Array, Array]) -> Array:
        norms, _, count = carry
        return jnp.any(norms > most) & (count < steps)

    def body(carry: tuple[Array, Array, Array]) -> Any:
        _, mu, count = carry
        moved, mu = part.cones.project(blocks, mu, glance)
        return group_norms(moved), mu, count + glance

    start = group_norms(blocks) + jnp.inf, multipliers[None], jnp.asarray(0)
    norms, mu, _ = jax.lax.while_loop(more, body, start)
    return norms, mu
