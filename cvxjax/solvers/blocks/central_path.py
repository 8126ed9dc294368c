"""Points inside all cones of a block program and of its loss's conjugate.

The conditions of optimality, with u = -r inside the box [low, high] of the loss's
conjugate L*, slacks s = A w, heads t_b >= ||T w_b|| and the norm's metric T, are

    F w = L*'(u) + a - b,   F_b^T r + A_b^T mu_b + T^T q_b = 0,
    s mu = 0,   a (high - u) = 0,   b (u - low) = 0,   (t_b, T w_b) o (beta, q_b) = 0.

Source: Wright, Primal-Dual Interior-Point Methods (1997), for central paths.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.record import Record, static
from cvxjax.solvers.blocks import nesterov_todd as soc
from cvxjax.solvers.blocks.nesterov_todd import norm
from cvxjax.terms.cones import Cones

Array = jax.Array

_INSIDE = 0.25  # of beta, at most: prices of a first residual that meets all others
_LEAST = 0.1  # of a residual's natural size: the first has no less
_MISSED = 1e-3  # of the labels: what the least parameters may miss by rounding
_CLIPPED = 0.8  # of beta, at most: the first ||q_b||


class Orthants(Record):
    """Numbers for the slacks of the cones and of the box's two sides."""

    cone: Array  # [S, P, m]
    high: Array  # [n]
    low: Array  # [n]


class Point(Record):
    """An iterate, or a move of one."""

    w: Array  # [S, P, d]
    m: Array  # [S, P, d], T w
    t: Array  # [S, P]
    q: Array  # [S, P, d]
    r: Array  # [n]
    slack: Orthants  # A w, high - u, u - low; 1 where there is no inequality
    dual: Orthants  # mu, a, b


class Misses(Record):
    """Residuals of the linear equations, and so right-hand sides of a Newton step."""

    fit: Array  # [n], L*'(u) + a - b - F w
    rows: Array  # [S, P, m], s - A w
    tails: Array  # [S, P, d], m - T w
    prices: Array  # [S, P, d], -F^T r - A^T mu - T^T q


class Box(Record):
    """Where the loss's conjugate is finite."""

    low: Array  # [n]; -inf: none
    high: Array  # [n]; inf: none
    steep: bool = static()  # its slope is infinite at the ends, which are never reached

    @classmethod
    def of(cls, program: Any) -> Box:
        low, high = program.loss.box(program.y)
        return cls(low=low, high=high, steep=program.loss.steep)

    def slacks(self, r: Array) -> tuple[Array, Array]:
        """high - u and u - low of u = -r; 1 where that is infinite."""
        high, low = self.ends()
        return (
            jnp.where(high, jnp.where(high, self.high, 0) + r, 1),
            jnp.where(low, -r - jnp.where(low, self.low, 0), 1),
        )

    def ends(self) -> tuple[Array, Array]:
        """Which ends there are, [n] each, bool: high and low."""
        return jnp.isfinite(self.high), jnp.isfinite(self.low)

    def live(self) -> tuple[Array, Array]:
        """Which ends have multipliers, [n] each, bool."""
        high, low = self.ends()
        return (high & False, low & False) if self.steep else (high, low)

    def partners(self, slack: Orthants, level: Array) -> Orthants:
        """Multipliers whose products with the slacks are all `level`."""
        high, low = self.live()
        return Orthants(
            cone=level / slack.cone,
            high=high * level / slack.high,
            low=low * level / slack.low,
        )


def slack_of(cones: Cones, w: Array) -> Array:
    """A w; 1 at zero rows, whose inequalities always hold."""
    return jnp.where(cones.live()[None], cones.apply(w), 1)


def count_of(at: Point, box: Box) -> Array:
    """How many complementarity products there are."""
    high, low = box.live()
    return at.t.size + at.slack.cone.size + jnp.sum(high) + jnp.sum(low)


def size_of_optimum(program: Any) -> Array:
    """L(0, y), or for constraints beta R(w) of the least w with F w = y, to start from.

    Least whatever the cones. Of an ill-conditioned ellipsoid, the least w in its
    coordinates has R far too large, and the least in its own norm, which cones would
    not let, far too small: the geometric mean of those and of some between is taken.
    """
    loss, y = program.loss, program.y
    if loss.constraint is None:
        return jnp.asarray(loss.value(jnp.zeros_like(y), y), y.dtype)
    ones = jnp.ones(program.shape[:-1], y.dtype)

    def least(inner: Array) -> tuple[Array, Array]:
        """R(w) of the least w, and the largest miss of its predictions."""
        gram = program.response(ones, inner)
        squares = jnp.diag(gram)
        unit = 1 / jnp.sqrt(jnp.where(squares > 0, squares, 1))  # of rows of any size
        even = linalg.ShiftedEigh.factor(unit[:, None] * gram * unit[None])
        w = linalg.dot(program.adjoint(unit * even.pinv(unit * y)), inner)
        return program.penalty(w), jnp.max(jnp.abs(program.forward(w) - y))

    products = program.regulariser.inverse_products(program.shape[-1])
    sizes, missed = jax.lax.map(least, products.astype(y.dtype))
    known = (missed <= _MISSED * jnp.max(jnp.abs(y))) & (sizes > 0)
    logs = jnp.where(known, jnp.log(jnp.where(known, sizes, 1)), 0)
    mean = jnp.exp(jnp.sum(logs) / jnp.maximum(jnp.sum(known), 1))
    return program.beta * jnp.where(jnp.any(known), mean, sizes[0])


