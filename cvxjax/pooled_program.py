"""Convolutional networks whose filters are summed up over patches, or averaged.

    minimise  L(sum_i F_i (v_i - w_i), y) + beta sum_i (||v_i|| + ||w_i||)
    subject to  (2 D_ik - I) X_k v_i >= 0 for every k, and so for w_i,

with F_i = sum_k D_ik X_k for patches X_k [n, h]; averages are sums of patches over
their number. A filter is a neuron on every patch, so its patterns are those of the n K
stacked patches, and so are the prices and bounds of neurons that are not listed.

Source: Ergen & Pilanci, Implicit Convex Regularizers of CNN Architectures (ICLR 2021).
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax import recovery
from cvxjax.arguments import check_interiors, check_patterns
from cvxjax.arrangements.coverage import lists_every_pattern
from cvxjax.arrangements.exact import few_patterns
from cvxjax.arrangements.patterns import Patterns
from cvxjax.block_program import BlockProgram
from cvxjax.cones import make_sign_cones
from cvxjax.interfaces import Loss
from cvxjax.networks.convolutional import Convolutional
from cvxjax.pooled_judge import PooledJudge
from cvxjax.record import static
from cvxjax.regularisers import GroupNorm
from cvxjax.solution import Scope

Array = jax.Array

SUMS = ("sum_pool", "average_pool")


class PooledProgram(BlockProgram):
    """The program above; parameters are filters, [2, P, h], v first."""

    masks: Array  # [P, n K], bool, sample by sample
    gates: Array  # [P, h]
    kind: str = static()

    @property
    def rows(self) -> Array:
        """[n K, h]: a filter's prediction is the sum of (rows u)_+ of each sample."""
        n, K, h = self.X.shape
        share = 1 / K if self.kind == "average_pool" else 1
        return share * self.X.reshape(n * K, h)

    def lists_every_pattern(self) -> bool:
        """Whether no pattern of the patches is missing, nor a sign."""
        patches = np.asarray(self.X).reshape(-1, self.X.shape[-1])
        return len(self.signs) == 2 and lists_every_pattern(patches, self.masks)

    @property
    def patterns(self) -> Patterns:
        return Patterns(masks=self.masks, gates=self.gates, scope=self.scope)

    def with_patterns(self, masks: Any, gates: Any) -> PooledProgram:
        """The program of the same data over other patterns; scope SAMPLED.

        Args:
          masks: [P, n K], bool; those whose cones have no interior are left out.
          gates: [P, h], points of the closed cells.

        Raises:
          ValueError: if no cone has an interior.
        """
        masks, gates = np.asarray(masks, bool), np.asarray(gates, self.X.dtype)
        parts, kept = _parts(np.asarray(self.rows), len(self.y), masks, gates)
        if not kept.any():
            raise ValueError(f"want a cone with an interior; got {len(kept)} without")
        return self.replace(scope=Scope.SAMPLED, **parts)

    def in_data_units(self, unit: float) -> BlockProgram:
        """The program of patches that are `unit` times smaller."""
        scaled = super().in_data_units(unit)
        return scaled.replace(X=self.X / unit, scope=self.scope)

    def judge(self) -> PooledJudge:
        given = super().judge()
        fields = {name: getattr(given, name) for name in given.__dataclass_fields__}
        return PooledJudge(**fields, neurons=np.asarray(self.rows, np.float64))

    def network(self) -> Convolutional:
        """The Flax network of `recover`'s variables, whatever their width."""
        return Convolutional(self.kind)

    def recover(self, w: Array) -> dict[str, Any]:
        """Variables of a network with the same predictions and the same objective.

        Every non-zero block is a filter.

        Args:
          w: [2, P, h], feasible; of any patterns.
        """
        blocks = np.asarray(w)
        if blocks.ndim != 3 or blocks.shape[::2] != self.shape[::2]:
            raise ValueError(
                f"want params {list(self.shape)}; got {list(blocks.shape)}"
            )
        return recovery.two_layer_variables(*recovery.neurons(blocks))


def make_pooled(
    patches: np.ndarray,
    y: np.ndarray,
    beta: float,
    kind: str,
    patterns: Patterns | None,
    loss: Loss,
) -> PooledProgram:
    """The program of checked data; `programs.make_convolutional` checks.

    Args:
      patches: [n, K, h].
      y: [n].
      kind: of `SUMS`.
      patterns: of the stacked patches; None: all, if there are few.
      loss: L, no constraint.
    """
    n, K, h = patches.shape
    stacked = patches.reshape(n * K, h)
    patterns = few_patterns(stacked, patterns)
    rows = stacked / K if kind == "average_pool" else stacked
    parts, kept = _parts(rows, n, *check_patterns(patterns, stacked))
    check_interiors(kept)
    program = PooledProgram(
        X=jnp.asarray(patches),
        y=jnp.asarray(y),
        beta=jnp.asarray(beta, patches.dtype),
        loss=loss,
        regulariser=GroupNorm(),
        signs=jnp.asarray([[1], [-1]], patches.dtype),
        scope=patterns.scope,
        kind=kind,
        **parts,
    )
    return program.verified()


def _parts(
    rows: np.ndarray, n: int, masks: np.ndarray, gates: np.ndarray
) -> tuple[dict[str, Any], np.ndarray]:
    """What the patterns with an interior give a program, and `kept` [P], bool."""
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
