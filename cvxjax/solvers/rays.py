"""Dual rays, which prove that no parameters meet a loss's constraint.

If blocks have both signs and their cones span all directions, rays are the vectors v
with F^T v = 0 and -L*(-v) > 0. What remains is to tell F^T v from zero in spite of
rounding.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg, rounding
from cvxjax.solution import Status
from cvxjax.terms.losses import FEASIBILITY

Array = jax.Array

_NEAR_RAY = 0.1  # of what rows and multipliers pull: a gauge worth moving the ray for
_SMALL = 1e-4  # of a ray's largest entry: likely zero where it ends
_SEEN = 16  # times the rounding of a gauge: it may be zero


def out_of_reach(program: Any, v: Array, multipliers: Array | None) -> Array:
    """Whether v proves, up to rounding, that no parameters meet the constraint.

    Blocks have both signs and cones span all directions, so that a ray has F^T v = 0,
    whatever its multipliers. If v nearly has, it is first projected to where it does.
    """
    y, loss = program.y, program.loss
    v = -loss.clip_dual(-v, y)
    blocks, weight = program.adjoint(v), rounding.pulled(v, program.reach, jnp)
    if multipliers is not None:
        blocks = blocks + program.cones.adjoint(multipliers)
        weight = weight + jnp.sum(multipliers, axis=-1)
    near = jnp.all(program.regulariser.dual_norms(blocks) <= _NEAR_RAY * weight)
    near &= -loss.conjugate(-v, y) > 0
    on = jnp.abs(v) > _SMALL * jnp.max(jnp.abs(v))
    moved = jax.lax.cond(
        near, lambda: _outside(program, jnp.where(on, v, 0), on), lambda: v
    )
    return near & _is_ray(program, -loss.clip_dual(-moved, y))


def _is_ray(program: Any, v: Array) -> Array:
    """Whether F^T v is 0 up to rounding, and -L*(-v) more than a constraint may miss.

    Parameters that meet the constraint have R(w) >= -L*(-v) / gauge(v): with this gauge
    they would predict by rounding alone. Any others miss it by -L*(-v) / ||v||_1 at
    some sample, which a loss that asks for y itself allows up to its tolerance.
    """
    unit = float(jnp.finfo(v.dtype).eps) / 2
    least, blocks = _SEEN * rounding.gamma(program.terms, unit), program.adjoint(v)
    units = _units(program)
    if units is not None:
        # What is small beside other rows or columns is seen all the same.
        columns, rows = units
        highest = jnp.max(jnp.abs(blocks), axis=(0, 1))
        unseen = jnp.all(highest <= least * jnp.sum(jnp.abs(v) * rows) * columns)
    else:
        gauges = program.regulariser.dual_norms(blocks)
        unseen = jnp.max(gauges) <= least * rounding.pulled(v, program.reach, jnp)
    loss, y = program.loss, program.y
    missed = FEASIBILITY.get(v.dtype, 1e-4) * jnp.max(jnp.abs(y)) * jnp.sum(jnp.abs(v))
    return unseen & (-loss.conjugate(-v, y) > missed)


def _units(program: Any) -> tuple[Array, Array] | None:
    """Units of columns [d], then of rows [n], of the data [n, d] that blocks are of.

    The largest entries; 1 for rows that are zero.
    """
    data = program.coordinate_rows()
    if data is None or data.shape != (len(program.y), program.shape[-1]):
        return None
    columns = jnp.max(jnp.abs(data), axis=0)
    rows = jnp.max(jnp.abs(data) / jnp.where(columns > 0, columns, 1)[None], axis=1)
    return columns, jnp.where(rows > 0, rows, 1)


def _outside(program: Any, v: Array, on: Array) -> Array:
    """A ray of `v`'s part that is orthogonal to all predictions on some samples, [n].

    In units of the rows and columns, where these are known: which ones are small is no
    matter. Its product with v is the square of that part in units of the rows.
    """
    d, units = program.shape[-1], _units(program)
    columns, rows = (jnp.ones(d), jnp.ones_like(v)) if units is None else units
    inner = jnp.diag(1 / jnp.where(columns > 0, columns, 1).astype(v.dtype) ** 2)
    gram = program.response(jnp.ones(program.shape[:-1], v.dtype), inner)
    gram = jnp.where(on[:, None] & on[None], gram / (rows[:, None] * rows[None]), 0)
    factor, v = linalg.ShiftedEigh.factor(gram), v / rows
    for _ in range(2):
        v = v - linalg.dot(gram, factor.pinv(v))
    return jnp.where(on, v / rows, 0)


def first_status(program: Any) -> Array:
    """INFEASIBLE if labels that must be fitted exactly are out of reach of F.

    The cones of one pattern span all directions, so only the range of F matters.
    """
    if program.loss.constraint != "equality":
        return jnp.asarray(Status.RUNNING, jnp.int32)
    miss = _outside(program, program.y, jnp.ones(program.y.shape, bool))
    out = _is_ray(program, miss)
    return jnp.where(out, Status.INFEASIBLE, Status.RUNNING).astype(jnp.int32)
