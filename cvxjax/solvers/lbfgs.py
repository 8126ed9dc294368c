"""L-BFGS on the host, which stops when its watch says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.watch import Watch


def descend(
    value_and_slope: Callable[[Any], tuple[Any, Any]],
    first: np.ndarray,
    watch: Watch,
    *,
    dtype: Any,
    max_iters: int,
    memory: int,
    ftol: float,
    gtol: float,
) -> tuple[np.ndarray, int]:
    """A local minimum, of the shape of `first`, and its iterations.

    Source: Liu & Nocedal (1989); SciPy's L-BFGS-B.

    Args:
      value_and_slope: of parameters of `dtype`, compiled.
      first: in float64.
      watch: ends it at any iteration.
      dtype: of the arguments of `value_and_slope`.
      max_iters: at most.
      memory: pairs.
      ftol: relative decrease at which it ends.
      gtol: largest slope at which it ends.
    """

    def value(x: np.ndarray) -> tuple[float, np.ndarray]:
        total, slope = value_and_slope(jnp.asarray(x.reshape(first.shape), dtype))
        return float(total), np.asarray(slope, np.float64).ravel()

    def go_on(intermediate_result: scipy.optimize.OptimizeResult) -> None:
        watch.repeat()
        if watch.over:
            raise StopIteration

    options = {"maxiter": max_iters, "maxfun": 2 * max_iters, "maxcor": memory}
    found = scipy.optimize.minimize(
        value,
        first.ravel(),
        jac=True,
        method="L-BFGS-B",
        options=options | {"ftol": ftol, "gtol": gtol},
        callback=go_on,
    )
    return found.x.reshape(first.shape), int(found.nit)
