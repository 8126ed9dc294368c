"""Convex losses: value, gradient, conjugate and proximal map.

Each loss is a sum over samples, with no 1/n. All but softmax are sums over the entries
of z, of one function f of one number:

    L(z, y) = sum_i f(z_i - y_i)    squared, huber, pinball, interpolation
    L(z, y) = sum_i f(y_i z_i)      logistic, hinge, squared_hinge, hard_margin
    L(z, y) = sum_s log sum_k exp(z_sk) - y_s^T z_s    softmax, z [n, c]

with y_i in {-1, +1} in the second row, one-hot y_s in the third. `weighted` multiplies
the terms of any of them by a weight for each sample; `offset` adds a given constant to
all predictions of one output, `with_intercept` the best one.

Their methods are those of `interfaces.Loss` and, for losses that are `separable`, of
`interfaces.SeparableLoss`; `terms` and `conjugate_terms` are the summands of `value`
and `conjugate`. Arguments have one common shape, whose first axis is that of the
samples, or ValueError is raised; `step` may also be a scalar, and must be [n, 1] or
scalar for softmax. NumPy arrays give NumPy results; a JAX array among the arguments
makes the result JAX, under `jit` and `vmap` as well. The result has the dtype of the
first argument.

Tolerances for rounding are `DOMAIN_EPS`, at the ends of a conjugate's domain, and
`FEASIBILITY`, for the constraints `interpolation` and `hard_margin`.

Source: Parikh & Boyd, Proximal Algorithms (2014); Boyd & Vandenberghe, Convex
Optimization (2004), section 3.3 (conjugates); Koenker & Bassett, Regression Quantiles
(1978), for pinball.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from cvxjax.algebra.arrays import is_number
from cvxjax.terms.losses.elementwise import DOMAIN_EPS, FEASIBILITY, SampleSum
from cvxjax.terms.losses.intercept import Offset, WithIntercept
from cvxjax.terms.losses.margin import HardMargin, Hinge, Logistic, SquaredHinge
from cvxjax.terms.losses.residual import Huber, Interpolation, Pinball, Squared
from cvxjax.terms.losses.softmax import Softmax
from cvxjax.terms.losses.weighted import Weighted

__all__ = [
    "DOMAIN_EPS",
    "FEASIBILITY",
    "HardMargin",
    "Hinge",
    "Huber",
    "Interpolation",
    "Logistic",
    "Offset",
    "Pinball",
    "Softmax",
    "Squared",
    "SquaredHinge",
    "Weighted",
    "WithIntercept",
    "hard_margin",
    "hinge",
    "huber",
    "interpolation",
    "logistic",
    "offset",
    "pinball",
    "softmax",
    "squared",
    "squared_hinge",
    "weighted",
    "with_intercept",
]


def squared() -> Squared:
    """1/2 ||z - y||^2, for real labels y."""
    return Squared()


def logistic() -> Logistic:
    """sum_i log(1 + exp(-y_i z_i)), for labels y_i = -1 or +1."""
    return Logistic()


def hinge() -> Hinge:
    """sum_i max(0, 1 - y_i z_i), for labels y_i = -1 or +1; gradient 0 at the kink."""
    return Hinge()


def squared_hinge() -> SquaredHinge:
    """1/2 sum_i max(0, 1 - y_i z_i)^2, for labels y_i = -1 or +1; note the 1/2."""
    return SquaredHinge()


def huber(delta: float | jax.Array = 1.0) -> Huber:
    """sum_i h(z_i - y_i), h(r) = r^2/2 if |r| <= delta, else delta |r| - delta^2/2.

    Args:
      delta: [], > 0, in the units of y; traced, so changing it recompiles nothing.

    Raises:
      ValueError: `delta` is not a positive, finite scalar (not checked on a tracer).
    """
    if not isinstance(delta, Tracer):
        number = np.asarray(delta)
        if number.shape != () or not (np.isfinite(number) and number > 0):
            raise ValueError(f"want a finite scalar delta > 0; got {delta!r}")
    return Huber(delta=delta)


def pinball(quantile: float | jax.Array = 0.5) -> Pinball:
    """sum_i max(q (y_i - z_i), (q - 1)(y_i - z_i)): z estimates the quantile q of y.

    The gradient is 0 at the kink.

    Args:
      quantile: q, [], in (0, 1); traced, so changing it recompiles nothing.

    Raises:
      ValueError: `quantile` is no scalar in (0, 1) (not checked on a tracer).
    """
    if not isinstance(quantile, Tracer):
        if not is_number(quantile) or not 0 < np.asarray(quantile) < 1:
            raise ValueError(f"want a scalar quantile in (0, 1); got {quantile!r}")
    return Pinball(quantile=quantile)


def softmax() -> Softmax:
    """sum_s log sum_k exp(Z_sk) - Y_s^T Z_s, for one-hot Y [n, c], c >= 2 outputs."""
    return Softmax()


def interpolation() -> Interpolation:
    """0 if z = y, else +inf: the network must fit every real label exactly.

    The value is 0 if max|z - y| <= tolerance * max|y| with the `FEASIBILITY`
    tolerance of z's dtype. The gradient is 0, the subgradient of least norm on the
    domain.
    """
    return Interpolation()


def hard_margin() -> HardMargin:
    """0 if y_i z_i >= 1 for all i, else +inf, for labels y_i = -1 or +1.

    The value is 0 if y_i z_i >= 1 - tolerance with the `FEASIBILITY` tolerance of z's
    dtype. The gradient is 0, the subgradient of least norm on the domain.
    """
    return HardMargin()


def weighted(loss: Any, weights: Any) -> Weighted:
    """sum_s omega_s L(z_s, y_s) for any loss L of this module.

    Args:
      loss: an instance, such as `hinge()`.
      weights: omega, [n], > 0; traced. A sample of weight 0 says nothing: leave it out.

    Raises:
      ValueError: `weights` are not n positive, finite numbers (not checked on a
        tracer), or `loss` is no loss.
    """
    _check_sum(loss)
    if not isinstance(weights, Tracer):
        weights = np.asarray(weights)
        if weights.ndim != 1 or weights.size == 0 or weights.dtype.kind not in "biuf":
            raise ValueError(
                f"want weights [n], real; got {weights.dtype} {list(weights.shape)}"
            )
        if not np.all(np.isfinite(weights)) or np.any(weights < 0):
            bad = int(np.argmin(np.isfinite(weights) & (weights >= 0)))
            raise ValueError(
                f"want finite weights > 0; got {weights[bad]} for sample {bad}"
            )
        if np.any(weights == 0):
            count = int(np.sum(weights == 0))
            raise ValueError(
                f"want weights > 0; got 0 for {count} of {weights.size} samples "
                "(leave those out of X, y and weights)"
            )
        weights = weights.astype(np.promote_types(weights.dtype, np.float32))
    return Weighted(loss=loss, weights=jnp.asarray(weights))


def offset(loss: Any, constant: Any) -> Offset:
    """L(z + c, y) for any loss L: predictions to which a given constant is added.

    Args:
      loss: an instance, such as `logistic()`.
      constant: c, [], or [k] of k outputs, finite, in the units of z; traced.

    Raises:
      ValueError: `constant` is not finite (not checked on a tracer), or `loss` is no
        loss that is a sum over samples.
    """
    _check_sum(loss)
    if not isinstance(constant, Tracer):
        known = np.asarray(constant)
        real = known.dtype.kind in "biuf" and known.ndim <= 1
        if not real or not np.all(np.isfinite(known)):
            raise ValueError(f"want a finite constant; got {constant!r}")
        constant = known.astype(np.promote_types(known.dtype, np.float32))
    return Offset(loss=loss, offset=jnp.asarray(constant))


def with_intercept(loss: Any) -> WithIntercept:
    """min_c L(z + c, y) for any loss L of one output that is no constraint.

    It makes the output bias of a network a free constant, without weight decay; for
    predictions z, `intercept(z, y)` is the best one. As the loss couples the samples,
    only ColumnGeneration, Admm and Fista take it.

    Args:
      loss: an instance, such as `logistic()`, or `weighted(hinge(), weights)`.

    Raises:
      ValueError: `loss` is no loss of one output, or it is a constraint.
    """
    _check_sum(loss)
    if not loss.separable:
        raise ValueError(f"want a loss of one output; got {loss.name}")
    if loss.constraint is not None:
        raise ValueError(f"want a loss that is no constraint; got {loss.name}")
    return WithIntercept(loss=loss)


def _check_sum(loss: Any) -> None:
    """ValueError unless the loss is a sum over samples."""
    if not isinstance(loss, SampleSum):
        raise ValueError(f"want a loss of cvxjax.losses; got {loss!r}")
    if isinstance(loss, WithIntercept):
        raise ValueError(f"want a sum over samples; got {loss.name}")
