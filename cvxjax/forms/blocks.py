"""What programs share: the objective, and maps that are given by their matrices."""

from __future__ import annotations

from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.algebra.coordinates import Coordinates
from cvxjax.algebra.rounding import SPECTRAL, lengths, terms_of
from cvxjax.interfaces import Judge, Loss
from cvxjax.judges.blocks import BlockJudge
from cvxjax.record import Record, static
from cvxjax.solution import Scope
from cvxjax.terms.cones import Cones

Array = jax.Array

_UNSEEN = 4  # times what rounding hides of a price: it may be zero

_COVERING = {"X", "masks", "active", "features", "cones", "signs"}


class RegularisedProgram(Record):
    """minimise L(F w, y) + beta R(w); subclasses have the maps."""

    X: Array  # the data
    y: Array  # [n], or [n, c]
    beta: Array  # [], > 0
    loss: Loss
    regulariser: Any  # of `cvxjax.regularisers`
    cones: Any  # of `cvxjax.cones`; None: no constraints
    scope: Scope = static()

    def replace(self, **changes: Any) -> Self:
        """The same record with some fields changed.

        With other data or patterns it is SAMPLED, unless a scope is given, which is
        checked where it is used (`verified_scope`).
        """
        if self.scope is Scope.EXHAUSTIVE and _COVERING & changes.keys():
            changes = {"scope": Scope.SAMPLED} | changes
        return super().replace(**changes)

    def lists_every_pattern(self) -> bool:
        """Whether no pattern of the data is missing; True for programs without."""
        return True

    def verified_scope(self) -> Scope:
        """`scope` where the program's own data bear it out, else SAMPLED; on the host.

        The data are enumerated again, unless this process has done so already.
        """
        if self.scope is Scope.EXHAUSTIVE and not self.lists_every_pattern():
            return Scope.SAMPLED
        return self.scope

    def verified(self) -> Self:
        """The program with `verified_scope`."""
        scope = self.verified_scope()
        return self if scope is self.scope else self.replace(scope=scope)

    @property
    def shape(self) -> tuple[int, ...]: ...
    def forward(self, w: Array) -> Array: ...
    def judge(self) -> Judge: ...

    @property
    def free_width(self) -> bool:
        """Whether parameters are neurons of any number, which stay where they are."""
        return False

    @property
    def splits(self) -> bool:
        """Whether blocks are patterns' and rows of X samples, for a mesh to share."""
        return False

    @property
    def multipliers_shape(self) -> tuple[int, ...] | None:
        """Of the cones' multipliers; None: there are none, or of many shapes."""
        if self.cones is None:
            return None
        return (*self.shape[:2], self.cones.num_rows)

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Whether parameters of this shape are the program's."""
        return tuple(shape) == tuple(self.shape)

    @property
    def inputs(self) -> Array:
        """What the network takes, [n, ...]."""
        return self.X

    @property
    def blur(self) -> float:
        """What a recovered network may lose of predictions by rounding; on the host.

        Where its weights are not the parameters themselves, or gates decide; else 0.
        """
        return 0.0

    @property
    def reach(self) -> Array:
        """The most that prediction i can be for R(w) <= 1, from above, [n]."""
        return lengths(self.X, jnp)

    @property
    def walls(self) -> Any:
        """The dual norms of the cones' unit rows, [1, 1, m], or one number for all."""
        return 1.0

    def in_float64(self) -> Any:
        """The same program in float64; inside `jax.enable_x64(True)`."""

        def widened(x: Any) -> Array:
            x = jnp.asarray(x)
            return x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x

        return jax.tree.map(widened, self)

    def coordinate_rows(self) -> Any:
        """The rows that `in_coordinates` makes orthonormal columns of; None: none."""
        return None

    def in_coordinates(self) -> tuple[Any, Coordinates] | None:
        """The program of orthonormal columns, in float64; None: it has none."""
        return None

    @property
    def terms(self) -> int:
        """Of `rounding.terms_of`: how many roundings a block's price may hold."""
        walls = 0 if self.cones is None else self.cones.num_rows
        return terms_of(self.row_count, walls, self.block_size)

    @property
    def row_count(self) -> int:
        """Rows of the data that a block's price is a sum of."""
        return self.X.size // self.X.shape[-1]

    @property
    def block_size(self) -> int:
        """Entries of a block; for matrices `rounding.SPECTRAL` times their order."""
        return self.shape[-1]

    @property
    def has_units(self) -> bool:
        """Whether predictions are homogeneous in the data, as `in_data_units` needs."""
        return False

    def in_data_units(self, unit: float) -> Any:
        """The program of data that are `unit` times smaller, as are its cones' rows."""
        raise ValueError(f"{type(self).__name__} is not homogeneous in its data")

    def rescaled(self, params: Any, factor: float) -> Any:
        """Parameters whose predictions are `factor` times larger."""
        return factor * params

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        """Multipliers of a dual vector that is `factor` times larger."""
        return factor * multipliers

    def penalty(self, w: Array) -> Array:
        """R(w), without beta; of w so far from one that squares are lost, too."""
        size = jax.lax.stop_gradient(jnp.max(jnp.abs(w), initial=0))
        room = 1 / jnp.finfo(w.dtype).tiny ** 0.25
        far = jnp.isfinite(size) & (size > 0) & ((size > room) | (size * room < 1))
        unit = jnp.where(far, size, 1)
        return unit * jnp.sum(self.regulariser.norms(w / unit))

    def objective(self, w: Array) -> Array:
        """L(F w, y) + beta penalty(w); says nothing of the cones."""
        return self.loss.value(self.forward(w), self.y) + self.beta * self.penalty(w)

    def beta_max(self) -> float:
        """The least beta at which the zero network is optimal; inf if it never is.

        Equals max {v^T F w : R(w) <= 1, A w >= 0}, where v is minus the gradient of
        the loss at 0; for ReLU, max |v^T (Xu)_+| over the listed cells and ||u|| <= 1.
        0 where that may be rounding alone: no neuron helps.
        """
        judge, v = self.judge(), self._slope_at_zero()
        if v is None:
            return float("inf")
        price = judge.polar_bound(v, None)
        return 0.0 if price <= _UNSEEN * judge.hidden(v) else price

    def price_at_zero(self) -> float:
        """`beta_max` from above, with all that rounding may hide."""
        v = self._slope_at_zero()
        return float("inf") if v is None else self.judge().polar_bound(v, None)

    def _slope_at_zero(self) -> np.ndarray | None:
        """Minus the loss's gradient at 0; None where its value is infinite there."""
        y = np.asarray(self.y, np.float64)
        zero = np.zeros_like(y)
        if not np.isfinite(self.loss.value(zero, y)):
            return None
        return -self.loss.gradient(zero, y)


