"""ADMM's least-squares step without a matrix [n, n]: conjugate gradients.

    w = b - M F^T x   with   (shift I + K) x = F b,   K = F (I x M) F^T

is argmin_w 1/2 ||F w||^2 + shift/2 <w - b, M^{-1} (w - b)>. K is only applied. Each
solve is for the change of x since the last one, and leaves a tenth of it, so that inner
errors vanish as fast as the outer steps.

The preconditioner is a Nystrom approximation U diag(values) U^T of K, which serves
every shift. Its test matrix are predictions F g of random networks g: with covariance
F F^T these lean towards K's leading eigenvectors. On Gaussian data, data of falling
spectrum and digits, 64 of them took 0.6 to 0.9 times the iterations that a Gaussian
test matrix takes, and 0.4 to 1.1 times those of the d directions that all masks share,
diag(mean mask) X M X^T diag(mean mask); the diagonal of K besides changed little.

Source: Frangella, Tropp & Udell, Randomized Nystrom Preconditioning (2023); Feng,
Frangella & Pilanci, CRONOS (2024), for its use in ADMM.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from cvxjax.algebra import linalg
from cvxjax.record import Record

Array = jax.Array

_RANK = 64  # of the preconditioner
_SHARE = 0.1  # of a right-hand side: the residual at which a solve ends
_MOST = 200  # iterations of one


class MatrixFree(Record):
    """The preconditioner, and where the last step of ADMM left x."""

    vectors: Array  # U, [n, k], orthonormal
    values: Array  # [k], >= 0, falling
    fit: Array  # x, of y's shape
    pull: Array  # F^T x, of the parameters' shape

    @classmethod
    def factor(cls, program: Any, inverse: Array) -> MatrixFree:
        """From k + k / 2 applications of K.

        Args:
          program: with `forward` and `adjoint`.
          inverse: M, [d, d] or one for each pattern [P, d, d].
        """
        y = program.y
        n, outputs = len(y), max(1, y[0].size)
        k = min(_RANK, n)
        draws = jax.random.split(jax.random.key(0), -(-k // outputs))

        def predicted(key: Array) -> Array:
            return program.forward(jax.random.normal(key, program.shape, y.dtype))

        tests = _columns(jax.lax.map(predicted, draws))[:, :k]
        basis = jnp.linalg.qr(tests)[0]
        k = basis.shape[1]
        missing = -k % outputs
        parts = jnp.pad(basis, ((0, 0), (0, missing))).T.reshape(-1, outputs, n)
        parts = jnp.swapaxes(parts, 1, 2).reshape(-1, *y.shape)
        couple = lambda x: _couple(program, inverse, x)  # noqa: E731
        image = _columns(jax.lax.map(couple, parts))[:, :k]
        core, turn = jnp.linalg.eigh(linalg.dot(basis.T, image))
        floor = k * jnp.finfo(y.dtype).eps * jnp.max(jnp.abs(core))
        keep = core > floor
        roots = jnp.where(keep, 1 / jnp.sqrt(jnp.where(keep, core, 1)), 0)
        half = linalg.dot(image, turn * roots[None])
        vectors, singular, _ = jnp.linalg.svd(half, full_matrices=False)
        return cls(
            vectors=vectors,
            values=singular**2,
            fit=jnp.zeros_like(y),
            pull=jnp.zeros(program.shape, y.dtype),
        )

    def step(
        self, program: Any, inverse: Array, shift: ArrayLike, b: Array
    ) -> tuple[Array, MatrixFree]:
        """The w above, and this record with its x and F^T x.

        Args:
          program: as in `factor`, as is M.
          inverse: M.
          shift: [], > 0; may change from step to step.
          b: of the parameters' shape.
        """
        near = b - linalg.dot_blocks(self.pull, inverse)
        miss = program.forward(near) - shift * self.fit
        couple = lambda x: _couple(program, inverse, x)  # noqa: E731
        fit = self.fit + self.solve(couple, shift, miss)
        pull = program.adjoint(fit)
        w = b - linalg.dot_blocks(pull, inverse)
        return w, self.replace(fit=fit, pull=pull)

    def solve(
        self, couple: Callable[[Array], Array], shift: ArrayLike, b: Array
    ) -> Array:
        """(shift I + K)^{-1} b, but for a residual of a tenth of |b|.

        Args:
          couple: x -> K x.
          shift: [], > 0.
          b: of y's shape.
        """
        aim = _SHARE**2 * jnp.sum(b * b)

        def body(carry: tuple[Array, ...]) -> tuple[Array, ...]:
            x, r, direction, size, count = carry
            image = shift * direction + couple(direction)
            curvature = jnp.sum(direction * image)
            length = size / jnp.where(curvature > 0, curvature, 1)
            x, r = x + length * direction, r - length * image
            z = self._precondition(shift, r)
            new = jnp.sum(r * z)
            direction = z + new / jnp.where(size > 0, size, 1) * direction
            return x, r, direction, new, count + 1

        def far(carry: tuple[Array, ...]) -> Array:
            _, r, _, _, count = carry
            return (jnp.sum(r * r) > aim) & (count < _MOST)

        z = self._precondition(shift, b)
        start = jnp.zeros_like(b), b, z, jnp.sum(b * z), jnp.asarray(0, jnp.int32)
        return jax.lax.while_loop(far, body, start)[0]

    def _precondition(self, shift: ArrayLike, r: Array) -> Array:
        """(shift I + K)^{-1} r times shift + least value, K by its approximation."""
        least = shift + self.values[-1]
        weights = least / (shift + self.values) - 1
        inner = linalg.dot(self.vectors.T, r)
        inner = inner * weights.reshape(-1, *[1] * (r.ndim - 1))
        return r + linalg.dot(self.vectors, inner)


def _couple(program: Any, inverse: Array, x: Array) -> Array:
    """K x, for x of y's shape."""
    return program.forward(linalg.dot_blocks(program.adjoint(x), inverse))


def _columns(parts: Array) -> Array:
    """[k, n, ...] -> [n, k ...]."""
    return jnp.moveaxis(parts, 0, 1).reshape(parts.shape[1], -1)
