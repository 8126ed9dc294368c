"""Patches of images and signals, and the patterns of filters on them.

A filter u is applied to the K patches of a sample, so that its activation pattern is
one of all n K patches: any function of this package that takes X takes
`stack_patches(patches)`. There are at most `count_bound(n K, rank)`, rank <= h.

Source: Ergen & Pilanci, Implicit Convex Regularizers of CNN Architectures (ICLR 2021).
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from cvxjax.algebra.arrays import as_array, as_input, check_key, check_pair
from cvxjax.arrangements.patterns import check_data

Array = jax.Array


def extract_patches(
    images: ArrayLike,
    size: int | tuple[int, int],
    *,
    strides: int | tuple[int, int] = (1, 1),
    padding: str | Sequence[tuple[int, int]] = "VALID",
) -> Array:
    """The patch at every position of a filter, as a JAX operation.

    Args:
      images: [n, height, width] or [n, height, width, channels].
      size: of the filter, (height, width), or one number for both.
      strides: of its positions, likewise.
      padding: "VALID", "SAME", or how many zeros to add,
        ((top, bottom), (left, right)).

    Returns:
      [n, K, h], positions row by row, h = height x width x channels of the filter in
      the order of a Flax kernel: `kernel.reshape(h, -1)` multiplies it.

    Raises:
      ValueError: if shapes do not fit, or the filter has no position.
    """
    size, strides = check_pair(size, "size"), check_pair(strides, "strides")
    data = as_input(images)
    if data.ndim == 3:
        data = data[..., None]
    if data.ndim != 4:
        raise ValueError(
            f"want images [n, height, width(, channels)]; got {data.shape}"
        )
    n, channels = data.shape[0], data.shape[3]
    patches = jax.lax.conv_general_dilated_patches(
        data,
        size,
        strides,
        padding if isinstance(padding, str) else list(padding),
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        precision=jax.lax.Precision.HIGHEST,
    )
    K = patches.shape[1] * patches.shape[2]
    if K == 0:
        raise ValueError(f"want a filter that fits {data.shape[1:3]}; got size {size}")
    # JAX lists the channels first in each patch, Flax kernels last.
    patches = patches.reshape(n, K, channels, -1)
    return jnp.swapaxes(patches, 2, 3).reshape(n, K, -1)


def circular_patches(X: ArrayLike) -> Array:
    """The d circular shifts of every sample, [n, d, d]: row k starts at entry k."""
    data = jnp.asarray(X)
    d = data.shape[1]
    return data[:, (np.arange(d)[:, None] + np.arange(d)) % d]


def stack_patches(patches: ArrayLike) -> np.ndarray:
    """Patches [n, K, h] as data [n K, h], of whose rows filters have patterns."""
    data = as_array(patches, "patches")
    if data.ndim != 3:
        raise ValueError(f"want patches [n, K, h]; got shape {data.shape}")
    return check_data(data.reshape(-1, data.shape[2]))


def max_pool_rows(patches: ArrayLike) -> np.ndarray:
    """Data whose patterns say which patch of a sample is largest, and its sign.

    Rows are all patches and, for every sample, all differences of two of its patches.

    Args:
      patches: [n, K, h].

    Returns:
      [n K + n K (K - 1) / 2, h].
    """
    rows = stack_patches(patches)
    n, K, h = np.asarray(patches).shape
    data = rows.reshape(n, K, h)
    first, second = np.triu_indices(K, 1)
    differences = data[:, first] - data[:, second]
    return np.concatenate([rows, differences.reshape(-1, h)])


def filter_gates(
    key: Array, shape: tuple[int, int, int], size: tuple[int, int], *, num: int
) -> Array:
    """Gates for flattened images that are zero outside one random patch.

    Each is a Gaussian filter at a uniformly random position, which makes patterns of
    fully connected networks more like those of trained ones on images.

    Args:
      key: a typed key.
      shape: of an image, (height, width, channels).
      size: of the filter, (height, width).
      num: P, how many.

    Returns:
      [P, height x width x channels].

    Source: the "Conv" patterns of the code with Pilanci & Ergen (ICML 2020).
    """
    key = check_key(key)
    height, width, channels = shape
    tall, wide = size
    if not (1 <= tall <= height and 1 <= wide <= width):
        raise ValueError(f"want a filter that fits {shape}; got size {size}")

    def draw(key: Array) -> Array:
        filters, rows, columns = jax.random.split(key, 3)
        values = jax.random.normal(filters, (tall, wide, channels))
        row = jax.random.randint(rows, (), 0, height - tall + 1)
        column = jax.random.randint(columns, (), 0, width - wide + 1)
        empty = jnp.zeros(shape, values.dtype)
        return jax.lax.dynamic_update_slice(empty, values, (row, column, 0)).ravel()

    return jax.vmap(draw)(jax.random.split(key, num))