def central_point(program: Any, cones: Cones, box: Box, level: Array) -> Point:
    """Near the central path, at one complementarity: inside all cones.

    r is well inside its box. Its prices are met where that leaves ||q_b|| < beta.
    """
    beta, norm_of = program.beta, program.regulariser
    inner = jnp.broadcast_to(cones.interior, program.shape)
    r = _first_residual(program, box)
    stretch = jnp.sqrt(1 + 1 / max(cones.num_rows, 1))
    steep = norm_of.dual_tails(cones.adjoint(1 / slack_of(cones, inner)))
    pull = program.adjoint(r)
    highest = jnp.minimum(jnp.max(norm_of.dual_norms(pull)), _INSIDE * beta)
    size = level * norm(steep) * stretch / (beta - highest)
    w = size[..., None] * inner
    tails = norm_of.tails(w)
    t = jnp.maximum(norm(tails) * stretch, level / beta)
    high, low = box.slacks(r)
    slack = Orthants(cone=slack_of(cones, w), high=high, low=low)
    dual = box.partners(slack, level)
    q = -norm_of.dual_tails(pull + cones.adjoint(dual.cone))
    most, sizes = _CLIPPED * beta, norm(q)
    q = q * jnp.where(sizes > most, most / jnp.where(sizes > 0, sizes, 1), 1)[..., None]
    return Point(w=w, m=tails, t=t, q=q, r=r, slack=slack, dual=dual)


def _first_residual(program: Any, box: Box) -> Array:
    """A point -u inside the box, its prices below beta / 4 unless that makes it tiny.

    On badly scaled data every residual of an ordinary size has prices above beta until
    the cones' multipliers meet them. A start below that is so small that the way to the
    optimum is long, along the cones' walls.
    """
    y = program.y
    middle = jnp.where(
        jnp.isfinite(box.low) & jnp.isfinite(box.high),
        (box.low + box.high) / 2,
        jnp.where(
            jnp.isfinite(box.high),
            box.high - jnp.abs(y),
            jnp.where(jnp.isfinite(box.low), box.low + jnp.abs(y), 0),
        ),
    )
    gauge = jnp.max(program.regulariser.dual_norms(program.adjoint(middle)))
    share = _INSIDE * program.beta / jnp.where(gauge > 0, gauge, 1)
    if program.loss.constraint is None:
        share = jnp.clip(share, _LEAST, 1)
    else:  # dual vectors grow with beta
        inner = jnp.abs(middle) @ jnp.abs(y)
        natural = size_of_optimum(program) / jnp.where(inner > 0, inner, 1)
        share = jnp.maximum(share, _LEAST * natural)
    return -middle * jnp.where(gauge > 0, share, 1)


def moved(at: Point, move: Point, length: Array) -> Point:
    """at + length move."""
    return jax.tree.map(lambda a, b: a + length * b, at, move)


def misses(program: Any, cones: Cones, at: Point) -> Misses:
    """The residuals of the linear equations; a step shrinks all by one factor."""
    norm_of, loss = program.regulariser, program.loss
    live = cones.live()[None]
    ends = at.dual.high - at.dual.low
    fit = loss.dual_slope(-at.r, program.y) + ends - program.forward(at.w)
    rows = jnp.where(live, at.slack.cone - cones.apply(at.w), 0)
    prices = program.adjoint(at.r) + cones.adjoint(at.dual.cone)
    return Misses(
        fit=fit,
        rows=rows,
        tails=at.m - norm_of.tails(at.w),
        prices=-prices - norm_of.adjoint_tails(at.q),
    )


def is_inside(point: Point, beta: Array) -> Array:
    """Whether a point is finite and strictly inside all cones."""
    sound = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(point)]
    sound += [jnp.all(x > 0) for x in jax.tree.leaves(point.slack)]
    sound += [jnp.all(norm(point.m) < point.t), jnp.all(norm(point.q) < beta)]
    return jnp.all(jnp.stack(sound))


def complementarity(at: Point, beta: Array) -> Array:
    """The sum of (t, m)^T (beta, q) and of all slacks times their multipliers."""
    pairs = zip(jax.tree.leaves(at.slack), jax.tree.leaves(at.dual), strict=True)
    heads = jnp.sum(at.t * beta + soc.inner(at.m, at.q))
    return heads + sum(jnp.sum(s * mu) for s, mu in pairs)


def room(at: Point, beta: Array, move: Point) -> Array:
    """The longest step that stays inside all cones, primal and dual."""

    def ratio(x: Array, dx: Array) -> Array:
        falls = dx < 0
        steps = jnp.where(falls, -x / jnp.where(falls, dx, 1), jnp.inf)
        return jnp.min(steps, initial=jnp.inf)

    heads = jnp.broadcast_to(beta, at.t.shape)
    primal = soc.room((at.t, at.m), (move.t, move.m))
    dual = soc.room((heads, at.q), (jnp.zeros_like(heads), move.q))
    ends = jax.tree.leaves(jax.tree.map(ratio, at.slack, move.slack))
    ends += jax.tree.leaves(jax.tree.map(ratio, at.dual, move.dual))
    return jnp.min(jnp.stack([*ends, jnp.min(primal), jnp.min(dual)]))
