"""Lower bounds from a dual vector alone, with the least multipliers of every cone.

An interior point's multipliers are central. Where a combination of the columns is tiny,
as that of a year and a bias is, prices along it are almost free, and central
multipliers are so large that their rounding drowns the other prices: the dual vector is
right, and its bound is not seen. The least ones show it: the price of block b is
min_{mu >= 0} ||F_b^T v + A_b^T mu||, by NNLS.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from scipy.optimize import nnls

from cvxjax.regularisers import GroupNorm
from cvxjax.solution import Solution
from cvxjax.solvers.faces import Blocks, make_blocks
from cvxjax.solvers.host_bounds import HostBounds
from cvxjax.watch import Watch


def with_least_multipliers(
    program: Any, solution: Solution, v: np.ndarray, watch: Watch
) -> Solution | None:
    """The solution with the dual vector v, scaled to be feasible, and its multipliers.

    None where its lower bound is not above the solution's, or the program has no cones,
    or its regulariser is another than a norm for each block. Bound, gap and status of
    the solution are as they were: `loop.judged` says what the new ones are.

    Args:
      program: in float64, of the solution's parameters.
      v: [n].
      watch: ends the search.
    """
    if program.cones is None or not isinstance(program.regulariser, GroupNorm):
        return None
    if not np.all(np.isfinite(v)):
        return None
    blocks, judged = make_blocks(program), HostBounds(program)
    highest, given = _priced(blocks, judged, v, watch)
    value, scale = judged.scaled(v, highest)
    if not value > float(solution.dual_bound):
        return None
    multipliers = np.zeros((len(given), program.cones.num_rows))
    multipliers[:, blocks.live] = scale * given
    multipliers = multipliers / np.asarray(program.cones.lengths)
    return solution.replace(
        dual=jnp.asarray(scale * v),
        multipliers=jnp.asarray(multipliers.reshape(*program.shape[:2], -1)),
    )


def _priced(
    blocks: Blocks, judged: HostBounds, v: np.ndarray, watch: Watch
) -> tuple[float, np.ndarray]:
    """The highest price of all blocks, rounding included, and multipliers [2 P, m].

    The block whose bound is the highest is priced, until it is one that has been.
    """
    pulls = blocks.adjoint(v)
    bounds = np.linalg.norm(pulls, axis=1) + judged.rounding(v)
    multipliers = np.zeros((len(bounds), len(blocks.rows)))
    priced = np.zeros(len(bounds), bool)
    while not watch.over:
        worst = int(np.argmax(bounds))
        if priced[worst] or bounds[worst] == 0:
            break
        priced[worst], size = True, np.linalg.norm(pulls[worst])
        signed = blocks.turns[blocks.pattern[worst], :, None] * blocks.rows
        try:
            mu = size * nnls(signed.T, -pulls[worst] / size)[0]
        except RuntimeError:  # no convergence: the multipliers stay zero
            continue
        bound = np.linalg.norm(pulls[worst] + signed.T @ mu)
        bound += judged.rounding(v, mu.sum())
        if bound < bounds[worst]:
            bounds[worst], multipliers[worst] = bound, mu
    return float(bounds.max()), multipliers
