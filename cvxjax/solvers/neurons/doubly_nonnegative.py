"""Newton steps over matrices that are PSD and non-negative between the facets of cones.

    minimise  1/2 tr Y^T G Y + beta/2 sum_i tr(E_i U_i),
              G = (I + sum_i A_i U_i A_i^T / beta)^{-1},

over U_i PSD with a^T U_i b >= 0 for all pairs a, b of facets of cone i. Cell i has
coordinates of its own, u = T_i x, in which it is round however narrow it is:
A_i = D_i X T_i, E_i = T_i^T T_i. With R = G Y, Z_i and N_ik >= 0 are optimal if

    beta/2 E_i - A_i^T R R^T A_i / (2 beta) = Z_i + sum_k N_ik sym(a_k b_k^T),
    Z_i U_i = 0,  N_ik a_k^T U_i b_k = 0.

The first term's Hessian is J^T (G x I) J / beta^2 with J U = sum_i A_i U_i A_i^T R, so
that a primal-dual step takes one q x q factor a pattern, q = r (r + 1) / 2, and one of
n c x n c. It takes 10 to 30 steps where a trial of ADMM had not converged in 12,000.

Source: Sahiner, Ergen, Pauly & Pilanci (ICLR 2021) for the program; Todd, Toh &
Tutuncu, On the Nesterov-Todd Direction in Semidefinite Programming (1998).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.algebra.row_space import coordinates, row_space
from cvxjax.algebra.symmetric import smat, symmetrise
from cvxjax.arrangements.facets import find_facets
from cvxjax.record import Record

Array = jax.Array

_BOUNDARY = 0.95  # of the way that a step goes
_INSIDE = 0.5  # of the way from the cells' centres to the boundary, at the start
_CENTRE = (1e-4, 0.8)  # least and largest share of complementarity that is kept

_einsum = partial(jnp.einsum, precision="highest")


class DoublyNonnegative(Record):
    """The program's data; facets are rows a with a^T x = 1 at the cell's centre."""

    y: Array  # [n, c]
    beta: Array  # []
    features: Array  # [P, n, r], A_i
    weights: Array  # [P, r, r], E_i
    basis: Array  # [q, r, r], orthonormal, of the symmetric matrices
    pairs: Array  # [P, k, q], sym(a_k b_k^T) in that basis; zeros where there is none
    paired: Array  # [P, k], bool: which pairs count
    turns: Array  # [P, d, r], T_i
    facets: Array  # [P, f, r]; zeros where there is none
    ends: Array  # [P, k, 2], int: the rows of X that a pair is made of
    scales: Array  # [P, k], > 0: products of these rows over those of the facets

    def products(self, U: Array) -> Array:
        """a_k^T U_i b_k, [P, k]."""
        flat = _einsum("qab,pab->pq", self.basis, U)
        return _einsum("pkq,pq->pk", self.pairs, flat)

    def slacks(self, U: Array) -> Array:
        """`products`, with 1 for pairs that do not count."""
        return jnp.where(self.paired, self.products(U), 1)

    def inverse(self, U: Array) -> Array:
        """G^{-1}, [n, n]."""
        P, n, r = self.features.shape
        left, right = (
            jnp.moveaxis(x, 1, 0).reshape(n, P * r)
            for x in (linalg.dot(self.features, U), self.features)
        )
        return jnp.eye(n, dtype=U.dtype) + linalg.dot(left, right.T) / self.beta

    @jax.jit
    def evaluate(self, U: Array) -> tuple[Array, Array]:
        """The objective and R [n, c]."""
        factor = jnp.linalg.cholesky(self.inverse(U))
        R = jax.scipy.linalg.cho_solve((factor, True), self.y)
        penalty = self.beta * jnp.sum(self.weights * U) / 2
        return jnp.sum(R * self.y) / 2 + penalty, R


class PrimalDualPoint(Record):
    """A point strictly inside the cones and their duals, or a move of one."""

    U: Array  # [P, r, r]
    Z: Array  # [P, r, r]
    N: Array  # [P, k], >= 0


def make_relaxation(program: Any) -> tuple[DoublyNonnegative, PrimalDualPoint]:
    """The relaxation of a `VectorOutputProgram`, and where to start.

    The start has the penalty that bounds the optimum's, and one complementarity.
    """
    X, Y = np.asarray(program.X, np.float64), np.asarray(program.y, np.float64)
    masks, cones, beta = np.asarray(program.masks), program.cones, float(program.beta)
    rows, lengths, space, centres = _conditioned(X, np.asarray(cones.interior))
    P, r = len(masks), space.shape[1]
    indices, valid = find_facets(rows, masks, centres)
    sides = np.where(np.take_along_axis(masks, indices, axis=1), 1.0, -1.0)
    facets = rows[indices] * (sides * valid)[..., None]
    reach = np.where(valid, np.einsum("pfa,pa->pf", facets, centres), 1)
    facets = facets / reach[..., None]
    _, values, right = np.linalg.svd(facets, full_matrices=False)
    turns = (np.swapaxes(right, 1, 2) / values[:, None]) @ right
    facets = facets @ turns
    centres = np.linalg.solve(turns, centres[..., None])[..., 0]
    first, second = np.triu_indices(facets.shape[1], 1)
    paired = valid[:, first] & valid[:, second]
    a, b = facets[:, first], facets[:, second]
    basis = smat(jnp.eye(r * (r + 1) // 2))
    scales = lengths[indices] * reach
    features = lengths[:, None] * rows

    # g g^T + t I with t a^T b > -1, since a^T g = b^T g = 1.
    cosines = np.where(paired, np.sum(a * b, axis=2), 0)
    room = _INSIDE / np.maximum(-np.min(cosines, axis=1, initial=0), _INSIDE)
    U = centres[:, :, None] * centres[:, None] + room[:, None, None] * np.eye(r)
    whole = space @ turns
    weights = np.swapaxes(whole, 1, 2) @ whole
    size = np.sum(Y**2) / 2
    U *= size / (2 * beta * P * np.sum(weights * U, axis=(1, 2)))[:, None, None]
    mu = size / (P * r + np.sum(paired))
    relaxation = DoublyNonnegative(
        y=jnp.asarray(Y),
        beta=jnp.asarray(beta),
        features=jnp.asarray(np.where(masks[..., None], features, 0) @ turns),
        weights=jnp.asarray(weights),
        basis=basis,
        pairs=jnp.einsum("qab,pka,pkb->pkq", basis, a, b, precision="highest"),
        paired=jnp.asarray(paired),
        turns=jnp.asarray(whole),
        facets=jnp.asarray(facets),
        ends=jnp.asarray(np.stack([indices[:, first], indices[:, second]], axis=2)),
        scales=jnp.asarray(scales[:, first] * scales[:, second]),
    )
    slacks = relaxation.slacks(jnp.asarray(U))
    start = PrimalDualPoint(
        U=jnp.asarray(U),
        Z=jnp.asarray(mu * np.linalg.inv(U)),
        N=jnp.where(relaxation.paired, mu / slacks, 0),
    )
    return relaxation, start


def _conditioned(X: np.ndarray, interior: np.ndarray) -> tuple[np.ndarray, ...]:
    """Coordinates x, u = space x, in which data of whatever columns are round.

    Args:
      X: [n, d].
      interior: [P, d], points strictly inside the cells.

    Returns:
      Rows of X space [n, r] over their lengths, these [n], 1 for zero rows, the space
      [d, r], in the span of X's rows, and the points [P, r].
    """
    found, basis = coordinates(X), row_space(X)
    space = basis @ (basis.T @ found.change)
    sizes = np.linalg.norm(found.rows, axis=1)
    sizes = np.where(sizes > 0, sizes, 1)
    columns = np.linalg.norm(space, axis=0)
    points = np.linalg.lstsq(space / columns, interior.T)[0].T / columns
    return found.rows / sizes[:, None], np.ldexp(sizes, found.exponents), space, points


@jax.jit
def newton_step(at: DoublyNonnegative, point: PrimalDualPoint) -> PrimalDualPoint:
    """One predictor and one centred step; NaN where rounding leaves none."""
    beta, (P, n, r), q = at.beta, at.features.shape, at.basis.shape[0]
    U, Z, N = point.U, point.Z, point.N
    c, slacks = at.y.shape[1], at.slacks(U)
    inverse = at.inverse(U)
    R = jax.scipy.linalg.cho_solve((jnp.linalg.cholesky(inverse), True), at.y)
    pulled = _einsum("pna,nc->pac", at.features, R)
    slope = beta / 2 * at.weights - linalg.dot(pulled, pulled.mT) / (2 * beta)
    slope = _einsum("qab,pab->pq", at.basis, slope)

    inner, outer = _cholesky(jnp.stack([U, Z]))  # [2, P, r, r], L and L^{-1}
    values, turn = jnp.linalg.eigh(linalg.dot(linalg.dot(inner[0].mT, Z), inner[0]))
    half = linalg.dot(outer[0].mT, turn)
    scaling = linalg.dot(half * jnp.sqrt(values)[:, None], half.mT)  # W^{-1}
    U_inverse = linalg.dot(outer[0].mT, outer[0])

    ratio = N / slacks
    blocks = _einsum("kab,pbc,lcd,pda->pkl", at.basis, scaling, at.basis, scaling)
    blocks = blocks + _einsum("pmk,pm,pml->pkl", at.pairs, ratio, at.pairs)
    factors = _cholesky(blocks)[1]
    J = _einsum("pna,qab,pbc->pqnc", at.features, at.basis, pulled)
    J = linalg.dot(factors, J.reshape(P, q, n * c)).reshape(P * q, n * c)
    system = beta**2 * jnp.kron(inverse, jnp.eye(c, dtype=U.dtype))
    system = (jnp.linalg.cholesky(system + linalg.dot(J.T, J)), True)

    def move_to(target: Array) -> PrimalDualPoint:
        """The direction to the point of the central path with this complementarity."""
        pull = jnp.where(at.paired, target / slacks, 0)
        side = target * _einsum("qab,pab->pq", at.basis, U_inverse) - slope
        side = side + _einsum("pk,pkq->pq", pull, at.pairs)
        z = _einsum("pkq,pq->pk", factors, side).reshape(-1)
        z = z - linalg.dot(J, jax.scipy.linalg.cho_solve(system, linalg.dot(J.T, z)))
        x = _einsum("pkq,pk->pq", factors, z.reshape(P, q))
        dU = _einsum("pq,qab->pab", x, at.basis)
        dZ = target * U_inverse - Z - linalg.dot(linalg.dot(scaling, dU), scaling)
        return PrimalDualPoint(U=dU, Z=dZ, N=pull - N - ratio * at.products(dU))

    def longest(move: PrimalDualPoint) -> Array:
        """The step at which some cone's boundary is met."""
        change = linalg.dot(linalg.dot(outer, jnp.stack([move.U, move.Z])), outer.mT)
        falls = [
            jnp.linalg.eigvalsh(change),
            at.products(move.U) / slacks,
            move.N / jnp.where(at.paired, N, 1),
        ]
        steepest = jnp.stack([jnp.min(x, initial=0) for x in falls])
        return 1 / jnp.maximum(-jnp.min(steepest), 1e-30)

    def along(move: PrimalDualPoint, length: Array) -> PrimalDualPoint:
        return jax.tree.map(lambda x, dx: x + length * dx, point, move)

    count = P * r + jnp.sum(at.paired)
    mu = _complementarity(at, point) / count
    predictor = move_to(jnp.zeros_like(mu))
    ahead = along(predictor, jnp.minimum(longest(predictor), 1))
    kept = jnp.clip((_complementarity(at, ahead) / count / mu) ** 2, *_CENTRE)
    move = move_to(kept * mu)
    new = along(move, jnp.minimum(_BOUNDARY * longest(move), 1))
    return new.replace(U=symmetrise(new.U), Z=symmetrise(new.Z))


def _complementarity(at: DoublyNonnegative, point: PrimalDualPoint) -> Array:
    return jnp.sum(point.U * point.Z) + jnp.sum(at.products(point.U) * point.N)


def _cholesky(matrices: Array) -> tuple[Array, Array]:
    """L with L L^T the matrices, and L^{-1}, for a batch."""
    factor = jnp.linalg.cholesky(matrices)
    eye = jnp.broadcast_to(jnp.eye(matrices.shape[-1]), matrices.shape)
    return factor, jax.scipy.linalg.solve_triangular(factor, eye, lower=True)
