"""The form of matrices over activation patterns, without cones (gated ReLU).

minimise  L(sum_i D_i X V_i, Y) + beta sum_i ||V_i||_*
"""

from __future__ import annotations

from typing import ClassVar

import jax
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.algebra.rounding import SPECTRAL
from cvxjax.arrangements.coverage import lists_every_pattern
from cvxjax.forms.objective import RegularisedProgram
from cvxjax.judges.matrices import GatedVectorJudge

Array = jax.Array


class MatrixProgram(RegularisedProgram):
    """The form above; parameters are V_i^T, [1, P, c, d]."""

    masks: Array  # [P, n], bool
    gates: Array  # [P, d]
    cones: None = None
    scaled: ClassVar[tuple[str, ...]] = ("X",)

    def lists_every_pattern(self) -> bool:
        """Whether no pattern of X is missing."""
        return lists_every_pattern(self.X, self.masks)

    @property
    def splits(self) -> bool:
        return True

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return (1, self.masks.shape[0], self.y.shape[1], self.X.shape[1])

    @property
    def block_size(self) -> int:
        return SPECTRAL * sum(self.shape[2:])

    def forward(self, w: Array) -> Array:
        """sum_i D_i X V_i, [n, c]."""
        return linalg.masked_sum(self.masks, w[0], self.X).T

    def adjoint(self, r: Array) -> Array:
        """The blocks r^T D_i X, [1, P, c, d]."""
        return linalg.masked_products(self.masks, r.T, self.X)[None]

    def response(self, weights: Array, inner: Array) -> Array:
        """As `forms.contracts.Blocks`, of one output: it is the same for every one."""
        gram = linalg.dot(linalg.dot(self.X, inner), self.X.T)
        return linalg.masked_gram(self.masks, weights[0], gram)

    def judge(self) -> GatedVectorJudge:
        return GatedVectorJudge(
            X=np.asarray(self.X, np.float64),
            masks=np.asarray(self.masks),
            outputs=self.y.shape[1],
        )
