"""L-BFGS on the host, which a watch may stop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.solvers.rounds import Rounds
from cvxjax.watch import Watch


def minimised(
    value_and_slope: Callable[[np.ndarray], tuple[float, np.ndarray]],
    first: np.ndarray,
    watch: Watch,
    *,
    most: int,
    memory: int,
    ftol: float,
    gtol: float,
) -> Any:
    """SciPy's result: a local minimum, or as far as the steps and the time go.

    Source: Liu & Nocedal (1989); SciPy's L-BFGS-B.

    Args:
      value_and_slope: of a flat array in float64.
      first: flat, in float64.
      watch: asked after every iteration.
      most: iterations, and half of the evaluations.
      memory: pairs.
      ftol: relative decrease at which it ends.
      gtol: largest slope at which it ends.
    """

    def go_on(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        watch.repeat()
        if watch.over:
            raise StopIteration

    return scipy.optimize.minimize(
        value_and_slope,
        first,
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

    Args:
      rounds: whose solver's `max_iters` is the most.
      value_and_slope: of a program and parameters in its dtype, compiled.
      first: in float64.
      memory: as in `minimised`, and so the next two.
      ftol: relative decrease at which it ends.
      gtol: largest slope at which it ends.
    """
    program = rounds.program

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        given = jnp.asarray(x.reshape(first.shape), program.X.dtype)
        total, slope = value_and_slope(program, given)
        return float(total), np.asarray(slope, np.float64).ravel()

    found = minimised(
        value,
        first.ravel(),
        rounds.watch,
        most=rounds.solver.max_iters,
        memory=memory,
        ftol=ftol,
        gtol=gtol,
    )
    rounds.steps += max(int(found.nit), 1)
    rounds.finite = bool(np.all(np.isfinite(found.x)))
    return found.x.reshape(first.shape)
