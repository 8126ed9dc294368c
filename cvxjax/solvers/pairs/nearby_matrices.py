"""Where solvers over pairs of matrices start, and up to which size.

From a solution of a program near by, as `solvers.blocks.nearby_point` does for
`InteriorPoint`: positive definite Z and S that share eigenvectors and whose product is
a multiple of the identity, with Z' - k S' = Z - k S. The residuals of the linear
equations are then about as large as the difference between the two programs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.algebra.symmetric import along, smat, symmetrise
from cvxjax.solvers.blocks.nearby_point import positive_root
from cvxjax.solvers.starts import rescaled_dual

Array = jax.Array

_RIDGE = 0.75  # power of the machine epsilon, beside the multipliers' largest weight


def size_refusal(program: Any, most: int) -> str | None:
    """Why a linear system in the `svec` of all windows is too large; None: it is not.

    Args:
      most: numbers of that `svec`.
    """
    numbers = program.windows * program.order * (program.order + 1) // 2
    return (
        f"pairs of {numbers} numbers are more than {most}" if numbers > most else None
    )


def ridge_fit(program: Any, gram: Array) -> tuple[Array, Array]:
    """(A* A + ridge)^{-1} A* v and A* v, [c, N], for v minus the gradient at zero.

    Args:
      gram: A* A, [N, N]; the ridge is a thousandth of its mean eigenvalue.
    """
    y = program.y
    pull = program.pull(-program.loss.gradient(jnp.zeros_like(y), y))
    trace = jnp.trace(gram) / len(gram)
    eye = jnp.eye(len(gram), dtype=gram.dtype)
    ridge = gram + jnp.where(trace > 0, 1e-3 * trace, 1) * eye
    return jnp.linalg.solve(ridge, pull.T).T, pull


def nearby_matrices(
    program: Any, level: Array, w: Array, v: Array
) -> tuple[Array, Array, Array, Array]:
    """Z, S [c, 2, W, q, q] with Z S = level I, and multipliers of the equations.

    Args:
      level: [], > 0.
      w: parameters [2, c W, q, q].
      v: a dual vector, as y; feasible.

    Returns:
      Z, S, and the multipliers of the sum's equations [c, W, k] and the difference's.
    """
    c, W, q = program.outputs, program.windows, program.order
    slack, even, odd = dual_slacks(program, w, v)

    def one(given: tuple[Array, Array]) -> tuple[Array, Array]:
        Z, S = given  # [2, q, q]
        sizes = [jnp.sum(jnp.maximum(jnp.linalg.eigvalsh(M), 0)) for M in (*Z, *S)]
        over, under = sizes[0] + sizes[1], sizes[2] + sizes[3]
        known = (over > 0) & (under > 0)
        unit = jnp.where(known, over, 1) / jnp.where(known, under, 1)
        parts = [_parted(M, unit, level) for M in Z - unit * S]
        Z, S = (jnp.stack(x) for x in zip(*parts, strict=True))
        return Z, S

    pairs = jax.lax.map(one, (jnp.moveaxis(w, 0, 1), jnp.moveaxis(slack, 0, 1)))
    Z, S = (jnp.moveaxis(M.reshape(c, W, 2, q, q), 2, 1) for M in pairs)
    return Z, S, even.reshape(c, W, -1), odd.reshape(c, W, -1)


def feasible_dual(program: Any, v: Array) -> Array:
    """A dual vector scaled so that its largest price is beta, in the loss's domain."""
    gauge = jnp.max(program.regulariser.dual_norms(program.adjoint(v)))
    return rescaled_dual(program, v, None, gauge)[0]


def dual_slacks(program: Any, w: Array, v: Array) -> tuple[Array, Array, Array]:
    """S_s = beta C + sum_j mu_j E_j + s (sum_k nu_k N_k - A* v), most orthogonal to w.

    Returns:
      S [2, c W, q, q], and mu [c W, k] and nu [c W, l] that make the products S_s w_s
      least in squares.
    """
    q = program.order
    ties = [jnp.asarray(E, w.dtype) for E in program.regulariser.ties(q)]
    cost = program.beta * along(program.regulariser.cost(q), w)[0]
    pulls = smat(program.pull(v).reshape(len(w[0]), -1))
    signs = jnp.asarray([1.0, -1.0], w.dtype)[:, None, None]

    def one(given: tuple[Array, Array]) -> tuple[Array, Array, Array]:
        Z, pull = given  # [2, q, q], [q, q]
        S = cost - signs * pull[None]
        even, odd = jnp.split(_multipliers(Z, S, ties, signs), [len(ties[0])])
        alike = jnp.einsum("k,kij->ij", even, ties[0], precision="highest")
        other = jnp.einsum("k,kij->ij", odd, ties[1], precision="highest")
        S = S + alike[None] + signs * other[None]
        return S, even, odd

    S, even, odd = jax.lax.map(one, (jnp.moveaxis(w, 0, 1), pulls))
    return jnp.moveaxis(S, 1, 0), even, odd


def _multipliers(Z: Array, S: Array, ties: list[Array], signs: Array) -> Array:
    """Those that make S_s Z_s least in squares, with both sides' equations, [k + l]."""
    columns = [linalg.dot(ties[0][:, None], Z[None])]
    columns.append(linalg.dot(ties[1][:, None] * signs[None], Z[None]))
    A = jnp.concatenate([x.reshape(len(x), Z.size) for x in columns])
    if not len(A):
        return jnp.zeros(0, Z.dtype)
    gram, right = linalg.dot(A, A.T), -linalg.dot(A, linalg.dot(S, Z).ravel())
    top = jnp.max(jnp.diag(gram))
    ridge = jnp.where(top > 0, jnp.finfo(Z.dtype).eps ** _RIDGE * top, 1)
    return jnp.linalg.solve(gram + ridge * jnp.eye(len(A), dtype=Z.dtype), right)


def _parted(M: Array, unit: Array, level: Array) -> tuple[Array, Array]:
    """Z and S with Z - unit S = M and Z S = level I."""
    values, vectors = jnp.linalg.eigh(symmetrise(M))
    z = positive_root(values, unit * level)
    s = positive_root(-values, unit * level) / unit
    both = [linalg.dot(vectors * x[None], vectors.T) for x in (z, s)]
    return symmetrise(both[0]), symmetrise(both[1])
