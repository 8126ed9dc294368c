"""The form of ReLU neurons with output weights, of any number.

minimise  L(sum_j (X u_j)_+ v_j^T, Y) + beta sum_j ||u_j|| ||v_j||
over neurons u_j in the cells of listed activation patterns
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg
from cvxjax.algebra.rounding import SPECTRAL
from cvxjax.arrangements.patterns import Patterns
from cvxjax.forms.listed import ListedPatterns
from cvxjax.judges.neurons import NeuronJudge
from cvxjax.terms.cones import SignCones

Array = jax.Array


class OutputNeuronProgram(ListedPatterns):
    """The form above; parameters are neurons (u_j, v_j), [1, m, d + c], any m.

    Neurons outside of the listed cells are a network as well, but not feasible.
    """

    cones: SignCones
    scaled: ClassVar[tuple[str, ...]] = ("X",)

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

    def holds(self, params: Any) -> bool:
        shape = np.shape(params)
        return len(shape) == 3 and tuple(shape[::2]) == self.shape[::2]

    @property
    def patterns(self) -> Patterns:
        interior = self.cones.interior
        return Patterns(masks=self.masks, gates=interior, scope=self.scope)

    def rescaled(self, params: Any, factor: float) -> Any:
        d = self.X.shape[1]
        return jnp.concatenate([params[..., :d], factor * params[..., d:]], axis=-1)

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        """Weights N_jl of [P, k, 3] (`bounds.several_outputs`) grow with the square."""
        return jnp.asarray(multipliers).at[..., 2].multiply(factor**2)

    def neurons(self, w: Array) -> tuple[Array, Array]:
        d = self.X.shape[1]
        return w[0, :, :d], w[0, :, d:]

    @property
    def block_size(self) -> int:
        return SPECTRAL * self.shape[-1]

    def forward(self, w: Array) -> Array:
        """sum_j (X u_j)_+ v_j^T, [n, c]."""
        u, v = self.neurons(w)
        return linalg.dot(jnp.maximum(linalg.dot(self.X, u.T), 0), v)

    def judge(self) -> NeuronJudge:
        return NeuronJudge(
            X=np.asarray(self.X, np.float64),
            masks=np.asarray(self.masks),
            outputs=self.y.shape[1],
        )
