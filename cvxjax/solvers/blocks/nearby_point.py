"""Central points near the solution of a similar program, for warm starts.

Each complementary pair of the solution, slack and multiplier, block and price, residual
and end of its box, is replaced by a near one whose product is the same for all pairs.
The residuals of the linear equations are then about as large as the difference of the
programs, and one Newton step removes them if the product is not smaller than that.

Source: Yildirim & Wright, Warm-start strategies in interior-point methods for linear
programming (2002), for how large.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from cvxjax.solvers.blocks.central_path import Box, Orthants, Point
from cvxjax.solvers.blocks.nesterov_todd import norm
from cvxjax.terms.cones import Cones

Array = jax.Array

_HALVINGS = 52  # of an interval: every bit of a float64


def nearby_point(
    program: Any,
    cones: Cones,
    box: Box,
    level: Array,
    w: Array,
    r: Array,
    multipliers: Array,
) -> Point:
    """A point inside all cones whose complementarity products are all `level`.

    Args:
      w: parameters [S, P, d], inside the cones or on their boundaries.
      r: a dual vector [n], feasible with the multipliers.
      multipliers: of the cones, [S, P, m], >= 0.
    """
    beta, norm_of, live = program.beta, program.regulariser, cones.live()[None]
    rows = jnp.where(live, jnp.maximum(cones.apply(w), 0), 1)
    pulls = program.adjoint(r) + cones.adjoint(multipliers)
    slack = jnp.where(live, _parted(rows, multipliers, level), 1)
    heads, tails, q = _blocks(norm_of.tails(w), -norm_of.dual_tails(pulls), beta, level)
    r, high, low = _residual(program, box, level, w, r)
    slacks = Orthants(cone=slack, high=high, low=low)
    return Point(
        w=w,
        m=tails,
        t=heads,
        q=q,
        r=r,
        slack=slacks,
        dual=box.partners(slacks, level),
    )


def _mean(x: Array) -> Array:
    """Of the positive entries; 0 if there are none."""
    count = jnp.sum(x > 0)
    return jnp.sum(jnp.maximum(x, 0)) / jnp.where(count > 0, count, 1)


def _unit(x: Array, z: Array) -> Array:
    """How large entries of x are beside those of z."""
    x, z = _mean(x), _mean(z)
    known = (x > 0) & (z > 0)
    return jnp.where(known, x, 1) / jnp.where(known, z, 1)


def positive_root(v: Array, product: Array) -> Array:
    """s > 0 with s - product / s = v."""
    root = jnp.sqrt(v * v + 4 * product)
    return jnp.where(v > 0, (v + root) / 2, 2 * product / (root - jnp.minimum(v, 0)))


def _parted(s: Array, mu: Array, level: Array) -> Array:
    """Slacks s' with s' - k level / s' = s - k mu, k the unit of s over mu."""
    k = _unit(s, mu)
    return positive_root(s - k * mu, k * level)


def _blocks(m: Array, q: Array, beta: Array, level: Array) -> tuple[Array, ...]:
    """(t, m') and q' with (t, m') o (beta, q') = level and m' - k q' = m - k q.

    With h = ||m'|| / t = ||q'|| / beta the first is t (1 - h^2) = level / beta.
    """
    sizes = norm(m)
    k = _unit(sizes, jnp.broadcast_to(beta, sizes.shape))
    v = m - k * q
    length, least = norm(v), level / beta

    def halve(_: int, ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        h = (low + high) / 2
        short = least * h / ((1 - h) * (1 + h)) + k * beta * h < length
        return jnp.where(short, h, low), jnp.where(short, high, h)

    ends = jnp.zeros_like(length), jnp.ones_like(length)
    h, _ = jax.lax.fori_loop(0, _HALVINGS, halve, ends)
    t = least / ((1 - h) * (1 + h))
    along = v / jnp.where(length > 0, length, 1)[..., None]
    return t, (h * t)[..., None] * along, -beta * h[..., None] * along


def _residual(
    program: Any, box: Box, level: Array, w: Array, r: Array
) -> tuple[Array, Array, Array]:
    """r inside its box, and the slacks of the ends, by what would hold u = -r there.

    The equation of the fit says what a - b is: u' + k (a' - b') = u + k (a - b).
    """
    held, y = box.live(), program.y
    u = program.loss.clip_dual(-r, y)
    pressed = program.forward(w) - program.loss.dual_slope(u, y)
    k = _unit(jnp.abs(u), jnp.abs(pressed))
    over, under = box.slacks(-u - k * pressed)
    high, low = positive_root(over, k * level), positive_root(under, k * level)
    width = jnp.where(held[0] & held[1], over + under, jnp.inf)
    nearer = held[0] & ~(held[1] & (under < over))
    from_high = box.high - jnp.minimum(high, width / 2)
    from_low = box.low + jnp.minimum(low, width / 2)
    at_low = held[1] & ~nearer
    u = jnp.where(nearer, from_high, jnp.where(at_low, from_low, u))
    return -u, *box.slacks(-u)
