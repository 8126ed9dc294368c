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

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jax.scipy.linalg import cho_solve, solve_triangular

from cvxjax import linalg
from cvxjax.solution import Status
from cvxjax.solvers import loop
from cvxjax.symmetric import along, congruence, smat, svec, symmetrise

Array = jax.Array

_BOUNDARY = 0.98  # of the way that a step goes
_CURVED = ("squared", "logistic", "squared_hinge")  # Newton's method needs no search
_KEPT = 0.1  # of S at least, when it jumps to what its equation says
_REFINEMENTS = 4  # of a step; each takes a few digits off what equations miss
_PATIENCE = 15  # steps without a smaller gap: the precision's floor
_MAX_NUMBERS = 3_000  # svec of all windows: the size of the Newton system


class State(struct.PyTreeNode, kw_only=True):
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
    progress: loop.Progress


class Basis(struct.PyTreeNode, kw_only=True):
    """Scalings of one output's blocks: W_s = scale_s scale_s^T."""

    scale: Array  # [2, W, q, q], with scale^T S scale = scale^{-1} Z scale^{-T} = D
    centre: Array  # [2, W, q], the diagonal of D
    common: Array  # [W, q, q], B
    dual_common: Array  # [W, q, q], B^{-T}
    turn: Array  # [2, W, q, q], B^{-1} scale_s
    ratio: Array  # [W, q (q + 1) / 2], l_i l_j, in the order of `svec`


class SemidefiniteInteriorPoint(struct.PyTreeNode, kw_only=True):
    """Primal-dual steps with predictor and corrector, in float64.

    For squared, logistic and squared hinge losses, and matrices of small order: all
    windows together have at most 3,000 numbers, an order of 76 for one. It starts in
    the interior of the cones, whatever parameters it is given.

    Args:
      tol: relative duality gap; default 1e-8.
      max_iters: static.
    """

    tol: Any = None
    max_iters: int = struct.field(pytree_node=False, default=100)
    check_every: int = struct.field(pytree_node=False, default=1)

    def refuse(self, program: Any) -> str | None:
        if not hasattr(program, "hadamard"):
            return (
                "its parameters are not pairs of PSD matrices "
                "(SemidefiniteInteriorPoint takes polynomial and quantized networks)"
            )
        if program.loss.name not in _CURVED:
            return f"its loss is {program.loss.name} (it takes {', '.join(_CURVED)})"
        if program.X.dtype != jnp.float64:
            return f"the data are {program.X.dtype} (it takes float64)"
        numbers = program.windows * program.order * (program.order + 1) // 2
        if numbers > _MAX_NUMBERS:
            return f"pairs of {numbers} numbers are more than {_MAX_NUMBERS}"
        return None

    def init(self, program: Any, w: Array) -> State:
        c, W, q = program.outputs, program.windows, program.order
        sum_ties, difference_ties = program.regulariser.ties(q)
        gram = program.gram(jnp.ones(len(program.X), w.dtype))
        pull = program.pull(
            -program.loss.gradient(jnp.zeros_like(program.y), program.y)
        )
        # As large as a ridge fit, and as its dual.
        trace = jnp.trace(gram) / len(gram)
        ridge = gram + jnp.where(trace > 0, 1e-3 * trace, 1) * jnp.eye(len(gram))
        fit = cho_solve((jnp.linalg.cholesky(ridge), True), pull.T)
        size = jnp.sqrt(jnp.max(jnp.sum(fit**2, axis=0)))
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
            progress=loop.Progress.start(self, program, w),
        )

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
        progress = state.progress.update(
            self, program, point, [dual], None, finite_of=w
        )
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
    basis = _make_basis(Z, S)
    system = _make_system(gram, basis, ties)
    local = congruence(_turned(basis.common)[None], missing)

    def unmet(Z: Array, fitted: Array) -> tuple[Array, Array]:
        """`fitted` less Z+ - Z-, in the basis B, and the values of the equations."""
        apart = smat(fitted.reshape(W, -1)) - (Z[0] - Z[1])
        values = [
            jnp.einsum("wij,kij->wk", side, E, precision="highest")
            for side, E in zip((Z[0] + Z[1], Z[0] - Z[1]), ties, strict=True)
        ]
        local = congruence(_turned(basis.dual_common), apart)
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
        return congruence(_turned(basis.scale), dS)

    D = basis.centre[..., None] * eye
    count = 2 * W * q
    mu = jnp.sum(basis.centre**2) / count
    rest = unmet(Z, fitted)
    dZ, dS, _ = direction(-D, rest)
    dS = scaled(dS)
    reach = jnp.minimum(_reach(basis, dZ), _reach(basis, dS))
    after = jnp.sum((D + reach * dZ) * (D + reach * dS)) / count
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
    reach = jnp.minimum(_reach(basis, dZ), _reach(basis, scaled(dS)))
    t = jnp.minimum(1, _BOUNDARY * reach)
    move, more_even, more_odd = (t * x for x in others)
    return (
        symmetrise(congruence(basis.scale, D + t * dZ)),
        symmetrise(S + t * dS),
        fitted + move,
        even + more_even,
        odd + more_odd,
    )


