"""L-BFGS on the host, as a part of rounds, whose watch may stop it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.solvers.rounds import Rounds


def descend(
    rounds: Rounds,
    value_and_slope: Callable[[Any, Any], tuple[Any, Any]],
    first: np.ndarray,
    *,
    memory: int,
    ftol: float,
    gtol: float,
) -> np.ndarray:
    """A local minimum, of the shape of `first`; its iterations count as steps.

    Source: Liu & Nocedal (1989); SciPy's L-BFGS-B.

    Args:
      rounds: whose solver's `max_iters` is the most.
      value_and_slope: of a program and parameters in its dtype, compiled.
      first: in float64.
      memory: pairs.
      ftol: relative decrease at which it ends.
      gtol: largest slope at which it ends.
    """
    program, watch, most = rounds.program, rounds.watch, rounds.solver.max_iters

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        given = jnp.asarray(x.reshape(first.shape), program.X.dtype)
        total, slope = value_and_slope(program, given)
        return float(total), np.asarray(slope, np.float64).ravel()

    def go_on(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        watch.repeat()
        if watch.over:
            raise StopIteration

    found = scipy.optimize.minimize(
        value,
        first.ravel(),
        jac=True,
        method="L-BFGS-B",
        options={
            "maxiter": most,
            "maxfun": 2 * most,
            "maxcor": memory,
            "ftol": ftol,
            "gtol": gtol,
        },
        callback=go_on,
    )
    rounds.steps += max(int(found.nit), 1)
    rounds.finite = bool(np.all(np.isfinite(found.x)))
    return found.x.reshape(first.shape)
