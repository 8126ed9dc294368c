"""The form of vector blocks with a matrix for each activation pattern."""

from __future__ import annotations

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.algebra.rounding import SPECTRAL, lengths
from cvxjax.forms.objective import RegularisedProgram
from cvxjax.judges.blocks import BlockJudge

Array = jax.Array


class BlockProgram(RegularisedProgram):
    """F w = sum_sp s F_p w_sp, for signs s, mostly 1 and -1, and matrices F_p.

    Parameters are [S, P, d], one block for each sign and matrix.
    """

    features: Array  # [P, n, d], F_p
    signs: Array  # [S, 1]; of selected blocks [1, P], 0 for padding
    scaled: ClassVar[tuple[str, ...]] = ("features",)

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
        """As `forms.contracts.Blocks`; `inner` may differ by pattern, [P, d, d]."""
        total = jnp.sum(self.signs**2 * weights, axis=0)[:, None, None]
        inner = inner if inner.ndim == 3 else inner[None]
        return self._spread(total * inner)

    def spread(self, blocks: Array) -> Array:
        return self._spread(jnp.sum(self.signs[..., None, None] ** 2 * blocks, axis=0))

    def _spread(self, blocks: Array) -> Array:
        n = self.features.shape[1]
        fit = jnp.swapaxes(linalg.dot(self.features, blocks), 0, 1).reshape(n, -1)
        return linalg.dot(fit, jnp.swapaxes(self.features, 0, 1).reshape(n, -1).T)

    def select(self, blocks: Array, live: Array) -> BlockProgram:
        P = self.features.shape[0]
        pattern = blocks % P
        sign = jnp.broadcast_to(self.signs, self.shape[:2]).reshape(-1)[blocks]
        cones = None if self.cones is None else self.cones.select(pattern)
        return self.replace(
            features=self.features[pattern],
            cones=cones,
            signs=jnp.where(live, sign, 0)[None],
        )

    def judge(self) -> BlockJudge:
        cones = self.cones
        rows, masks, interior = None, None, None
        if cones is not None:
            interior = np.asarray(cones.interior, np.float64)
            lengths = np.asarray(cones.lengths, np.float64)[..., None]
            rows = np.asarray(cones.rows, np.float64) * lengths
            masks = None if cones.masks is None else np.asarray(cones.masks)
        return BlockJudge(
            features=np.asarray(self.features, np.float64),
            signs=np.broadcast_to(np.asarray(self.signs, np.float64), self.shape[:2]),
            norm=self.regulariser.norm,
            shape=self.regulariser.shape,
            rows=rows,
            masks=masks,
            interior=interior,
        )