class BlockProgram(RegularisedProgram):
    """Blocks that are given by their matrices: F w = sum_b s_b F_p w_b.

    Parameters are [S, P, d], one block for each sign s and matrix F_p.
    """

    features: Array  # [P, n, d], F_p
    signs: Array  # [S, 1]; of selected blocks [1, P], 0 for padding

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.signs.shape[0], self.features.shape[0], self.features.shape[2])

    @property
    def reach(self) -> Array:
        return jnp.max(lengths(self.features, jnp), axis=0)

    @property
    def row_count(self) -> int:
        return self.features.shape[1]

    @property
    def block_size(self) -> int:
        matrix = self.regulariser.shape
        return self.shape[-1] if matrix is None else SPECTRAL * sum(matrix)

    def forward(self, w: Array) -> Array:
        """[n]."""
        both = jnp.sum(self.signs[..., None] * w, axis=0)
        return jnp.einsum("pnd,pd->n", self.features, both, precision="highest")

    def adjoint(self, r: Array) -> Array:
        """F^T r, [S, P, d]."""
        g = jnp.einsum("pnd,n->pd", self.features, r, precision="highest")
        return self.signs[..., None] * g[None]

    def response(self, weights: Array, inner: Array) -> Array:
        """sum_b weights_b F_b M F_b^T, [n, n].

        Args:
          weights: [S, P], one per block.
          inner: M, symmetric: [d, d], or one for each pattern [P, d, d].
        """
        total = jnp.sum(self.signs**2 * weights, axis=0)[:, None, None]
        inner = inner if inner.ndim == 3 else inner[None]
        return self._spread(total * inner)

    def spread(self, blocks: Array) -> Array:
        """sum_b F_b M_b F_b^T, [n, n], for a symmetric matrix M_b of each block.

        Args:
          blocks: [S, P, d, d].
        """
        return self._spread(jnp.sum(self.signs[..., None, None] ** 2 * blocks, axis=0))

    def _spread(self, blocks: Array) -> Array:
        n = self.features.shape[1]
        fit = jnp.swapaxes(linalg.dot(self.features, blocks), 0, 1).reshape(n, -1)
        return linalg.dot(fit, jnp.swapaxes(self.features, 0, 1).reshape(n, -1).T)

    @property
    def has_units(self) -> bool:
        return True

    def in_data_units(self, unit: float) -> BlockProgram:
        """The program of features and cones' rows that are `unit` times smaller."""
        cones = self.cones
        if cones is not None:
            cones = cones.replace(lengths=cones.lengths / unit)
        features = self.features / unit
        return self.replace(features=features, cones=cones, scope=self.scope)

    def select(self, blocks: Array, live: Array) -> BlockProgram:
        """The program of some blocks alone, whose parameters are [1, B, d].

        Args:
          blocks: [B], positions among the S P, those of the first sign first.
          live: [B], bool; the others are padding, zero at every optimum.
        """
        P = self.features.shape[0]
        pattern, sign = blocks % P, self.signs[blocks // P, 0]
        cones = None if self.cones is None else self.cones.select(pattern)
        return self.replace(
            features=self.features[pattern],
            cones=cones,
            signs=jnp.where(live, sign, 0)[None],
        )

    def judge(self) -> BlockJudge:
        cones = self.cones
        rows, masks = None, None
        if cones is not None:
            lengths = np.asarray(cones.lengths, np.float64)[..., None]
            rows = np.asarray(cones.rows, np.float64) * lengths
            masks = None if cones.masks is None else np.asarray(cones.masks)
        return BlockJudge(
            features=np.asarray(self.features, np.float64),
            signs=np.asarray(self.signs, np.float64)[:, 0],
            norm=self.regulariser.norm,
            shape=self.regulariser.shape,
            rows=rows,
            masks=masks,
            interior=interior_of(cones),
        )


def interior_of(cones: Cones | None) -> np.ndarray | None:
    """Points inside the cones in float64; None without cones."""
    return None if cones is None else np.asarray(cones.interior, np.float64)
