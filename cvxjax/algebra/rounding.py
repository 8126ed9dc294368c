"""How much rounding may change a bound: used by solvers and judges alike.

u = 2^-53 is the unit roundoff of float64, and gamma_k = k u / (1 - k u). A sum of k
products, in whatever order, with or without fused operations, is computed with an error
of at most gamma_k times the sum of the products' absolute values (Higham, Accuracy and
Stability of Numerical Algorithms, 2002, section 3.1). Three numbers follow from it.

**The gauge.** An entry of q = F_b^T v + A_b^T mu is a sum of n + m products, so that
its error is at most gamma_(n+m) (|F_b|^T |v| + |A_b|^T mu). The norm of these errors is
at most gamma_(n+m) (sum_i |v_i| r_i + sum_k mu_k ||a_k||), by the triangle inequality,
where r_i bounds the norm of row i of every F_b. The norm of q, of k entries, adds
gamma_(k+2) of itself, and is no larger than that sum. Rows that are divided by their
lengths, and the sum itself, are off by a few u more. `gauge_rounding` is that sum times
gamma_t with t = 2 (n + m + k + 8), twice the number of operations, which covers the
products of two errors.

Where that is a large part of a price, judges sum its entries exactly
(`exact_products.combination`) and round each once: the price is then off by at most
gamma_t of itself, however much cancels.

**The dual value.** -L*(-v) is a sum over samples. The absolute values of its terms add
up to at most 2 sum |v_i y_i| + |L*(-v)|, for every loss of `cvxjax.losses`: those of
residuals are sum v_i y_i - sum f*(-v_i) with f* >= 0; those of margins have terms of
one sign, but for the squared hinge's, sum |v_i| - v_i^2 / 2, |y_i| = 1. Logarithms are
taken to be right to a few u.

**A contradiction.** A lower bound above an objective is an error in cvxjax only where
rounding cannot explain it. Predictions are off by gamma_t r_i R(w), which moves the
objective by gamma_t |L'|^T r R(w), to first order, with L' near v; the gauge is off by
as much relative to beta, and so is the scaled dual value. `explained` adds these up,
and what a constraint's own tolerance lets an objective fall, |v|^T |z - y|.

What is not proved: eigenvalues and singular values are LAPACK's, whose error is a
modest multiple of u times the largest one; `SPECTRAL` is that multiple, by experience.
Underflow is not covered: certificates scale v to the order of one.

Nothing here imports JAX; `xp` is numpy or jax.numpy.
"""

from __future__ import annotations

from typing import Any

import numpy as np

UNIT = 2.0**-53
SPECTRAL = 8  # LAPACK's error of the largest eigenvalue is below this times order u
_ELEMENTARY = 16  # operations in one term of a loss's conjugate


def gamma(terms: float, unit: float = UNIT) -> float:
    """gamma_k = k u / (1 - k u), or 1, which bounds nothing, where k u >= 1/2."""
    share = terms * unit
    return share / (1 - share) if share < 0.5 else 1.0


def terms_of(rows: int, walls: int, size: int) -> int:
    """t of the module's docstring.

    Args:
      rows: n, rows of the data.
      walls: m, rows of the cone of a block.
      size: k, entries of a block.
    """
    return 2 * (rows + walls + size + 8)


def pulled(v: Any, reach: Any, xp: Any = np) -> Any:
    """sum_i ||v_i|| r_i, [], which bounds the price of v and its rounding.

    Args:
      v: [n], or [n, c].
      reach: r, [n].
    """
    sizes = lengths(v.reshape(len(reach), -1), xp)
    return xp.sum(sizes * reach)


def gauge_rounding(terms: int, weight: Any) -> Any:
    """The most that rounding changes a price: gamma_t times `weight`.

    Args:
      terms: t.
      weight: sum_i ||v_i|| r_i + sum_k mu_k ||a_k||.
    """
    return gamma(terms) * weight


def dual_rounding(v: Any, y: Any, value: Any, xp: Any = np) -> Any:
    """The most that rounding may have added to `value` = -L*(-v), v of y's shape."""
    size = 2 * xp.sum(xp.abs(v * y)) + xp.abs(value)
    return gamma(v.size + _ELEMENTARY) * size


def explained(
    primal: Any,
    dual: Any,
    v: Any,
    *,
    loss: Any,
    y: Any,
    beta: Any,
    reach: Any,
    terms: int,
    tolerance: float = 0.0,
    unit: float = UNIT,
    xp: Any = np,
) -> Any:
    """How far the lower bound `dual` may lie above `primal` by rounding alone.

    Args:
      primal: an objective, finite.
      dual: a lower bound of the optimum, finite.
      v: [n], or [n, c], the dual vector of that bound, its price at most beta.
      loss, y, beta: of the problem.
      reach: r, [n].
      terms: t.
      tolerance: by how much, relative to max |y|, the loss's constraint may be missed.
      unit: the unit roundoff of the coarser of the two bounds' arithmetics.
      xp: numpy or jax.numpy.
    """
    start = loss.value(0 * y, y)
    sizes = xp.abs(primal) + xp.abs(dual) + xp.where(xp.isfinite(start), start, 0)
    sizes = sizes + 2 * xp.sum(xp.abs(v * y))
    miss = tolerance * xp.max(xp.abs(y)) * xp.sum(xp.abs(v))
    return gamma(terms, unit) * (1 + pulled(v, reach, xp) / beta) * sizes + miss


def lengths(x: Any, xp: Any = np) -> Any:
    """||x_b||_2 over the last axis, without underflow or overflow of squares."""
    largest = xp.max(xp.abs(x), axis=-1, initial=0.0)
    scale = xp.where((largest > 0) & xp.isfinite(largest), largest, 1)
    scaled = x / scale[..., None]
    return scale * xp.sqrt(xp.sum(scaled * scaled, axis=-1))
