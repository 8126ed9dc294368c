"""The scalings and the linear system of one interior-point step over pairs.

W_s = scale_s scale_s^T is the Nesterov-Todd scaling of Z_s and S_s. One basis B has
W+ = B B^T and W- = B Diag(l) B^T, and with it W+ (x) W+ + W- (x) W- = K K^T for
K = (B (x) B) Diag(1 + l_i l_j)^(1/2), without a factorisation. In that basis the
equations of the multipliers are sums of positive terms: nothing is subtracted.

Source: Todd, Toh & Tutuncu, On the Nesterov-Todd Direction in Semidefinite Programming
(1998).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from cvxjax.algebra import linalg
from cvxjax.algebra.symmetric import congruence, smat, svec, upper
from cvxjax.record import Record

Array = jax.Array


class Basis(Record):
    """Scalings of one output's blocks: W_s = scale_s scale_s^T."""

    scale: Array  # [2, W, q, q], with scale^T S scale = scale^{-1} Z scale^{-T} = D
    centre: Array  # [2, W, q], the diagonal of D
    common: Array  # [W, q, q], B
    dual_common: Array  # [W, q, q], B^{-T}
    turn: Array  # [2, W, q, q], B^{-1} scale_s
    ratio: Array  # [W, q (q + 1) / 2], l_i l_j, in the order of `svec`


def make_basis(Z: Array, S: Array) -> Basis:
    """The scalings of positive definite Z and S, [2, W, q, q]; NaN of others."""
    first, second = jnp.linalg.cholesky(Z), jnp.linalg.cholesky(S)
    left, centre, right = jnp.linalg.svd(linalg.dot(second.mT, first))
    roots = jnp.sqrt(centre)[..., None, :]
    scale = linalg.dot(first, right.mT) / roots
    dual_scale = linalg.dot(second, left) / roots
    between = linalg.dot(dual_scale[0].mT, scale[1])
    out, root, back = jnp.linalg.svd(between)
    squares = root**2
    return Basis(
        scale=scale,
        centre=centre,
        common=linalg.dot(scale[0], out),
        dual_common=linalg.dot(dual_scale[0], out),
        turn=jnp.stack([out.mT, root[..., :, None] * back]),
        ratio=upper(squares[..., :, None] * squares[..., None, :]),
    )


class System(Record):
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


def make_system(gram: Array, basis: Basis, ties: list[Array]) -> System:
    """The factored equations.

    Args:
      gram: [N, N], G.
      basis: of one output.
      ties: E [k, q, q], equations of Z+ + Z-, and N [l, q, q], of Z+ - Z-.
    """
    W, count = basis.ratio.shape
    root = jnp.sqrt(1 + basis.ratio)
    half = _rows_times(gram, basis.common, root)
    whole = _rows_times(half.T, basis.common, root)
    whole = (whole + whole.T) / 2
    factor = jnp.linalg.cholesky(whole + jnp.eye(W * count, dtype=whole.dtype))
    back = basis.common.mT[:, None]
    even, odd = (svec(congruence(back, E[None])) for E in ties)
    ratio = basis.ratio[:, None]
    share = (1 + ratio) ** 0.5
    apart = jnp.concatenate([even * (1 - ratio) / share, odd * share], axis=1)
    m = apart.shape[1]
    place = jnp.eye(W, dtype=whole.dtype)
    spread = jnp.einsum("wmd,wv->wdvm", apart, place, precision="highest")
    spread = spread.reshape(W * count, W * m)
    reduced = solve_triangular(factor, spread, lower=True)
    left = 4 * ratio / (1 + ratio) * even
    mixed = jnp.einsum("wjd,wkd->wjk", left, even, precision="highest")
    fill = m - mixed.shape[1]
    mixed = jnp.pad(mixed, ((0, 0), (0, fill), (0, fill)))
    small = jnp.einsum("wjk,wv->wjvk", mixed, place, precision="highest")
    small = small.reshape(W * m, W * m)
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
    moved = svec(congruence(common.mT[:, None], smat(columns)))
    return jnp.moveaxis(moved * root[:, None], 1, 2).reshape(matrix.shape)


def reach(basis: Basis, moves: Array) -> Array:
    """The largest t with D + t moves >= 0."""
    root = jnp.sqrt(basis.centre)
    scaled = moves / (root[..., :, None] * root[..., None, :])
    least = jnp.min(jnp.linalg.eigvalsh(scaled))
    return 1 / jnp.maximum(-least, jnp.finfo(moves.dtype).tiny)
