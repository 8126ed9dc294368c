"""Bilinear networks with weights -1 and 1, by a semidefinite relaxation.

Training f(X)_i = sum_j (x_i^T u_j)(x_i^T v_j) alpha_j, u_j and v_j in {-1, 1}^d, on
L(f, y) + beta sum_j |alpha_j| is bounded from below by

    minimise  L(f, y) + beta rho,  f_i = x_i^T Z x_i,
    Q = [[V, Z], [Z^T, W]] PSD of order 2 d,  diag(Q) = rho 1,

and the network's penalty is at most pi / (2 ln(1 + sqrt 2)) = 1.7822 times rho: rho is
the gamma_2 norm of Z, and the least penalty of a network with this Z is between it and
Grothendieck's constant times it. V = W may be assumed, since only the symmetric part of
Z predicts. Then Q splits into V + Z = 2 Z+ and V - Z = 2 Z-, two PSD matrices of order
d with diag(Z+ + Z-) = rho 1: these are the parameters.

Weights are drawn from the solution by Krivine's rounding, unbiased with an error that
falls like 1 / sqrt(m). The talk calls the relaxation the global optimum. Of a
certificate, the primal value is that of a point of the relaxation, and the lower bound
holds for every quantized network.

Source: Bartan & Pilanci, Training Quantized Neural Networks to Global Optimality via
Semidefinite Programming (ICML 2021); Krivine (1979) for the constant.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.arrangements.arguments import check_beta, check_labels, check_loss
from cvxjax.arrangements.patterns import check_data
from cvxjax.forms.pairs import SpectralProgram, spectral_parts
from cvxjax.networks.quantized import Quantized, quantized_variables
from cvxjax.recovery.signs import sample_signs
from cvxjax.recovery.signs_refitted import refit as refit_signs
from cvxjax.solution import Scope
from cvxjax.terms.spectra import ConstantDiagonal

Array = jax.Array


class QuantizedProgram(SpectralProgram):
    """The program above; parameters are Z+ and Z-, [2, 1, d, d]."""

    def matrix(self, w: Array) -> Array:
        """Q = [[Z+ + Z-, Z+ - Z-], [Z+ - Z-, Z+ + Z-]], [2 d, 2 d]."""
        even, odd = w[0, 0] + w[1, 0], w[0, 0] - w[1, 0]
        return jnp.block([[even, odd], [odd, even]])

    def network(self) -> Quantized:
        return Quantized()

    def recover(
        self,
        w: Array,
        *,
        key: Array | None = None,
        num_neurons: int = 500,
        refit: bool = False,
    ) -> dict[str, Any]:
        """Variables of a random network of signs (int8) with expected predictions f.

        Its sum of |alpha_j| is 1.7822 rho; the predictions' error falls like
        1 / sqrt(num_neurons).

        Args:
          w: feasible parameters.
          key: for the draw; default `jax.random.key(0)`.
          num_neurons: m, how many to draw.
          refit: whether to optimise the output weights of the signs drawn, an l1
            problem that leaves fewer neurons and no larger objective.

        Raises:
          ValueError: if w is not PSD or its diagonal not constant, to 1e-6.
        """
        key = jax.random.key(0) if key is None else key
        Q = self.matrix(jnp.asarray(self.checked(w)))
        u, v, alpha = sample_signs(key, Q, num_neurons)
        if refit:
            best = refit_signs(
                u, v, alpha, self.X, self.y, beta=float(self.beta), loss=self.loss
            )
            u, v, alpha = best.u, best.v, jnp.asarray(best.alpha, self.X.dtype)
        return quantized_variables(u, v, alpha)


def make_quantized(
    X: Any, y: Any, *, beta: float, loss: Any = None
) -> QuantizedProgram:
    """Validates the data and builds the program.

    Args:
      X: [n, d], real; integers are cast to float. A column of ones lets the network
        have linear terms and a constant.
      y: [n], labels as the loss takes them.
      beta: weight of the sum of |output weights|, > 0.
      loss: of `cvxjax.losses`, or its name, default squared; not a constraint.

    Raises:
      ValueError: saying what arrived and what is wanted.
    """
    loss = check_loss(loss)
    if loss.constraint is not None:
        raise ValueError(f"want a loss that is no constraint; got {loss.name}")
    data = check_data(X)
    d = data.shape[1]
    return QuantizedProgram(
        **spectral_parts(
            data,
            check_labels(y, data, loss),
            beta=check_beta(beta),
            loss=loss,
            hadamard=np.ones((d, d)),
            shift=0.0,
            pool=1,
            lifted=False,
        ),
        regulariser=ConstantDiagonal(),
        scope=Scope.GLOBAL_BOUND,
    )
