"""The form of sums over patches: a neuron's predictions are summed over rows.

    minimise  L(sum_i F_i (v_i - w_i), y) + beta sum_i (||v_i|| + ||w_i||)
    subject to  (2 D_ik - I) X_k v_i >= 0 for every k, and so for w_i,

with F_i = share sum_k D_ik X_k for patches X_k [n, h]. A filter's activation pattern is
one of the n K stacked patches, and these give the prices and bounds of filters that
are not listed.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.arrangements.coverage import lists_every_pattern
from cvxjax.arrangements.patterns import Patterns
from cvxjax.forms.blocks import BlockProgram
from cvxjax.forms.listed import ListedPatterns
from cvxjax.judges.sums import PooledJudge
from cvxjax.terms.cones import make_sign_cones

Array = jax.Array


class SumProgram(ListedPatterns, BlockProgram):
    """The form above; parameters are filters [2, P, h], v first."""

    gates: Array  # [P, h]
    scaled: ClassVar[tuple[str, ...]] = ("X", "features")

    @property
    def share(self) -> float:
        """The weight of each patch: 1 for sums, 1 / K for averages."""
        return 1.0

    @property
    def rows(self) -> Array:
        n, K, h = self.X.shape
        return self.share * self.X.reshape(n * K, h)

    def lists_every_pattern(self) -> bool:
        patches = np.asarray(self.X).reshape(-1, self.X.shape[-1])
        return len(self.signs) == 2 and lists_every_pattern(patches, self.masks)

    @property
    def patterns(self) -> Patterns:
        return Patterns(masks=self.masks, gates=self.gates, scope=self.scope)

    def parts_of(
        self, masks: np.ndarray, gates: np.ndarray
    ) -> tuple[dict[str, Any], np.ndarray]:
        return parts_of(np.asarray(self.rows), len(self.y), masks, gates)

    def judge(self) -> PooledJudge:
        return PooledJudge(
            **vars(super().judge()), neurons=np.asarray(self.rows, np.float64)
        )


def parts_of(
    rows: np.ndarray, n: int, masks: np.ndarray, gates: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """As `ListedPatterns.parts_of`, for rows [n K, h], K of each of n samples."""
    cones, kept = make_sign_cones(rows, masks, gates)
    masks, gates = masks[kept], gates[kept]
    patches = rows.reshape(n, -1, rows.shape[1])
    active = masks.reshape(len(masks), n, -1).astype(rows.dtype)
    features = [np.einsum("nk,nkh->nh", part, patches) for part in active]
    parts = {
        "masks": jnp.asarray(masks),
        "gates": jnp.asarray(gates),
        "features": jnp.asarray(np.reshape(features, (-1, n, rows.shape[1]))),
        "cones": cones,
    }
    return parts, kept
