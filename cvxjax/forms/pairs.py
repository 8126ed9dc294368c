"""What programs over pairs of positive semidefinite matrices share.

    minimise  L(f, y) + beta R(Z+, Z-)   over PSD matrices Z+_b, Z-_b of order q,
    f_it = sum_k <F_ik, Z+_tk - Z-_tk>,  F_ik = mean_l H o (r_l r_l^T) + s I,

where block b = (t, k) is that of output t on window k of patches, r_l are the patches
of sample i in window k, with a one appended if `lifted`, and o is the elementwise
product. H and s make the activation: a t^2 + b t + c has the blocks H = [[a, b/2],
[b/2, c]] and s = 0. R is a record of `cvxjax.spectra`, with its linear equations.

The F_ik are stored if they are few numbers. Otherwise predictions are row sums of
(R D) o R for the matrix R of rows and D = H o (Z+ - Z-), the adjoint is R^T diag(v) R,
and no array of n q^2 numbers is made.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.algebra.rounding import SPECTRAL, lengths
from cvxjax.algebra.symmetric import along, smat, svec, symmetrise, upper
from cvxjax.forms.objective import RegularisedProgram
from cvxjax.interfaces import Loss
from cvxjax.judges.pairs import SpectralJudge
from cvxjax.record import static

Array = jax.Array

_DENSE = 1 << 22  # numbers up to which features are stored, or as many as X has
_CHUNK = 1024  # samples whose features are made at a time


class SpectralProgram(RegularisedProgram):
    """The program above; parameters are [2, B, q, q], Z+ first, B = outputs x windows.

    Subclasses add the network and `recover`.
    """

    hadamard: Array  # H, [q, q]
    shift: Array  # s, []
    features: Any  # [n, W q (q + 1) / 2], `svec` of F_ik; None: made from X
    pool: int = static()  # patches in a window
    lifted: bool = static()
    cones: None = None

    @property
    def order(self) -> int:
        """q, the order of the matrices."""
        return self.hadamard.shape[0]

    @property
    def windows(self) -> int:
        """W, how many windows a sample has; 1 for X [n, d]."""
        return 1 if self.X.ndim == 2 else self.X.shape[1] // self.pool

    @property
    def outputs(self) -> int:
        """How many outputs there are; 1 for y [n]."""
        return 1 if self.y.ndim == 1 else self.y.shape[1]

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (2, self.outputs * self.windows, self.order, self.order)

    @property
    def rows(self) -> Array:
        """r_l, [n, W, patches in a window, q]."""
        return lift(self.X, self.pool, self.lifted)

    @property
    def reach(self) -> Array:
        patches = lengths(self.X, jnp) ** 2 + self.lifted
        largest = patches if self.X.ndim == 2 else jnp.max(patches, axis=1)
        size = jnp.max(jnp.abs(self.hadamard)) * largest + jnp.abs(self.shift)
        return self.regulariser.traces(self.order) * size

    @property
    def block_size(self) -> int:
        return SPECTRAL * self.order

    def difference(self, w: Array) -> Array:
        """Z+ - Z-, symmetric, [outputs, W, q, q]."""
        blocks = symmetrise(w[0] - w[1])
        return blocks.reshape(self.outputs, self.windows, *blocks.shape[1:])

    def forward(self, w: Array) -> Array:
        return self.fit(svec(self.difference(w)).reshape(self.outputs, -1))

    def fit(self, differences: Array) -> Array:
        """f, of y's shape, of `svec`s of Z+ - Z-, [outputs, W q (q + 1) / 2]."""
        if self.features is not None:
            f = linalg.dot(self.features, differences.T)
        else:
            f = jax.lax.map(self._fit_one, differences).T
        return f.reshape(self.y.shape)

    def _fit_one(self, difference: Array) -> Array:
        rows = self.rows
        D = smat(difference.reshape(self.windows, -1))
        left = jnp.einsum(
            "nwpi,wij->nwpj", rows, self.hadamard[None] * D, precision="highest"
        )
        share = 1 / rows.shape[2]
        trace = jnp.sum(jnp.trace(D, axis1=-2, axis2=-1))
        return share * jnp.sum(left * rows, axis=(1, 2, 3)) + self.shift * trace

    def fit_factors(self, P: Array) -> Array:
        """f of Z_s = P_s P_s^T, P [2, B, q, r]; Z_s are not formed where q is large."""
        if self.features is not None:
            return self.forward(linalg.dot(P, jnp.swapaxes(P, 2, 3)))
        W, q = self.windows, self.order
        blocks = P.reshape(2, self.outputs, W, q, -1)
        d = self.X.shape[-1]
        patches = self.X.reshape(len(self.X), W, -1, d)
        t = jnp.einsum(
            "nwld,scwdr->scnwlr", patches, blocks[..., :d, :], precision="highest"
        )
        e = blocks[..., -1, :][:, :, None, :, None]
        rest = jnp.sum(blocks**2, axis=3)[:, :, None, :, None] * self.shift
        if self.lifted:
            rest = (2 * self.hadamard[0, -1] * t + self.hadamard[-1, -1] * e) * e
        values = jnp.mean(self.hadamard[0, 0] * t * t + rest, axis=4)
        sums = jnp.sum(values, axis=(3, 4))
        return (sums[0] - sums[1]).T.reshape(self.y.shape)

    def adjoint(self, r: Array) -> Array:
        """The blocks sum_i r_it F_ik and their negatives, [2, B, q, q]."""
        blocks = smat(self.pull(r).reshape(self.shape[1], -1))
        return jnp.stack([blocks, -blocks])

    def pull(self, r: Array) -> Array:
        """`svec` of sum_i r_it F_ik, [outputs, N]; the adjoint of `fit`."""
        columns = r.reshape(len(r), -1).T
        if self.features is not None:
            return linalg.dot(columns, self.features)
        return jax.lax.map(self._pull_one, columns)

    def _pull_one(self, r: Array) -> Array:
        rows = self.rows
        weighted = rows * (r / rows.shape[2])[:, None, None, None]
        sums = jnp.einsum("nwpi,nwpj->wij", weighted, rows, precision="highest")
        eye = self.shift * jnp.sum(r) * jnp.eye(self.order, dtype=r.dtype)
        return svec(self.hadamard[None] * sums + eye[None]).ravel()

    def gram(self, weights: Array) -> Array:
        """sum_i weights_i F_i F_i^T, [N, N], N = W q (q + 1) / 2.

        F_i is `svec` of F_i1, ..., F_iW, made for some samples at a time.

        Args:
          weights: [n].
        """
        if self.features is not None:
            return linalg.dot((self.features * weights[:, None]).T, self.features)
        rows, n = self.rows, len(self.X)
        size = min(n, _CHUNK)
        width = self.windows * (self.order * (self.order + 1) // 2)

        def add(k: int, total: Array) -> Array:
            start = jnp.minimum(k * size, n - size)
            part = jax.lax.dynamic_slice_in_dim(rows, start, size)
            given = jax.lax.dynamic_slice_in_dim(weights, start, size)
            new = start + jnp.arange(size) >= k * size
            F = features_of(part, self.hadamard, self.shift)
            return total + linalg.dot((F * jnp.where(new, given, 0)[:, None]).T, F)

        zero = jnp.zeros((width, width), self.X.dtype)
        return jax.lax.fori_loop(0, -(-n // size), add, zero)

    def judge(self) -> SpectralJudge:
        return SpectralJudge(
            X=np.asarray(self.X, np.float64),
            hadamard=np.asarray(self.hadamard, np.float64),
            shift=float(self.shift),
            pool=self.pool,
            lifted=self.lifted,
            outputs=None if self.y.ndim == 1 else self.outputs,
            norm=self.regulariser.norm,
        )


def lift(X: Array, pool: int, lifted: bool) -> Array:
    """r_l as [n, W, patches in a window, q], of X [n, d] or patches [n, K, h]."""
    patches = X if X.ndim == 3 else X[:, None]
    n, K, h = patches.shape
    if lifted:
        ones = jnp.ones((n, K, 1), X.dtype)
        patches = jnp.concatenate([patches, ones], axis=2)
    size = 1 if X.ndim == 2 else pool
    return patches.reshape(n, K // size, size, -1)


def features_of(rows: Array, hadamard: Array, shift: Array) -> Array:
    """`svec` of F_i1, ..., F_iW, [n, W q (q + 1) / 2], of rows [n, W, p, q]."""
    n, _, size, q = rows.shape
    if size == 1:
        i, j = np.triu_indices(q)
        products = rows[:, :, 0, i] * rows[:, :, 0, j]
    else:
        means = jnp.einsum("nwpi,nwpj->nwij", rows / size, rows, precision="highest")
        products = upper(means)
    eye = jnp.eye(q, dtype=rows.dtype)
    moved = products * along(svec(hadamard), products)
    moved = moved + along(svec(shift * eye), products)
    return moved.reshape(n, -1)


@functools.partial(jax.jit, static_argnames=("pool", "lifted"))
def _lifted_features(
    X: Array, hadamard: Array, shift: Array, *, pool: int, lifted: bool
) -> Array:
    return features_of(lift(X, pool, lifted), hadamard, shift)


def spectral_parts(
    X: np.ndarray,
    y: np.ndarray,
    *,
    beta: float,
    loss: Loss,
    hadamard: np.ndarray,
    shift: float,
    pool: int,
    lifted: bool,
) -> dict[str, Any]:
    """The fields of a `SpectralProgram` but its regulariser and scope.

    Args:
      X: checked data [n, d], or patches [n, K, h].
      y: checked labels.
      beta: > 0.
      loss: L.
      hadamard, shift: H [q, q] and s of the module's docstring.
      pool: patches in a window.
      lifted: whether a one is appended to every row.
    """
    dtype = X.dtype
    q = len(hadamard)
    windows = 1 if X.ndim == 2 else X.shape[1] // pool
    data, H = jnp.asarray(X), jnp.asarray(hadamard, dtype)
    s = jnp.asarray(shift, dtype)
    numbers = len(X) * windows * (q * (q + 1) // 2)
    features = None
    if numbers <= max(_DENSE, data.size):
        parts = [
            _lifted_features(X[k : k + _CHUNK], H, s, pool=pool, lifted=lifted)
            for k in range(0, len(X), _CHUNK)
        ]
        features = jnp.concatenate(parts) if len(parts) > 1 else parts[0]
    return {
        "X": data,
        "y": jnp.asarray(y),
        "beta": jnp.asarray(beta, dtype),
        "loss": loss,
        "hadamard": H,
        "shift": s,
        "features": features,
        "pool": pool,
        "lifted": lifted,
    }
