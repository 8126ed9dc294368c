"""Two-layer networks with a scalar output, exact ReLU or gated ReLU.

    minimise  L(sum_i D_i X (v_i - w_i), y) + beta sum_i (||v_i||_2 + ||w_i||_2)
    subject to  (2 D_i - I) X v_i >= 0,  (2 D_i - I) X w_i >= 0     (ReLU only)

has the optimal value of training f(X) = (X W1)_+ W2 on L + beta/2 (||W1||^2 + ||W2||^2)
if every activation pattern D_i is listed and W1 has at least n + 1 columns.

Source: Pilanci & Ergen, Neural Networks are Convex Regularizers (ICML 2020);
for gated ReLU, Mishkin, Sahiner & Pilanci (ICML 2022).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax import recovery
from cvxjax.arrangements.arguments import (
    check_beta,
    check_interiors,
    check_labels,
    check_loss,
    check_patterns,
)
from cvxjax.arrangements.default import default_patterns
from cvxjax.arrangements.exact import few_patterns
from cvxjax.arrangements.patterns import Patterns, check_data
from cvxjax.forms.sign_cones import SignConeProgram
from cvxjax.networks.two_layer import GatedTwoLayer, TwoLayer
from cvxjax.terms.cones import make_sign_cones

Array = jax.Array


class TwoLayerProgram(SignConeProgram):
    """The program above; parameters are [2, P, d], v first and w second."""

    @property
    def blur(self) -> float:
        # In a gated network, rounding may move a sample across a gate.
        return 0.0 if self.cones is not None else math.inf

    def network(self) -> TwoLayer | GatedTwoLayer:
        if self.cones is None:
            return GatedTwoLayer(gates=np.asarray(self.gates))
        return TwoLayer(num_neurons=None)

    def recover(self, w: Array) -> dict[str, Any]:
        """As `interfaces.Program.recover`.

        ReLU: every non-zero block is a neuron (w / sqrt||w||, +-sqrt||w||). Gated:
        neuron i is v_i - w_i on gate i; if both are non-zero, the objective may be
        lower than that of the blocks.

        Args:
          w: of the program's shape, feasible; for ReLU, P blocks of any patterns.
        """
        blocks = self.checked(w, any_patterns=self.cones is not None)
        if self.cones is None:
            both = np.sum(np.asarray(self.signs)[..., None] * blocks, axis=0)
            first, second = recovery.balance(both)
            gates = {"gates": {"gates": jnp.asarray(self.gates)}}
            return recovery.two_layer_variables(first, second) | gates
        return recovery.two_layer_variables(*recovery.neurons(blocks, self.signs))


def make_two_layer(
    X: Any,
    y: Any,
    patterns: Patterns | None = None,
    *,
    beta: float,
    loss: Any = None,
    gated: bool = False,
) -> TwoLayerProgram:
    """Validates the data and builds the program.

    Args:
      X: [n, d], real; integers are cast to float. A bias is a column of ones.
      y: [n], labels as the loss takes them.
      patterns: from `cvxjax.arrangements`, of this X: the problem over these. None: the
        problem over all; beyond 4,096 they are not listed, and the solver finds those
        that matter. Gated networks, and losses that are constraints, need patterns
        beyond that number.
      beta: weight decay, > 0; the network's objective has beta/2.
      loss: of `cvxjax.losses`, or its name; default squared, 1/2 ||z - y||^2.
      gated: leave out the cones, which makes it the program of gated ReLU.

    Raises:
      ValueError: saying what arrived and what is wanted.
    """
    data = check_data(X)
    loss = check_loss(loss)
    labels = check_labels(y, data, loss)
    scale = check_beta(beta)
    every = False
    if gated or loss.constraint is not None:
        patterns = few_patterns(data, patterns)
    else:
        patterns, every = default_patterns(data, patterns)
    masks, gates = check_patterns(patterns, data, gated=gated)
    cones = None
    if not gated:
        cones, kept = make_sign_cones(data, masks, gates)
        check_interiors(kept)
        masks, gates = masks[kept], gates[kept]
    program = TwoLayerProgram(
        X=jnp.asarray(data),
        y=jnp.asarray(labels),
        masks=jnp.asarray(masks) if cones is None else cones.masks,
        gates=jnp.asarray(gates),
        beta=jnp.asarray(scale, data.dtype),
        loss=loss,
        cones=cones,
        signs=jnp.asarray([[1], [-1]], data.dtype),
        scope=patterns.scope,
        all_patterns=every,
    )
    return program.verified()
