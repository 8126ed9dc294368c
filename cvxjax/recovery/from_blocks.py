"""Neurons from convex blocks, and smaller networks with the same predictions.

A block w of sign s stands for the neuron (u, a) = (w / sqrt||w||, s sqrt||w||), which
has (||u||^2 + a^2) / 2 = ||w||. Everything here runs on the host in NumPy.

Source: Pilanci & Ergen (ICML 2020) for recovery; Mishkin & Pilanci, Optimal Sets and
Solution Paths of ReLU Networks (ICML 2023), for pruning.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.algebra.arrays import as_array
from cvxjax.devices.runtime import share_cores


def balance(w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u_j = w_j / sqrt||w_j|| and a_j = sqrt||w_j|| for every row w_j; 0 stays 0.

    Args:
      w: [m, d].

    Returns:
      u [m, d] and a [m].
    """
    largest = np.max(np.abs(w), axis=-1, initial=0)  # whose square may underflow
    unit = w / np.where(largest > 0, largest, 1)[:, None]
    a = np.sqrt(largest) * np.sqrt(np.linalg.norm(unit, axis=-1))
    u = w / np.where(a > 0, a, 1)[:, None]
    return u, a


def neurons(w: np.ndarray, signs: Any = ((1,), (-1,))) -> tuple[np.ndarray, np.ndarray]:
    """The neurons of the non-zero blocks.

    Args:
      w: [S, P, d].
      signs: of the blocks, [S, 1] or [S, P]; default 1 and -1, S = 2.

    Returns:
      u [m, d] and a [m], balanced, in the order of the blocks.
    """
    blocks = w.reshape(-1, w.shape[-1])
    signs = np.broadcast_to(np.asarray(signs, w.dtype), w.shape[:2]).reshape(-1)
    active = np.any(blocks != 0, axis=-1)
    u, a = balance(blocks[active])
    return u, signs[active] * a


def two_layer_variables(u: np.ndarray, a: np.ndarray) -> dict[str, Any]:
    """Flax variables of neurons u [m, d] and a [m], or [m, c] for several outputs."""
    layers = {"first": u.T, "second": a if a.ndim == 2 else a[:, None]}
    return {"params": {k: {"kernel": jnp.asarray(W)} for k, W in layers.items()}}


