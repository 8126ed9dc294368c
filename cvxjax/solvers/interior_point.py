"""Primal-dual interior point for the squared loss, with or without cones.

With z = y - r, heads t_b >= ||w_b|| and slacks s = A w, the optimality conditions are

    F w + r = y,   F_b^T r + A_b^T mu_b + q_b = 0,
    s mu = 0 (orthants),   (t_b, w_b) o (beta, q_b) = 0 (second-order cones).

A Newton step eliminates heads, slacks and multipliers, which leaves one d x d matrix
B_b = S_b + A_b^T diag(mu / s) A_b a block and one n x n system in r,
I + sum_b F_b B_b^{-1} F_b^T. Iterates stay inside every cone, so both bounds hold at
every step.

Source: Mehrotra (1992), predictor and corrector; Gondzio (1996), centrality
corrections; Vandenberghe (2010), Nesterov-Todd scaling of second-order cones.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cvxjax import linalg
from cvxjax.cones import Cones, SignCones
from cvxjax.record import Record, static
from cvxjax.regularisers import GroupNorm
from cvxjax.solvers import loop
from cvxjax.solvers import nesterov_todd as soc
from cvxjax.solvers.nesterov_todd import Scaling, norm

Array = jax.Array
Aim = tuple[soc.Pair, Array]  # of W^{-1} dx + W dz, scaled, and of s dmu + mu ds

_QR_BATCH = 1024  # LAPACK under vmap hangs on larger ones
_BOUNDARY = 0.99  # of the way that a step goes
_LONGER = 0.3  # by which a centrality correction wants the step longer
_GAIN = 0.01  # in length, for which another correction is tried
_ROUGH = 1e-3  # relative gap down to which solves need no refinement
_BAND = 10.0  # complementarity products within this factor of the target are central


class Point(Record):
    """An iterate, or a move of one."""

    w: Array  # [2, P, d]
    t: Array  # [2, P]
    s: Array  # [2, P, n]
    mu: Array  # [2, P, n]
    q: Array  # [2, P, d]
    r: Array  # [n]


class Newton(Record):
    """The factored system at one iterate."""

    scaling: Scaling
    ratio: Array  # [2, P, n], mu / s
    factors: Array  # [2, P, d, d], C with C C^T = B^{-1}
    cholesky: Array  # [n, n], of the system in r


class InteriorPointState(Record):
    """The iterate, strictly inside all cones."""

    point: Point
    stuck: Array  # [], bool: rounding leaves no step
    progress: loop.Progress


class InteriorPoint(Record):
    """Mehrotra's method with centrality corrections, in float64.

    Args:
      tol: relative duality gap; default 1e-8.
      max_iters: static.
      check_every: steps between gap evaluations, static.
      corrections: of centrality for each factorisation, at most; static.
      refinements: of each linear solve once the gap is below 1e-3, static.
      start: first complementarity, in units of L(0, y) over the number of cones.
    """

    tol: Any = None
    max_iters: int = static(default=100)
    check_every: int = static(default=1)
    corrections: int = static(default=3)
    refinements: int = static(default=1)
    start: Any = 1.0
    lean: ClassVar[bool] = True  # as `runtime.jit_leanly`: products take its time

    def refuse(self, program: Any) -> str | None:
        missing = [k for k in ("spread", "cones") if not hasattr(program, k)]
        if missing:
            return f"the program has no {' and no '.join(missing)}"
        if not program.loss.quadratic:
            return f"the loss is {program.loss.name} (InteriorPoint takes squared)"
        if not isinstance(program.regulariser, GroupNorm):
            return "its regulariser is no group norm"
        if program.X.dtype != jnp.float64:
            return f"the data are {program.X.dtype} (InteriorPoint takes float64)"
        return None

    def init(self, program: Any, w: Array) -> InteriorPointState:
        """Starts on the central path of r = 0, whatever w is."""
        cones, y = _cones(program), program.y
        first = self.start * jnp.sum(y * y) / 2
        first = first / (w.shape[1] * 2 * (cones.num_rows + 1))
        return InteriorPointState(
            point=_central(program, cones, first),
            stuck=jnp.asarray(False),
            progress=loop.Progress.start(self, program, w),
        )

    def step(self, program: Any, state: InteriorPointState) -> InteriorPointState:
        """One factorisation: predictor, corrector, centrality corrections, move."""
        at, beta = state.point, program.beta
        cones = _cones(program)
        newton = _factor(program, cones, at)
        scaled = newton.scaling.inverse((at.t, at.w))  # = W (beta, q)
        miss = program.y - program.forward(at.w) - at.r
        count = at.t.size + at.s.size
        total = _complementarity(at, beta)
        rounds = jnp.where(state.progress.gap > _ROUGH, 0, self.refinements)

        def toward(cone: soc.Pair, orthant: Array) -> Point:
            u = soc.divide(cone, scaled)
            return _solve(program, cones, newton, at, u, orthant, miss, rounds)

        def corrected(aim: Aim, move: Point, reach: Array, _: Array) -> Any:
            """What the predictor did not foresee, as far as it would have gone."""
            length = jnp.minimum(reach, 1)
            left = _complementarity(_moved(at, move, length), beta) / total
            target = jnp.clip(left, 1e-6, 1) ** 3 * total / count
            bent = soc.product(
                newton.scaling.inverse((move.t, move.w)),
                newton.scaling.apply((jnp.zeros_like(at.t), move.q)),
            )
            head = aim[0][0] + target - length * bent[0]
            tail = aim[0][1] - length * bent[1]
            return ((head, tail), aim[1] + target - length * move.s * move.mu), target

        def centred(aim: Aim, move: Point, reach: Array, target: Array) -> Any:
            """What would let the step go further."""
            goal = jnp.minimum(1.08 * jnp.minimum(reach, 1) + _LONGER, 1)
            change = _outliers(newton.scaling, _moved(at, move, goal), beta, target)
            return jax.tree.map(jnp.add, aim, change), target

        def more(carry: Any) -> Array:
            solves, _, (_, _, reach), _, gained = carry
            wanting = (solves < 2 + self.corrections) & (reach < 1)
            return (solves < 2) | (gained & wanting)

        def solve(carry: Any) -> Any:
            solves, wanted, kept, target, _ = carry
            new = toward(*wanted)
            reach = _room(at, beta, new)
            better = jnp.minimum(reach, 1) > jnp.minimum(kept[2], 1) + _GAIN
            better |= solves < 2
            keep = lambda a, b: jnp.where(better, a, b)  # noqa: E731
            kept = jax.tree.map(keep, (wanted, new, reach), kept)
            wanted, target = jax.lax.cond(
                solves == 0, corrected, centred, *kept, target
            )
            return solves + 1, wanted, kept, target, better

        # Predictor, corrector and corrections are the same code, compiled once.
        square = soc.product(scaled, scaled)
        aim = (-square[0], -square[1]), -at.s * at.mu
        nothing = aim, jax.tree.map(jnp.zeros_like, at), jnp.zeros_like(total)
        carry = jnp.asarray(0), aim, nothing, jnp.zeros_like(total), jnp.asarray(True)
        _, _, (_, move, length), _, _ = jax.lax.while_loop(more, solve, carry)
        length = jnp.minimum(_BOUNDARY * length, 1)
        new = _inside(program, cones, _moved(at, move, length))
        sound = jnp.all(jnp.asarray([jnp.all(jnp.isfinite(x)) for x in _arrays(new)]))
        sound &= jnp.all(new.s > 0) & jnp.all(norm(new.w) < new.t)
        sound &= jnp.all(norm(new.q) < beta)
        point = jax.tree.map(lambda a, b: jnp.where(sound, a, b), new, at)
        return state.replace(point=point, stuck=~sound | (length < 1e-8))

    def check(self, program: Any, state: InteriorPointState) -> InteriorPointState:
        at = state.point
        slack, sizes = 1 - norm(at.q) / program.beta, norm(at.w)
        active = sizes > slack * jnp.max(sizes)
        sparse = jnp.where(active[..., None], at.w, 0)
        lower = program.objective(sparse) < program.objective(at.w)
        progress = state.progress.update(
            self,
            program,
            jnp.where(lower, sparse, at.w),
            [at.r],
            None if program.cones is None else at.mu,
            finite_of=at.w,
        )
        stalled = state.stuck & (progress.status == loop.Status.RUNNING)
        status = jnp.where(stalled, int(loop.Status.STALLED), progress.status)
        return state.replace(progress=progress.replace(status=status))


def _cones(program: Any) -> Cones:
    """The program's cones, or cones without rows."""
    if program.cones is not None:
        return program.cones
    _, P, d = program.shape
    dtype = program.X.dtype
    return SignCones(
        rows=jnp.zeros((0, d), dtype),
        lengths=jnp.zeros(0, dtype),
        masks=jnp.zeros((P, 0), bool),
        interior=jnp.zeros((P, d), dtype),
    )


