"""Two-layer networks with several outputs, ReLU or gated ReLU.

With half squares of all weights as the penalty, training f(X) = (X W1)_+ W2, W2 [m, c],
on L(f, Y) has the optimal value of

    minimise  L(sum_i D_i X V_i, Y) + beta sum_i ||V_i||_{K_i, *}

over V_i [d, c] with the gauge of rank-one matrices whose left factor is in the cone,

    ||V||_{K, *} = min {t : V in t conv {u v^T : (2 D_i - I) X u >= 0,
                                         ||u|| <= 1, ||v|| <= 1}}

and m >= n c neurons, for convex L such as 1/2 ||f - Y||_F^2, or softmax for classes.
There is one V_i a pattern, not a pair, since v carries the signs. Without cones (gated
ReLU) the gauge is the nuclear norm. The talk prints nuclear norms with cones, whose
optimum is another one. The gauge is NP-hard in general, so that the ReLU program is
written in its neurons, sum_j (X u_j)_+ v_j^T with penalty sum_j ||u_j|| ||v_j||, u_j in
listed cells, and has solvers of its own: FrankWolfe and BurerMonteiro for smooth
losses, CopositiveRelaxation for the squared loss and data of small rank.

Source: Sahiner, Ergen, Pauly & Pilanci, Vector-output ReLU Neural Network Problems are
Copositive Programs (ICLR 2021).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.arrangements.arguments import (
    check_beta,
    check_interiors,
    check_loss,
    check_patterns,
    check_sizes,
)
from cvxjax.arrangements.default import default_patterns
from cvxjax.arrangements.exact import few_patterns
from cvxjax.arrangements.patterns import Patterns, check_data
from cvxjax.forms.matrices import MatrixProgram
from cvxjax.forms.neurons import OutputNeuronProgram
from cvxjax.interfaces import Loss
from cvxjax.networks.vector_output import GatedVectorOutput, VectorOutput
from cvxjax.recovery import two_layer_variables
from cvxjax.terms.cones import make_sign_cones
from cvxjax.terms.losses.softmax import one_hot
from cvxjax.terms.regularisers import NuclearNorm, ProductNorms

Array = jax.Array


class GatedVectorProgram(MatrixProgram):
    """The program without cones; parameters are V_i^T, [1, P, c, d]."""

    @property
    def blur(self) -> float:
        return math.inf  # rounding may move a sample across a gate

    def network(self) -> GatedVectorOutput:
        return GatedVectorOutput(self.y.shape[1])

    def recover(self, w: Array) -> dict[str, Any]:
        """As `interfaces.Program.recover`, with a neuron for each singular value."""
        blocks = self.checked(w)
        left, values, right = np.linalg.svd(blocks[0], full_matrices=False)
        pattern, place = np.nonzero(values)
        roots = np.sqrt(values[pattern, place])[:, None]
        first = roots * right[pattern, place]
        second = roots * np.swapaxes(left, 1, 2)[pattern, place]
        gates = {"gates": {"gates": jnp.asarray(self.gates)[pattern]}}
        return two_layer_variables(first, second) | gates


class VectorOutputProgram(OutputNeuronProgram):
    """The ReLU program; parameters are neurons (u_j, v_j), [1, m, d + c], any m."""

    def network(self) -> VectorOutput:
        return VectorOutput(self.y.shape[1])

    def recover(self, w: Array) -> dict[str, Any]:
        blocks = self.checked(w)
        d = self.X.shape[1]
        u, v = blocks[0, :, :d], blocks[0, :, d:]
        sizes = np.linalg.norm(u, axis=1), np.linalg.norm(v, axis=1)
        live = (sizes[0] > 0) & (sizes[1] > 0)
        ratio = np.sqrt(sizes[1][live] / sizes[0][live])[:, None]
        return two_layer_variables(u[live] * ratio, v[live] / ratio)

    def embed(self, variables: Any) -> Array:
        """The parameters [1, m, d + c] of a trained network, for `certify`.

        Args:
          variables: of `networks.VectorOutput`.
        """
        params = variables["params"]
        first, second = params["first"]["kernel"], params["second"]["kernel"]
        return jnp.concatenate([first.T, second], axis=1)[None]


def make_vector_output(
    X: Any,
    Y: Any,
    patterns: Patterns | None = None,
    *,
    beta: float,
    loss: Loss | str | None = None,
    gated: bool = False,
) -> VectorOutputProgram | GatedVectorProgram:
    """Validates the data and builds the program.

    Args:
      X: [n, d], real; integers are cast to float. A bias is a column of ones.
      Y: [n, c], labels as the loss takes them; X itself for an autoencoder. For softmax
        one-hot, or classes [n], integers from 0 to c - 1, the largest of which occurs.
      patterns: from `cvxjax.arrangements`, of this X: the problem over these. None: the
        problem over all; beyond 4,096 they are not listed, and the solver finds those
        that matter. Gated networks need theirs beyond that number.
      beta: weight decay, > 0; the network's objective has beta/2.
      loss: of `cvxjax.losses`, or its name; default squared, 1/2 ||Z - Y||_F^2. Not a
        constraint, and smooth unless the network is gated.
      gated: leave out the cones, which makes it the program of gated ReLU.

    Raises:
      ValueError: saying what arrived and what is wanted.
    """
    data = check_data(X)
    scale = check_beta(beta)
    made = check_loss(loss)
    labels = _check_outputs(Y, data, made)
    if not gated and made.smoothness is None:
        raise ValueError(
            f"want a smooth loss for several outputs of ReLU; got {made.name} "
            "(gated=True takes it)"
        )
    every = False
    if gated:
        patterns = few_patterns(data, patterns)
    else:
        patterns, every = default_patterns(data, patterns)
    masks, gates = check_patterns(patterns, data, gated=gated)
    check_sizes(data, squared=not gated)  # neurons are products
    shared = {
        "X": jnp.asarray(data),
        "y": jnp.asarray(labels),
        "beta": jnp.asarray(scale, data.dtype),
        "loss": made,
        "scope": patterns.scope,
    }
    if gated:
        return GatedVectorProgram(
            **shared,
            regulariser=NuclearNorm(),
            masks=jnp.asarray(masks),
            gates=jnp.asarray(gates),
        ).verified()
    cones, kept = make_sign_cones(data, masks, gates)
    check_interiors(kept)
    program = VectorOutputProgram(
        **shared,
        regulariser=ProductNorms(split=data.shape[1]),
        masks=jnp.asarray(masks[kept]),
        cones=cones,
        all_patterns=every,
    )
    return program.verified()


def _check_outputs(Y: Any, X: np.ndarray, loss: Loss) -> np.ndarray:
    """Y as [n, c] floats of X's dtype, one-hot for classes, or ValueError."""
    if loss.constraint is not None:
        raise ValueError(f"want a loss that is no constraint; got {loss.name}")
    if loss.coupled:
        raise ValueError(f"want a loss that is a sum over samples; got {loss.name}")
    if not loss.separable and not loss.coupled and np.ndim(Y) == 1:
        Y = one_hot(Y)
    if np.ndim(Y) == 1:
        raise ValueError(
            f"want Y [{len(X)}, c], a column for each output; got labels [{len(Y)}] "
            "(classes go with loss=losses.softmax(), or as np.eye(c)[labels]; one "
            "output is make_two_layer's)"
        )
    labels = check_data(Y).astype(X.dtype)
    if len(labels) != len(X):
        raise ValueError(f"want X [n, d], Y [n, c]; got {X.shape}, {labels.shape}")
    loss.check_labels(labels)
    return labels


def whitened_optimum(Y: Any, *, beta: float) -> float:
    """The optimum for X X^T = I and one-hot Y [n, c], in closed form.

    It is sum_k 1/2 min(s_k, beta)^2 + beta max(s_k - beta, 0) over the singular values
    s_k of Y, by soft thresholding. That needs left singular vectors >= 0, which class
    indicators have.

    Args:
      Y: [n, c], one entry 1 in each row, all others 0.
      beta: > 0.

    Raises:
      ValueError: if Y is not one-hot.
    """
    labels, scale = np.asarray(Y, np.float64), check_beta(beta)
    hot = np.all((labels == 0) | (labels == 1)) and np.all(labels.sum(axis=1) == 1)
    if labels.ndim != 2 or not hot:
        raise ValueError("want one-hot Y [n, c]; got other values")
    values = np.linalg.svd(labels, compute_uv=False)
    fit = np.minimum(values, scale) ** 2 / 2
    return float(np.sum(fit + scale * np.maximum(values - scale, 0)))
