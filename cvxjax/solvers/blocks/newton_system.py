"""The Newton system of the interior-point method: factored block by block, and solved.

Heads, slacks and multipliers are eliminated. That leaves a matrix for each block,
B_b = T^T S_b T + A_b^T diag(mu / s) A_b, and one n x n system in r,
C + sum_b F_b B_b^{-1} F_b^T, with C = L*'' + a / (high - u) + b / (u - low).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.record import Record
from cvxjax.solvers.blocks import nesterov_todd as soc
from cvxjax.solvers.blocks.central_path import Box, Misses, Orthants, Point
from cvxjax.solvers.blocks.nesterov_todd import Scaling
from cvxjax.terms.cones import Cones

Array = jax.Array

_QR_BATCH = 1024  # LAPACK under vmap hangs on larger ones
_RIDGE = 4.0  # machine epsilons, of the system's diagonal: what rounding leaves


class Newton(Record):
    """The factored system at one iterate."""

    scaling: Scaling
    ratio: Array  # [S, P, m], mu / s
    factors: Array  # [S, P, d, d], C with C C^T = B^{-1}
    bend: Array  # [n], C
    scale: Array  # [n], which makes the system's diagonal one
    cholesky: Array  # [n, n], of the system in r, scaled


def factor(program: Any, cones: Cones, at: Point) -> Newton:
    """Factors the system at an iterate strictly inside all cones."""
    beta = jnp.broadcast_to(program.beta, at.t.shape)
    scaling = Scaling.between((at.t, at.m), (beta, at.q))
    ratio = at.dual.cone / at.slack.cone
    root = program.regulariser.tails_of_rows(scaling.root())
    factors = _block_factors(cones, root, ratio)
    inverses = linalg.dot(factors, factors.mT)
    ends = at.dual.high / at.slack.high + at.dual.low / at.slack.low
    bend = program.loss.curvature(-at.r, program.y) + ends
    system = program.spread(inverses) + jnp.diag(bend)
    diagonal = jnp.diagonal(system)
    scale = 1 / jnp.sqrt(jnp.where(diagonal > 0, diagonal, 1))
    scaled = scale[:, None] * system * scale[None]
    # A row of zeros, or rows that depend on each other, where C is zero there too.
    ridge = _RIDGE * len(bend) * jnp.finfo(bend.dtype).eps
    scaled = scaled + ridge * jnp.eye(len(bend), dtype=bend.dtype)
    return Newton(
        scaling=scaling,
        ratio=ratio,
        factors=factors,
        bend=bend,
        scale=scale,
        cholesky=jnp.linalg.cholesky(scaled),
    )


def solve(
    program: Any,
    cones: Cones,
    box: Box,
    newton: Newton,
    at: Point,
    u: soc.Pair,
    orthants: Orthants,
    miss: Misses,
    rounds: Array,
) -> Point:
    """The Newton move, refined for some rounds.

    It has W^{-1} dx + W dz = u, s dmu + mu ds = orthants for every inequality, and
    makes up for what the linear equations lack.
    """
    scaling, norm_of = newton.scaling, program.regulariser
    change = jax.tree.map(jnp.divide, orthants, at.slack)
    fit = miss.fit + change.high - change.low
    goal = scaling.apply(u)[1] + miss.tails
    bent = change.cone + newton.ratio * miss.rows
    right = cones.adjoint(bent) + norm_of.adjoint_tails(scaling.curvature(goal))
    right = right - miss.prices

    def curved(w: Array) -> Array:
        stiff = cones.adjoint(newton.ratio * cones.apply(w))
        return norm_of.adjoint_tails(scaling.curvature(norm_of.tails(w))) + stiff

    def blocks(v: Array) -> Array:
        v = jnp.einsum("spij,spi->spj", newton.factors, v, precision="highest")
        return jnp.einsum("spij,spj->spi", newton.factors, v, precision="highest")

    def both(v: Array, fit: Array) -> tuple[Array, Array]:
        alone = blocks(v)
        rest = newton.scale * (fit - program.forward(alone))
        r = jax.scipy.linalg.cho_solve((newton.cholesky, True), rest) * newton.scale
        return alone + blocks(program.adjoint(r)), r

    def refine(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        w, r = carry
        left = right + program.adjoint(r) - curved(w)
        dw, dr = both(left, fit - program.forward(w) - newton.bend * r)
        return w + dw, r + dr

    w, r = jax.lax.fori_loop(0, rounds, refine, both(right, fit))
    high, low = box.ends()
    slack = Orthants(
        cone=cones.apply(w) - miss.rows,
        high=jnp.where(high, r, 0),
        low=jnp.where(low, -r, 0),
    )
    ratio = jax.tree.map(jnp.divide, at.dual, at.slack)
    dual = jax.tree.map(lambda c, k, s: c - k * s, change, ratio, slack)
    tails = norm_of.tails(w) - miss.tails
    return Point(
        w=w,
        m=tails,
        t=scaling.head_of(scaling.inverse(u)[0], tails),
        q=scaling.curvature(scaling.apply(u)[1] - tails),
        r=r,
        slack=slack,
        dual=dual,
    )


def _block_factors(cones: Cones, root: Array, ratio: Array) -> Array:
    """C_b with C_b C_b^T = (root_b^T root_b + A_b^T diag(ratio_b) A_b)^{-1}.

    Near the optimum the ratios span 20 orders of magnitude: summed up, the large ones
    would drown S. So the d largest rows of each block and S^{1/2} T are kept as rows,
    only the others are summed up, and an orthogonal factorisation joins them.

    Args:
      root: [S, P, d, d], S^{1/2} T.
      ratio: [S, P, m].
    """
    S, P, n = ratio.shape
    d = root.shape[-1]
    blocks = jnp.arange(S * P)[:, None]
    flat = ratio.reshape(S * P, n)
    _, which = jax.lax.top_k(flat.astype(jnp.float32), min(n, d))
    largest = flat[blocks, which]
    stiff = cones.rows_of(blocks[:, 0] % P, which) * jnp.sqrt(largest)[..., None]
    rest = cones.weighted_grams(flat.at[blocks, which].set(0))
    ridge = 1e-15 * jnp.trace(rest, axis1=1, axis2=2) + 1e-300
    eye = jnp.eye(d, dtype=rest.dtype)

    def one(rows: tuple[Array, Array, Array]) -> Array:
        stiff, root, rest = rows
        stack = jnp.concatenate([stiff, root, jnp.linalg.cholesky(rest).T])
        scale = 1 / jnp.sqrt(jnp.sum(stack**2, axis=0, keepdims=True))
        upper = jnp.linalg.qr(stack * scale, mode="r")
        inverse = jax.scipy.linalg.solve_triangular(upper, eye)
        return scale.T * inverse

    rest = rest + ridge[:, None, None] * eye[None]
    parts = stiff, root.reshape(S * P, *root.shape[2:]), rest
    batch = min(S * P, _QR_BATCH)
    return jax.lax.map(one, parts, batch_size=batch).reshape(S, P, d, d)