def _central(program: Any, cones: Cones, level: Array) -> Point:
    """The point of the central path of r = 0 at one complementarity."""
    beta, n = program.beta, cones.num_rows
    inner = jnp.broadcast_to(cones.interior, program.shape)
    stretch = jnp.sqrt(1 + 1 / max(n, 1))
    pull = norm(cones.adjoint(1 / _slack(cones, inner)))
    size = level * pull * stretch / beta
    w, t = size[..., None] * inner, jnp.maximum(size * stretch, level / beta)
    s = _slack(cones, w)
    mu = level / s
    r = jnp.zeros_like(program.y)
    return Point(w=w, t=t, s=s, mu=mu, q=-cones.adjoint(mu), r=r)


def _slack(cones: Cones, w: Array) -> Array:
    """A w; 1 at zero rows, whose inequalities always hold."""
    return jnp.where(cones.live()[None], cones.apply(w), 1)


def _arrays(point: Point) -> list[Array]:
    return jax.tree.leaves(point)


def _moved(at: Point, move: Point, length: Array) -> Point:
    return jax.tree.map(lambda a, b: a + length * b, at, move)


def _inside(program: Any, cones: Cones, point: Point) -> Point:
    """The same point with s and q recomputed, so that their equations hold."""
    q = -(program.adjoint(point.r) + cones.adjoint(point.mu))
    return point.replace(s=_slack(cones, point.w), q=q)


