"""From a solver's iterate to a point that satisfies every constraint.

The objective of an infeasible point may lie below the optimum, and bounds nothing. So
blocks are projected onto their cones, then lifted along the cells' interior points
until A w >= 0 holds to rounding. Constraints of the loss (y_hat = y, y y_hat >= 1) are
then met without leaving the cones. For the squared loss, all blocks are scaled by the
best factor.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from cvxjax.algebra.linalg import ShiftedEigh
from cvxjax.terms.regularisers import group_norms

Array = jax.Array


def lifted(cones: Any, w: Array) -> Array:
    """w, moved along the cones' interior points to where A w >= 0.

    Blocks for which rounding leaves no such point become zero.
    """
    far = cones.lift(w)[..., None]
    return jnp.where(jnp.isfinite(far), w + far * cones.interior[None], 0)


def feasible_point(
    program: Any, w: Array, multipliers: Any, *, steps: ArrayLike
) -> tuple[Array, Any]:
    """A feasible point near w.

    Args:
      program: with `cones` of `cvxjax.cones`, or None.
      w: [S, P, d]; blocks that are zero stay zero where the loss allows it.
      multipliers: [S, P, m], a start for the projection's dual; None without cones.
      steps: of the projection; more steps need less lifting.

    Returns:
      The point and the projection's multipliers, a start for the next call. Where
      rounding leaves no point that meets a constraint, it is infinite.
    """
    cones = program.cones
    if cones is not None:
        active = jnp.any(w != 0, axis=-1, keepdims=True)
        w, multipliers = cones.project(w, jnp.where(active, multipliers, 0), steps)
        w = jnp.where(active, w, 0)
    if program.loss.constraint == "equality":
        w = _match(program, w)
        if cones is not None:
            both = jnp.max(cones.lift(w), axis=0)[:, None]
            moved = w + (both * cones.interior)[None]
            w = jnp.where(jnp.isfinite(both)[None], moved, jnp.inf)
        return w, multipliers
    if cones is not None:
        w = lifted(cones, w)
    if program.loss.constraint == "margin":
        margin = jnp.min(program.y * program.forward(w))
        w = w / jnp.where(margin > 0, margin, 1)
    if program.loss.quadratic:
        w = _best_factor(program, w) * w
    return w, multipliers


def _best_factor(program: Any, w: Array) -> Array:
    """argmin_t 1/2 ||t F w - y||^2 + t beta R(w) over t >= 0."""
    fit = program.forward(w)
    square = jnp.sum(fit * fit)
    pull = jnp.sum(fit * program.y) - program.beta * program.penalty(w)
    return jnp.maximum(pull, 0) / jnp.where(square > 0, square, 1)


def _match(program: Any, w: Array) -> Array:
    """Adds the least change, blocks weighted by their norms, that makes F w = y.

    Weighting leaves zero blocks zero; what their features alone can reach is added by
    an unweighted second change, if there is any.
    """
    eye = jnp.eye(program.shape[-1], dtype=w.dtype)
    tolerance = 64 * jnp.finfo(w.dtype).eps * jnp.max(jnp.abs(program.y))
    norms = group_norms(w)
    ones = jnp.ones_like(norms)
    largest = jnp.max(norms)
    shares = norms / jnp.where(largest > 0, largest, 1)
    for weights, rounds in ((shares, 2), (ones, 2)):
        factor = ShiftedEigh.factor(program.response(weights, eye))
        for _ in range(rounds):
            miss = program.y - program.forward(w)
            change = weights[..., None] * program.adjoint(factor.pinv(miss))
            w = jnp.where(jnp.max(jnp.abs(miss)) > tolerance, w + change, w)
    return w
