"""The form of ReLU neurons with output weights, of any number.

minimise  L(sum_j (X u_j)_+ v_j^T, Y) + beta sum_j ||u_j|| ||v_j||,
u_j in listed cells.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.algebra.rounding import SPECTRAL
from cvxjax.arrangements.coverage import lists_every_pattern
from cvxjax.arrangements.patterns import Patterns
from cvxjax.forms.objective import RegularisedProgram
from cvxjax.judges.neurons import NeuronJudge
from cvxjax.solution import Scope
from cvxjax.terms.cones import SignCones, make_sign_cones
from cvxjax.terms.regularisers import group_norms

Array = jax.Array


class OutputNeuronProgram(RegularisedProgram):
    """The form above; parameters are neurons (u_j, v_j), [1, n c, d + c].

    Any neurons are a network; those with u_j in a listed cell are feasible.
    """

    masks: Array  # [P, n], bool
    cones: SignCones

    def lists_every_pattern(self) -> bool:
        """Whether no pattern of X is missing."""
        return lists_every_pattern(self.X, self.masks)

    @property
    def shape(self) -> tuple[int, int, int]:
        (n, d), c = self.X.shape, self.y.shape[1]
        return (1, n * c, d + c)

    @property
    def free_width(self) -> bool:
        return True

    @property
    def multipliers_shape(self) -> None:
        return None

    def holds(self, shape: tuple[int, ...]) -> bool:
        """Neurons may be of any number."""
        return len(shape) == 3 and tuple(shape[::2]) == self.shape[::2]

    @property
    def patterns(self) -> Patterns:
        interior = self.cones.interior
        return Patterns(masks=self.masks, gates=interior, scope=self.scope)

    @property
    def has_units(self) -> bool:
        return True

    def in_data_units(self, unit: float) -> OutputNeuronProgram:
        """The program of X that is `unit` times smaller."""
        cones = self.cones.replace(lengths=self.cones.lengths / unit)
        return self.replace(X=self.X / unit, cones=cones, scope=self.scope)

    def rescaled(self, params: Any, factor: float) -> Any:
        """Neurons whose output weights are `factor` times larger."""
        d = self.X.shape[1]
        return jnp.concatenate([params[..., :d], factor * params[..., d:]], axis=-1)

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        """Weights of products of rows [P, k, 3], which grow with the square."""
        return jnp.asarray(multipliers).at[..., 2].multiply(factor**2)

    def with_patterns(self, masks: Any, gates: Any) -> OutputNeuronProgram:
        """The program of the same data over other patterns; scope SAMPLED.

        Args:
          masks: [P, n], bool; those whose cones have no interior are left out.
          gates: [P, d], points of the closed cells.

        Raises:
          ValueError: if no cone has an interior.
        """
        masks, gates = np.asarray(masks, bool), np.asarray(gates, self.X.dtype)
        cones, kept = make_sign_cones(np.asarray(self.X), masks, gates)
        if not kept.any():
            raise ValueError(f"want a cone with an interior; got {len(kept)} without")
        return self.replace(
            masks=jnp.asarray(masks[kept]), cones=cones, scope=Scope.SAMPLED
        )

    def neurons(self, w: Array) -> tuple[Array, Array]:
        """u [m, d] and v [m, c]."""
        d = self.X.shape[1]
        return w[0, :, :d], w[0, :, d:]

    @property
    def block_size(self) -> int:
        return SPECTRAL * self.shape[-1]

    def forward(self, w: Array) -> Array:
        """sum_j (X u_j)_+ v_j^T, [n, c]."""
        u, v = self.neurons(w)
        return linalg.dot(jnp.maximum(linalg.dot(self.X, u.T), 0), v)

    def penalty(self, w: Array) -> Array:
        """sum_j ||u_j|| ||v_j||, without beta."""
        sizes = [group_norms(x) for x in self.neurons(w)]
        return jnp.sum(sizes[0] * sizes[1])

    def judge(self) -> NeuronJudge:
        return NeuronJudge(
            X=np.asarray(self.X, np.float64),
            masks=np.asarray(self.masks),
            outputs=self.y.shape[1],
        )