def _complementarity(at: Point, beta: Array) -> Array:
    """The sum of (t, w)^T (beta, q) and s^T mu."""
    return jnp.sum(at.t * beta + soc.inner(at.w, at.q)) + jnp.sum(at.s * at.mu)


def _room(at: Point, beta: Array, move: Point) -> Array:
    """The longest step that stays inside all cones, primal and dual."""

    def ratio(x: Array, dx: Array) -> Array:
        falls = dx < 0
        steps = jnp.where(falls, -x / jnp.where(falls, dx, 1), jnp.inf)
        return jnp.min(steps, initial=jnp.inf)

    heads = jnp.broadcast_to(beta, at.t.shape)
    primal = soc.room((at.t, at.w), (move.t, move.w))
    dual = soc.room((heads, at.q), (jnp.zeros_like(heads), move.q))
    ends = (ratio(at.s, move.s), ratio(at.mu, move.mu), jnp.min(primal), jnp.min(dual))
    return jnp.min(jnp.stack(ends))


def _outliers(
    scaling: Scaling, ahead: Point, beta: Array, target: Array
) -> tuple[soc.Pair, Array]:
    """What brings the products at `ahead` back into a band around the target."""

    def back(v: Array) -> Array:
        off = jnp.clip(v, target / _BAND, target * _BAND) - v
        return jnp.maximum(off, -target * _BAND)

    heads = jnp.broadcast_to(beta, ahead.t.shape)
    cone = soc.product(
        scaling.inverse((ahead.t, ahead.w)), scaling.apply((heads, ahead.q))
    )
    return soc.map_eigenvalues(cone, back), back(ahead.s * ahead.mu)


