"""Parameters as trees of arrays: one array most often, or what JAX calls a pytree."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def shapes_of(tree: Any) -> Any:
    """The tree with the shape of every array in its place, as lists."""
    return jax.tree.map(lambda x: list(np.shape(x)), tree)


def alike(tree: Any, other: Any) -> bool:
    """Whether two trees have one structure, and arrays of the same shapes."""
    same = jax.tree.structure(tree) == jax.tree.structure(other)
    return same and shapes_of(tree) == shapes_of(other)


def all_finite(tree: Any) -> Array:
    """Whether no entry is NaN or infinite, []."""
    parts = [jnp.all(jnp.isfinite(x)) for x in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(parts))


def choose(condition: Array, tree: Any, other: Any) -> Any:
    """`tree` where the condition [] holds, else `other`."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), tree, other)


def on_host(tree: Any, dtype: Any = None) -> Any:
    """NumPy arrays, of another dtype if one is given."""
    return jax.tree.map(lambda x: np.asarray(x, dtype), tree)


def dtype_of(tree: Any) -> np.dtype:
    """The type that all arrays of the tree fit in."""
    return np.result_type(*(np.asarray(x).dtype for x in jax.tree.leaves(tree)))