def two_layer_neurons(variables: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """The inverse of `two_layer_variables`: u [m, d], a [m]."""
    params = variables["params"]
    first = np.asarray(params["first"]["kernel"])
    return first.T, np.asarray(params["second"]["kernel"])[:, 0]


def blocks_of(u: np.ndarray, a: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, ...]:
    """The convex blocks of a network: |a_j| u_j, sign a_j, pattern 1[X u_j >= 0].

    Args:
      u: [m, d].
      a: [m].
      X: [n, d].

    Returns:
      w [m, d], signs [m] in {-1, 0, 1}, masks [m, n].
    """
    return np.abs(a)[:, None] * u, np.sign(a), (u @ X.T) >= 0


def split(
    u: np.ndarray, a: np.ndarray, shares: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Splits every neuron into parallel ones, (sqrt(g_k) u, sqrt(g_k) a).

    Args:
      u: [m, d].
      a: [m].
      shares: g [k], >= 0, with sum 1.

    Returns:
      u [m k, d], a [m k]: the same function and the same sum of squares.
    """
    shares = np.asarray(shares, float)
    if shares.ndim != 1 or np.any(shares < 0) or not np.isclose(shares.sum(), 1):
        raise ValueError(f"want shares >= 0 that sum to 1; got {shares}")
    roots = np.sqrt(shares)
    wide = (u[:, None, :] * roots[:, None]).reshape(-1, u.shape[1])
    return wide, (a[:, None] * roots).reshape(-1)


def merge(u: np.ndarray, a: np.ndarray, X: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Adds up neurons that share the activation pattern on X and the output sign.

    Predictions on X stay; the weight decay does not grow (triangle inequality). Dead
    neurons (a_j u_j = 0, or inactive on every sample) are left out.

    Args:
      u: [m, d].
      a: [m].
      X: [n, d].

    Returns:
      u [m', d], a [m'], balanced; one neuron for each (pattern, sign).
    """
    w, signs, masks = blocks_of(u, a, X)
    alive = (signs != 0) & np.any(np.maximum(w @ X.T, 0) > 0, axis=1)
    w, signs, masks = w[alive], signs[alive], masks[alive]
    if len(w) == 0:
        return u[:0], a[:0]
    keys = np.column_stack([signs > 0, masks])
    _, group = np.unique(keys, axis=0, return_inverse=True)
    group = np.reshape(group, -1)
    total = np.zeros((group.max() + 1, w.shape[1]), w.dtype)
    np.add.at(total, group, w)
    sign = np.zeros(len(total), w.dtype)
    sign[group] = signs
    first, second = balance(total)
    return first, sign * second


def prune(
    u: np.ndarray, a: np.ndarray, X: np.ndarray, rtol: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Removes neurons until their fits (X u_j)_+ are linearly independent.

    Let phi_j = (X u_j)_+ a_j. While sum_j c_j phi_j = 0 for some c != 0, neuron j is
    scaled by 1 - c_j / c_max, which keeps the predictions and removes one neuron. The
    direction with sum_j c_j ||w_j|| >= 0 is taken, so the weight decay never grows;
    at an optimum it stays equal. At most rank <= n neurons are left. All directions c
    come from one factorisation, which one reflection updates for each removed neuron.

    Args:
      u: [m, d].
      a: [m].
      X: [n, d].
      rtol: singular values below rtol times the largest, of fits of unit length, count
        as zero; default 1e-9, 1e-5 for neurons in float32.

    Returns:
      u [m', d], a [m'], balanced.
    """
    u, a, X = (as_array(x, name) for x, name in ((u, "u"), (a, "a"), (X, "X")))
    wide = u.ndim == X.ndim == 2 and u.shape[1:] == X.shape[1:]
    if not wide or a.shape != u.shape[:1]:
        shapes = ", ".join(str(list(x.shape)) for x in (u, a, X))
        raise ValueError(f"want u [m, d], a [m] and X [n, d]; got {shapes}")
    dtype = np.result_type(u, a)
    if rtol is None:
        rtol = 1e-9 if dtype.itemsize == 8 else 1e-5
    rows = np.asarray(X, np.float64)
    rows = rows / (np.max(np.abs(rows), initial=0) or 1.0)
    w, signs, _ = blocks_of(np.asarray(u, np.float64), np.asarray(a, np.float64), rows)
    unit_w = w / (np.max(np.abs(w), initial=0) or 1.0)
    fits = np.maximum(rows @ unit_w.T, 0) * signs
    sizes = np.linalg.norm(fits, axis=0)
    alive = sizes > 0
    w, signs, sizes, fits = w[alive], signs[alive], sizes[alive], fits[:, alive]
    costs = np.linalg.norm(unit_w[alive], axis=1) / sizes
    with share_cores():  # hundreds of small products are slower on many threads
        left = independent(fits / sizes, sizes, costs, rtol)
    kept = left > 0
    w = w[kept] * (left / sizes)[kept, None]
    first, second = balance(w)
    return first.astype(dtype), (signs[kept] * second).astype(dtype)


def independent(
    columns: np.ndarray, weights: np.ndarray, costs: np.ndarray, rtol: float
) -> np.ndarray:
    """Weights >= 0 on independent columns, with the same weighted sum of columns.

    Args:
      columns: [n, m], of unit length.
      weights: [m], > 0.
      costs: [m], > 0; costs^T weights does not grow.
      rtol: singular values below this, relative to the largest, count as zero.

    Returns:
      [m]; the columns with positive weights are independent.
    """
    want, left = columns @ weights, weights.copy()
    while True:
        (kept,) = np.nonzero(left > 0)
        free = _null_space(columns[:, kept], rtol)
        if free.shape[1] == 0:
            break
        left[kept] = _eliminated(left[kept], costs[kept], free)
    if len(kept) < len(weights):  # what small singular values and rounding left over
        miss = want - columns @ left
        better = left[kept] + np.linalg.lstsq(columns[:, kept], miss, rcond=None)[0]
        if np.all(better > 0) and costs[kept] @ better <= costs @ weights:
            left[kept] = better
    return left


def _null_space(columns: np.ndarray, rtol: float) -> np.ndarray:
    """An orthonormal basis [m, k] of the null space of the columns [n, m]."""
    if columns.shape[1] == 0:
        return np.zeros((0, 0))
    triangle = np.linalg.qr(columns, mode="r")
    _, values, directions = np.linalg.svd(triangle)
    return directions[int(np.sum(values > rtol * values[0])) :].T


def _eliminated(weights: np.ndarray, costs: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Weights changed within the span of `free` [m, k] until k of them are zero.

    Each step decreases the costs until a weight is zero; a reflection then reduces
    `free` to the directions in which this weight stays zero.
    """
    left, free, pull = weights.copy(), np.asfortranarray(free), costs @ free
    subtract_product: Any = scipy.linalg.get_blas_funcs("ger", (free,))
    while free.shape[1]:
        direction = free @ pull if np.any(pull) else free[:, 0]
        falls = direction > 0
        ratios = np.where(falls, left / np.where(falls, direction, 1), np.inf)
        first = int(np.argmin(ratios))
        left = np.maximum(left - ratios[first] * direction, 0)
        left[first] = 0
        mirror = free[first].copy()
        mirror[0] += np.copysign(np.linalg.norm(mirror), mirror[0])
        mirror *= np.sqrt(2) / np.linalg.norm(mirror)
        pull = (pull - (pull @ mirror) * mirror)[1:]
        image = free @ mirror
        free = subtract_product(-1, image, mirror, a=free, overwrite_a=True)[:, 1:]
        free[first] = 0
    return left


def minimal(variables: dict[str, Any], X: np.ndarray) -> dict[str, Any]:
    """Merges and prunes a two-layer ReLU network.

    Same predictions on X, weight decay not larger, at most rank <= n neurons, no two
    with the same pattern and sign.

    Args:
      variables: of `networks.TwoLayer`.
      X: [n, d], the training data.
    """
    X = np.asarray(X)
    u, a = two_layer_neurons(variables)
    return two_layer_variables(*prune(*merge(u, a, X), X))