def _solve(
    program: Any,
    cones: Cones,
    newton: Newton,
    at: Point,
    u: soc.Pair,
    orthant: Array,
    miss: Array,
    rounds: Array,
) -> Point:
    """The Newton move, refined for some rounds.

    It has W^{-1} dx + W dz = u, s dmu + mu ds = orthant and F dw + dr = miss.
    """
    scaling, change = newton.scaling, orthant / at.s
    goal = scaling.apply(u)[1]
    right = cones.adjoint(change) + scaling.curvature(goal)

    def curved(w: Array) -> Array:
        stiff = cones.adjoint(newton.ratio * cones.apply(w))
        return scaling.curvature(w) + stiff

    def blocks(v: Array) -> Array:
        v = jnp.einsum("spij,spi->spj", newton.factors, v, precision="highest")
        return jnp.einsum("spij,spj->spi", newton.factors, v, precision="highest")

    def both(v: Array, fit: Array) -> tuple[Array, Array]:
        alone = blocks(v)
        rest = fit - program.forward(alone)
        r = jax.scipy.linalg.cho_solve((newton.cholesky, True), rest)
        return alone + blocks(program.adjoint(r)), r

    def refine(_: int, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        w, r = carry
        left = right + program.adjoint(r) - curved(w)
        dw, dr = both(left, miss - program.forward(w) - r)
        return w + dw, r + dr

    w, r = jax.lax.fori_loop(0, rounds, refine, both(right, miss))
    s = cones.apply(w)
    mu = change - newton.ratio * s
    return Point(
        w=w,
        t=scaling.head_of(scaling.inverse(u)[0], w),
        s=s,
        mu=mu,
        q=-(program.adjoint(r) + cones.adjoint(mu)),
        r=r,
    )


def _factor(program: Any, cones: Cones, at: Point) -> Newton:
    beta = jnp.broadcast_to(program.beta, at.t.shape)
    scaling = Scaling.between((at.t, at.w), (beta, at.q))
    ratio = at.mu / at.s
    factors = _block_factors(cones, scaling.root(), ratio)
    inverses = linalg.dot(factors, jnp.swapaxes(factors, -1, -2))
    system = program.spread(inverses)
    system = system + jnp.eye(len(system), dtype=system.dtype)
    return Newton(
        scaling=scaling,
        ratio=ratio,
        factors=factors,
        cholesky=jnp.linalg.cholesky(system),
    )


def _block_factors(cones: Cones, root: Array, ratio: Array) -> Array:
    """C_b with C_b C_b^T = (S_b + A_b^T diag(ratio_b) A_b)^{-1}.

    Near the optimum the ratios span 20 orders of magnitude: summed up, the large ones
    would drown S. So the d largest rows of each block and S^{1/2} are kept as rows,
    only the others are summed up, and an orthogonal factorisation joins them.

    Args:
      root: [2, P, d, d], S^{1/2}.
      ratio: [2, P, n].
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

    def factor(rows: tuple[Array, Array, Array]) -> Array:
        stiff, root, rest = rows
        stack = jnp.concatenate([stiff, root, jnp.linalg.cholesky(rest).T])
        scale = 1 / jnp.sqrt(jnp.sum(stack**2, axis=0, keepdims=True))
        upper = jnp.linalg.qr(stack * scale, mode="r")
        inverse = jax.scipy.linalg.solve_triangular(upper, eye)
        return scale.T * inverse

    rest = rest + ridge[:, None, None] * eye[None]
    parts = stiff, root.reshape(S * P, d, d), rest
    batch = min(S * P, _QR_BATCH)
    return jax.lax.map(factor, parts, batch_size=batch).reshape(S, P, d, d)
