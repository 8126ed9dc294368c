"""Interior-point steps over pairs of PSD matrices whose difference predicts.

    minimise  L(f) + beta <C, Z+ + Z->,  f = A (Z+ - Z-),
    <E_j, Z+ + Z-> = 0,  <N_k, Z+ - Z-> = 0,  Z+, Z- >= 0,

for a smooth loss, whose slope -v = L'(f) has optimality

    S_s = beta C + sum_j mu_j E_j + s sum_k nu_k N_k - s A* v >= 0,  Z_s S_s = 0.

The data enter through the Gram matrix G = A* A alone (weighted by L'' if that is not
constant), q (q + 1) / 2 numbers square however many samples there are; for the squared
loss it is made once. With W_s the Nesterov-Todd scaling of Z_s, S_s, a step solves
(I + T G) D = b for the move D of the difference, T = W+ (x) W+ + W- (x) W-. One basis
diagonalises both W+ = B B^T and W- = B Diag(l) B^T, and with it T = K K^T for
K = (B (x) B) Diag(1 + l_i l_j)^(1/2), without a factorisation; what is left is a
Cholesky factor of I + K^T G K, where K^T G K takes products of q x q matrices alone.

A step takes about 2 q^5 + q^6 / 24 operations for an order of q, and 12 to 25 of them
give nine digits whatever beta is, where a first-order method slows down.

Source: Todd, Toh & Tutuncu, On the Nesterov-Todd Direction in Semidefinite Programming
(1998); Mehrotra (1992) for the predictor and the corrector.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.algebra.symmetric import along, congruence, smat, svec, symmetrise
from cvxjax.forms.contracts import Pairs
from cvxjax.record import Record, static
from cvxjax.solution import Status
from cvxjax.solvers.base import SteppedSolver
from cvxjax.solvers.pairs.nearby_matrices import (
    feasible_dual,
    nearby_matrices,
    ridge_fit,
    size_refusal,
)
from cvxjax.solvers.pairs.semidefinite_step import (
    make_basis,
    make_system,
    reach,
)
from cvxjax.solvers.progress import Progress
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.starts import Start

Array = jax.Array

_BOUNDARY = 0.98  # of the way that a step goes
_CURVED = ("squared", "logistic", "squared_hinge")  # Newton's method needs no search
_KEPT = 0.1  # of S at least, when it jumps to what its equation says
_REFINEMENTS = 4  # of a step; each takes a few digits off what equations miss
_NEAR = 30.0  # times the tolerance, of complementarity where bounds are computed
_LEAST = 1e-6  # relative gap that a start is taken to have
_SPACING = 5  # steps between bounds elsewhere
_PATIENCE = 15  # steps without a smaller gap: the precision's floor
_MAX_NUMBERS = 3_000  # svec of all windows: the size of the Newton system


class State(Record):
    """A point strictly inside the cones, and a dual vector -L'(A fitted).

    `fitted` becomes Z+ - Z-, but is moved for itself: S must not inherit the rounding
    of large Z.
    """

    Z: Array  # [c, 2, W, q, q]
    S: Array  # as Z
    fitted: Array  # [c, N], svec
    even: Array  # [c, W, k], mu
    odd: Array  # [c, W, l], nu
    gram: Array  # [N, N], of unit weights; N = W q (q + 1) / 2
    progress: Progress


class SemidefiniteInteriorPoint(SteppedSolver):
    """Primal-dual steps with predictor and corrector, in float64.

    For squared, logistic and squared hinge losses, and matrices of small order: all
    windows together have at most 3,000 numbers, an order of 76 for one. It starts in
    the interior of the cones: parameters alone do not help, a solution does.

    Args:
      tol: relative duality gap; default 1e-8.
      max_iters: static.
    """

    max_iters: int = static(default=100)
    check_every: int = static(default=1)
    lean: ClassVar[bool] = True  # as `compiled.jit_leanly`: products take its time
    takes: ClassVar[Takes] = Takes(form=Pairs, losses=_CURVED, float64=True)

    def limits(self, program: Any) -> str | None:
        return size_refusal(program, _MAX_NUMBERS)

    def init(self, program: Any, w: Array) -> State:
        c, W, q = program.outputs, program.windows, program.order
        sum_ties, difference_ties = program.regulariser.ties(q)
        gram = program.gram(jnp.ones(len(program.X), w.dtype))
        fit, pull = ridge_fit(program, gram)  # for the sizes of Z and S
        size = jnp.sqrt(jnp.max(jnp.sum(fit**2, axis=1)))
        slope = jnp.sqrt(jnp.max(jnp.sum(pull**2, axis=1)))
        centre = jnp.asarray(program.regulariser.centre(q), w.dtype)
        Z = jnp.broadcast_to(
            jnp.where(size > 0, size, 1) * centre[None, None, None], (c, 2, W, q, q)
        )
        S = jnp.broadcast_to(along(jnp.eye(q), Z), Z.shape)
        return State(
            Z=Z,
            S=jnp.maximum(slope, program.beta) * S,
            fitted=jnp.zeros_like(pull),
            even=jnp.zeros((c, W, len(sum_ties)), w.dtype),
            odd=jnp.zeros((c, W, len(difference_ties)), w.dtype),
            gram=gram,
            progress=Progress.start(self, program, w),
        )

    def adopt(self, program: Any, state: State, start: Start) -> State:
        """Starts near the solution of a similar program, with its dual vector."""
        if start.dual is None:
            return state
        w, v = start.params, feasible_dual(program, start.dual)
        value, conjugate = program.objective(w), program.loss.conjugate(-v, program.y)
        apart = jnp.maximum(value + conjugate, _LEAST * value)
        count = state.Z.size // program.order
        Z, S, even, odd = nearby_matrices(program, apart / count, w, v)
        fitted = svec(program.difference(w)).reshape(state.fitted.shape)
        near = state.replace(Z=Z, S=S, even=even, odd=odd, fitted=fitted)
        inside = [jnp.all(jnp.isfinite(jnp.linalg.cholesky(M))) for M in (Z, S)]
        sound = jnp.all(jnp.isfinite(fitted)) & inside[0] & inside[1] & (apart > 0)
        return jax.tree.map(lambda a, b: jnp.where(sound, a, b), near, state)

    def step(self, program: Any, state: State) -> State:
        f = program.fit(state.fitted)
        slope = program.loss.gradient(f, program.y)
        pulls = -program.pull(slope)
        if program.loss.quadratic:
            one = lambda x: _advance(program, state.gram, *x)  # noqa: E731
        else:
            ones = jnp.ones_like(f)
            curve = lambda z: program.loss.gradient(z, program.y)  # noqa: E731
            weights = jax.jvp(curve, (f,), (ones,))[1].reshape(len(f), -1).T

            def one(x: tuple[Any, ...]) -> Any:
                return _advance(program, program.gram(x[-1]), *x[:-1])

        point = (state.Z, state.S, state.fitted, state.even, state.odd, pulls)
        given = point if program.loss.quadratic else (*point, weights)
        Z, S, fitted, even, odd = jax.lax.map(one, given)
        return state.replace(Z=Z, S=S, fitted=fitted, even=even, odd=odd)

    def check(self, program: Any, state: State) -> State:
        w = _by_sign(state.Z)
        # What Z+ - Z- misses is along large eigenvalues, so that it may be shared out.
        parts = state.fitted.reshape(len(w[0]), -1)
        apart = (smat(parts) - (w[0] - w[1])) / 2
        point = program.regulariser.inside(w + jnp.stack([apart, -apart]))
        dual = -program.loss.gradient(program.fit(state.fitted), program.y)
        # A bound may cost as much as a step: only where complementarity is small.
        progress, objective = state.progress, program.objective(point)
        size = jnp.maximum(progress.floor, jnp.abs(objective))
        hope = jnp.sum(state.Z * state.S) / jnp.where(size > 0, size, 1)
        due = (hope <= _NEAR * progress.tol) | (progress.iteration % _SPACING == 0)
        progress = jax.lax.cond(
            due, lambda p: p.offer(program, dual, None), lambda p: p, progress
        )
        progress = progress.update(self, program, point, [], None, finite_of=w)
        status = progress.status
        over = progress.iteration - progress.last_gain > _PATIENCE
        over |= (status == Status.NONFINITE) & jnp.isfinite(progress.gap)
        over &= (status == Status.RUNNING) | (status == Status.NONFINITE)
        status = jnp.where(over, jnp.asarray(Status.STALLED, status.dtype), status)
        return state.replace(progress=progress.replace(status=status))


def _by_sign(Z: Array) -> Array:
    """[c, 2, W, q, q] as [2, c W, q, q]."""
    w = jnp.moveaxis(Z, 0, 1)
    return w.reshape(2, -1, *w.shape[3:])


def _advance(
    program: Any,
    gram: Array,
    Z: Array,
    S: Array,
    fitted: Array,
    even: Array,
    odd: Array,
    pull: Array,
) -> tuple[Array, Array, Array, Array, Array]:
    """One step of one output: Z, S [2, W, q, q], pull = svec A* v [N]."""
    q = program.order
    eye = along(jnp.eye(q), Z)
    ties = [jnp.asarray(E, Z.dtype) for E in program.regulariser.ties(q)]
    cost = program.beta * jnp.asarray(program.regulariser.cost(q), Z.dtype)
    flip = jnp.asarray([1.0, -1.0], Z.dtype)[:, None, None, None]
    W = Z.shape[1]

    def slack(even: Array, odd: Array, pull: Array) -> Array:
        """sum_j mu_j E_j + s (sum_k nu_k N_k - A* v), [2, W, q, q]."""
        alike = jnp.einsum("wk,kij->wij", even, ties[0], precision="highest")
        other = jnp.einsum("wk,kij->wij", odd, ties[1], precision="highest")
        return alike[None] + flip * (other - smat(pull.reshape(W, -1)))[None]

    exact = slack(even, odd, pull)
    exact = exact + along(cost, exact)
    # Once S may be what it is to be, it is: what it misses, rounding at the end, would
    # be multiplied by W, which grows without bound.
    inside = jnp.all(jnp.isfinite(jnp.linalg.cholesky(exact - _KEPT * S)))
    S = jnp.where(inside, exact, S)
    missing = exact - S
    basis = make_basis(Z, S)
    system = make_system(gram, basis, ties)
    local = congruence(basis.common.mT[None], missing)

    def unmet(Z: Array, fitted: Array) -> tuple[Array, Array]:
        """`fitted` less Z+ - Z-, in the basis B, and the values of the equations."""
        apart = smat(fitted.reshape(W, -1)) - (Z[0] - Z[1])
        values = [
            jnp.einsum("wij,kij->wk", side, E, precision="highest")
            for side, E in zip((Z[0] + Z[1], Z[0] - Z[1]), ties, strict=True)
        ]
        local = congruence(basis.dual_common.mT, apart)
        return svec(local), jnp.concatenate(values, axis=1)

    def moves(b: Array, rest: tuple[Array, Array]) -> tuple[Array, tuple[Array, ...]]:
        """Of S, but for what it misses, and of all that it is made of."""
        move, multipliers = system.solve(b, *rest)
        even, odd = jnp.split(multipliers, [len(ties[0])], axis=1)
        return slack(even, odd, -linalg.dot(gram, move)), (move, even, odd)

    def direction(
        target: Array, rest: tuple[Array, Array]
    ) -> tuple[Array, Array, tuple[Array, ...]]:
        """Scaled moves of Z and S that sum up to the target, and the others."""
        weights = jnp.stack([jnp.ones_like(basis.ratio), basis.ratio])
        b = svec(congruence(basis.turn, target)) - weights * svec(local)
        dS, others = moves(b, rest)
        return target - scaled(missing + dS), missing + dS, others

    def scaled(dS: Array) -> Array:
        return congruence(basis.scale.mT, dS)

    D = basis.centre[..., None] * eye
    count = 2 * W * q
    mu = jnp.sum(basis.centre**2) / count
    rest = unmet(Z, fitted)
    dZ, dS, _ = direction(-D, rest)
    dS = scaled(dS)
    most = jnp.minimum(reach(basis, dZ), reach(basis, dS))
    after = jnp.sum((D + most * dZ) * (D + most * dS)) / count
    share = jnp.clip(after / mu, 0, 1) ** 3
    product = symmetrise(linalg.dot(dZ, dS))
    pairs = (basis.centre[..., :, None] + basis.centre[..., None, :]) / 2
    target = share * mu / basis.centre[..., None] * eye - D - product / pairs
    dZ, dS, others = direction(target, rest)
    # The rounding of dS, times W, is what equations of Z miss after the step.
    for _ in range(_REFINEMENTS):
        ahead = congruence(basis.scale, D + dZ)
        more, extra = moves(0 * svec(Z), unmet(ahead, fitted + others[0]))
        dZ, dS = dZ - scaled(more), dS + more
        others = tuple(x + y for x, y in zip(others, extra, strict=True))
    most = jnp.minimum(reach(basis, dZ), reach(basis, scaled(dS)))
    t = jnp.minimum(1, _BOUNDARY * most)
    move, more_even, more_odd = (t * x for x in others)
    return (
        symmetrise(congruence(basis.scale, D + t * dZ)),
        symmetrise(S + t * dS),
        fitted + move,
        even + more_even,
        odd + more_odd,
    )