def _make_basis(Z: Array, S: Array) -> Basis:
    first, second = jnp.linalg.cholesky(Z), jnp.linalg.cholesky(S)
    left, centre, right = jnp.linalg.svd(linalg.dot(_turned(second), first))
    roots = jnp.sqrt(centre)[..., None, :]
    scale = linalg.dot(first, _turned(right)) / roots
    dual_scale = linalg.dot(second, left) / roots
    between = linalg.dot(_turned(dual_scale[0]), scale[1])
    out, root, back = jnp.linalg.svd(between)
    squares = root**2
    return Basis(
        scale=scale,
        centre=centre,
        common=linalg.dot(scale[0], out),
        dual_common=linalg.dot(dual_scale[0], out),
        turn=jnp.stack([_turned(out), root[..., :, None] * back]),
        ratio=_upper(squares[..., :, None] * squares[..., None, :]),
    )


class System(struct.PyTreeNode, kw_only=True):
    """The factored equations of one output's step."""

    common: Array  # [W, q, q], B
    ratio: Array  # [W, D]
    factor: Array  # [N, N], of I + K^T G K
    even: Array  # [W, k, D], svec B^T E B
    odd: Array  # [W, l, D], svec B^T N B
    spread: Array  # [N, W (k + l)], K^{-1} of what multipliers do to the difference
    reduced: Array  # [N, W (k + l)], the inverse of the factor times that
    small: Array  # [W (k + l), the same], the multipliers' own equations

    def solve(self, b: Array, apart: Array, unmet: Array) -> tuple[Array, Array]:
        """Moves of `fitted`, svec [N], and of the multipliers [W, k + l].

        Args:
          b: [2, W, D], moves of Z+ and Z- that the other variables do not ask for.
          apart: [W, D], `fitted` less Z+ - Z-; both in the basis B.
          unmet: [W, k + l], the equations' values.
        """
        ratio, root = self.ratio, jnp.sqrt(1 + self.ratio)
        apart = (apart / root).ravel()
        target = ((b[0] - b[1]) / root).ravel() - apart
        inner = solve_triangular(self.factor, target, lower=True)
        mean = 2 * (ratio * b[0] + b[1]) / (1 + ratio)
        own = jnp.einsum("wkd,wd->wk", self.even, mean, precision="highest")
        right = unmet.at[:, : own.shape[1]].add(own).ravel()
        right = right + linalg.dot(self.reduced.T, inner)
        right = right + linalg.dot(self.spread.T, apart)
        moves = jnp.linalg.solve(self.small, right) if len(right) else right
        inner = inner - linalg.dot(self.reduced, moves)
        x = solve_triangular(self.factor, inner, lower=True, trans=1)
        x = x.reshape(root.shape) * root
        move = svec(congruence(self.common, smat(x))).ravel()
        return move, moves.reshape(unmet.shape)


def _make_system(gram: Array, basis: Basis, ties: list[Array]) -> System:
    W, count = basis.ratio.shape
    root = jnp.sqrt(1 + basis.ratio)
    half = _rows_times(gram, basis.common, root)
    whole = _rows_times(half.T, basis.common, root)
    whole = (whole + whole.T) / 2
    factor = jnp.linalg.cholesky(whole + jnp.eye(W * count, dtype=whole.dtype))
    back = _turned(basis.common)[:, None]
    even, odd = (svec(congruence(back, E[None])) for E in ties)
    ratio = basis.ratio[:, None]
    share = (1 + ratio) ** 0.5
    apart = jnp.concatenate([even * (1 - ratio) / share, odd * share], axis=1)
    m = apart.shape[1]
    place = jnp.eye(W, dtype=whole.dtype)
    spread = jnp.einsum("wmd,wv->wdvm", apart, place).reshape(W * count, W * m)
    reduced = solve_triangular(factor, spread, lower=True)
    left = 4 * ratio / (1 + ratio) * even
    mixed = jnp.einsum("wjd,wkd->wjk", left, even, precision="highest")
    fill = m - mixed.shape[1]
    mixed = jnp.pad(mixed, ((0, 0), (0, fill), (0, fill)))
    small = jnp.einsum("wjk,wv->wjvk", mixed, place).reshape(W * m, W * m)
    return System(
        common=basis.common,
        ratio=basis.ratio,
        factor=factor,
        even=even,
        odd=odd,
        spread=spread,
        reduced=reduced,
        small=small + linalg.dot(reduced.T, reduced),
    )


def _rows_times(matrix: Array, common: Array, root: Array) -> Array:
    """K^T M for M [N, N], K = (B (x) B) Diag(root), window by window."""
    W, count = root.shape
    columns = jnp.moveaxis(matrix.reshape(W, count, -1), 1, 2)  # [W, N, D]
    moved = svec(congruence(_turned(common)[:, None], smat(columns)))
    return jnp.moveaxis(moved * root[:, None], 1, 2).reshape(matrix.shape)


def _reach(basis: Basis, moves: Array) -> Array:
    """The largest t with D + t moves >= 0."""
    root = jnp.sqrt(basis.centre)
    scaled = moves / (root[..., :, None] * root[..., None, :])
    least = jnp.min(jnp.linalg.eigvalsh(scaled))
    return 1 / jnp.maximum(-least, jnp.finfo(moves.dtype).tiny)


def _upper(matrices: Array) -> Array:
    i, j = np.triu_indices(matrices.shape[-1])
    return matrices[..., i, j]


def _turned(matrices: Array) -> Array:
    return jnp.swapaxes(matrices, -1, -2)
