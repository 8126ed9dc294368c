"""Lower bounds from a dual vector alone, with the least multipliers of every cone.

The multipliers of an interior point are central. If some combination of the columns is
tiny, as of a year and a bias, they may be so large along it that their rounding hides
the bound that the dual vector proves. The least multipliers show it: the price of block
b is min_{mu >= 0} ||F_b^T v + A_b^T mu||, by NNLS.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.solution import Solution
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
    if program.cones is None or program.regulariser.norm != "group":
        return None
    if not np.all(np.isfinite(v)):
        return None
    judged = HostBounds(program)
    highest, given = _priced(program, judged, v, watch)
    value, scale = judged.scaled(v, highest)
    if not value > float(solution.dual_bound):
        return None
    return solution.replace(
        dual=jnp.asarray(scale * v),
        multipliers=program.cones.unscaled(jnp.asarray(scale * given)),
    )


def _priced(
    program: Any, judged: HostBounds, v: np.ndarray, watch: Watch
) -> tuple[float, np.ndarray]:
    """The highest price of all blocks, rounding included, and multipliers [S, P, m].

    The block whose bound is the highest is priced, until it is one that has been.
    """
    cones = program.cones
    pulls = np.asarray(program.adjoint(jnp.asarray(v)))
    bounds = np.linalg.norm(pulls, axis=-1) + judged.rounding(v)
    multipliers = np.zeros((*bounds.shape, cones.num_rows))
    every = jnp.arange(cones.num_rows)[None]
    priced = np.zeros(bounds.shape, bool)
    while not watch.over:
        worst = np.unravel_index(np.argmax(bounds), bounds.shape)
        if priced[worst] or bounds[worst] == 0:
            break
        priced[worst], pull = True, pulls[worst]
        size = np.linalg.norm(pull)
        if size == 0:
            continue
        signed = np.asarray(cones.rows_of(jnp.asarray(worst[1:]), every))[0]
        try:
            mu = size * scipy.optimize.nnls(signed.T, -pull / size)[0]
        except RuntimeError:  # no convergence: the multipliers stay zero
            continue
        bound = np.linalg.norm(pull + signed.T @ mu) + judged.rounding(v, mu.sum())
        if bound < bounds[worst]:
            bounds[worst], multipliers[worst] = bound, mu
    return float(bounds.max()), multipliers
