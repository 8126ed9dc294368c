"""Solutions over PSD matrices without the small eigenvalues of an interior point."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np


def truncated(program: Any, w: Any, tol: float) -> tuple[Any, int]:
    """A feasible point of lower rank near w, and the sum of its blocks' ranks.

    Args:
      program: from `make_polynomial`.
      w: of its shape, feasible.
      tol: eigenvalues below it, relative to the largest of all, are left out.

    Returns:
      Parameters of the same shape; `program.recover` makes at most that many neurons
      of them.
    """
    values, vectors = np.linalg.eigh(np.asarray(w))
    kept = np.where(values > tol * max(values.max(), 1e-300), values, 0)
    low = (vectors * kept[..., None, :]) @ np.swapaxes(vectors, -1, -2)
    if program.lifted:  # else there is no trace equation to meet again
        low = program.regulariser.inside(jnp.asarray(low))
    return low, int(np.sum(kept > 0))
