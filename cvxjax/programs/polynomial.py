"""Two-layer networks with an activation of degree two, one output or several.

For sigma(t) = a t^2 + b t + c and first-layer weights of unit norm, training
f(X) = sigma(X U) A on L(f, Y) + beta sum_jt |A_jt| has the optimal value of

    minimise  sum_t L(f_t, Y_t) + beta sum_t (Z_t4 + Z'_t4),
    f_it = a x_i^T (Z_t1 - Z'_t1) x_i + b x_i^T (Z_t2 - Z'_t2) + c (Z_t4 - Z'_t4)

over PSD Z_t = [[Z_t1, Z_t2], [Z_t2^T, Z_t4]] of order d + 1 with tr Z_t1 = Z_t4, and
likewise Z'_t. The talk prints Z alone, that is, networks with positive output weights,
and omits the unit norms, without which a t^2 would have no penalty. If b = 0, the last
row of Z matters by the trace equation only: the program is that of Z_t1 - Z'_t1, of
order d, with its nuclear norm. For convolutions sigma is averaged over the patches of a
window, and there is a pair of matrices for each window.

Weight decay would be another penalty: over z = alpha ||u||^2, half the sum of squares
is least at (3/4) 2^(1/3) |z|^(2/3), which is not convex. The least of the cubic
(2 ||u||^3 + |alpha|^3) / 3 is |z|, so that for t^2 it is equivalent to unit norms.

Source: Bartan & Pilanci, Neural Spectrahedra and Semidefinite Lifts (2021).
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from cvxjax.arrangements.arguments import check_beta, check_labels, check_loss
from cvxjax.arrangements.convolutional import stack_patches
from cvxjax.arrangements.patterns import check_data
from cvxjax.forms.pairs import SpectralProgram, spectral_parts
from cvxjax.interfaces import Loss
from cvxjax.networks.polynomial import Polynomial
from cvxjax.record import static
from cvxjax.recovery import two_layer_variables
from cvxjax.recovery.from_pairs import neurons_of, quadratic_neurons
from cvxjax.solution import Scope
from cvxjax.terms.spectra import TracePair, UnitNeurons

Array = jax.Array

RELU_LIKE = (0.09, 0.5, 0.47)
"""The coefficients that the authors take in place of the ReLU."""


class PolynomialProgram(SpectralProgram):
    """The program above; parameters are Z and Z', [2, B, q, q], B = outputs x windows.

    q = d + 1, or d where b = 0.
    """

    coefficients: tuple[float, float, float] = static()

    def network(self) -> Polynomial:
        outputs = None if self.y.ndim == 1 else self.outputs
        return Polynomial(self.coefficients, outputs, self.pool)

    def recover(self, w: Array) -> dict[str, Any]:
        """As `interfaces.Program.recover`, by neural decomposition of the matrices.

        There are at most rank Z + rank Z' neurons for each output and window.

        Raises:
          ValueError: if w is not PSD or does not meet the trace equations.
        """
        blocks = self.checked(w)
        W, outputs = self.windows, self.outputs
        d = self.X.shape[-1]
        first: list[np.ndarray] = [np.zeros((0, d), blocks.dtype)]
        places: list[tuple[int, int, float]] = []  # window, output, weight
        for sign, side in zip((1, -1), blocks, strict=True):
            for b, Z in enumerate(side):
                u, alpha = neurons_of(Z) if self.lifted else quadratic_neurons(Z)
                first.append(u)
                places += [(b % W, b // W, sign * float(x)) for x in alpha]
        kernel = np.concatenate(first)
        second = np.zeros((W, len(kernel), outputs), blocks.dtype)
        for j, (window, output, weight) in enumerate(places):
            second[window, j, output] = weight
        return two_layer_variables(kernel, second.reshape(-1, outputs))


def make_polynomial(
    X: Any,
    y: Any,
    *,
    beta: float,
    coefficients: tuple[float, float, float] = RELU_LIKE,
    loss: Any = None,
    patches: Any = None,
    pool: int | None = None,
) -> PolynomialProgram:
    """Validates the data and builds the program.

    Args:
      X: [n, d], real; integers are cast to float. With `patches`, None, or the images
        that they were cut from, which are not used.
      y: [n], or [n, c] for several outputs; labels as the loss takes them.
      beta: weight of the sum of |output weights|, > 0.
      coefficients: (a, b, c), not all zero.
      loss: of `cvxjax.losses`, or its name, default squared; not a constraint.
      patches: [n, K, h], as from `arrangements.extract_patches`.
      pool: patches in a window over which the activation is averaged; divides K.
        Default K: global average pooling.

    Raises:
      ValueError: saying what arrived and what is wanted.
    """
    loss = check_loss(loss)
    if loss.constraint is not None:
        raise ValueError(f"want a loss that is no constraint; got {loss.name}")
    a, b, c = _check_coefficients(coefficients)
    if patches is None:
        data: np.ndarray = check_data(X)
        pool = _check_pool(pool, 1)
    else:
        rows, shape = stack_patches(patches), np.shape(patches)
        if X is not None and len(X) != shape[0]:
            raise ValueError(f"want patches of X, {len(X)} samples; got {shape[0]}")
        data = rows.reshape(shape)
        pool = _check_pool(pool, shape[1])
    labels = check_outputs(y, data, loss)
    lifted = b != 0
    d = data.shape[-1]
    hadamard, shift = np.full((d, d), a), c
    if lifted:
        hadamard = np.pad(hadamard, (0, 1), constant_values=b / 2)
        hadamard[-1, -1], shift = c, 0.0
    return PolynomialProgram(
        **spectral_parts(
            data,
            labels,
            beta=check_beta(beta),
            loss=loss,
            hadamard=hadamard,
            shift=shift,
            pool=pool,
            lifted=lifted,
        ),
        regulariser=UnitNeurons() if lifted else TracePair(),
        coefficients=(a, b, c),
        scope=Scope.EXHAUSTIVE,
    )


def check_outputs(y: Any, data: np.ndarray, loss: Loss) -> np.ndarray:
    """y as [n] or [n, c] floats of the data's dtype; ValueError if it is wrong."""
    labels = np.asarray(y)
    if labels.ndim != 2:
        return check_labels(y, data, loss)
    if labels.shape[1] == 0 or len(labels) != len(data):
        raise ValueError(
            f"want y [{len(data)}] or [{len(data)}, c]; got {labels.shape}"
        )
    columns = [check_labels(column, data, loss) for column in labels.T]
    return np.stack(columns, axis=1)


def _check_coefficients(coefficients: Any) -> tuple[float, float, float]:
    values = np.asarray(coefficients)
    if values.dtype.kind not in "iuf" or values.shape != (3,):
        raise ValueError(f"want coefficients (a, b, c); got {coefficients!r}")
    if not np.all(np.isfinite(values)) or not np.any(values):
        raise ValueError(f"want finite coefficients, not all 0; got {coefficients}")
    a, b, c = (float(x) for x in values)
    return a, b, c


def _check_pool(pool: int | None, patches: int) -> int:
    if pool is None:
        return patches
    if not isinstance(pool, int | np.integer) or pool < 1 or patches % pool:
        raise ValueError(
            f"want pool, an integer that divides the {patches} patches; got {pool!r}"
        )
    return int(pool)
