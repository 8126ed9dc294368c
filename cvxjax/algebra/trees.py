"""Functions of parameters, which are any pytree of arrays, most often one array."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Array = jax.Array


def shapes_of(tree: Any) -> Any:
    """The tree with the shape of every array, a list, in the array's place."""
    return jax.tree.map(lambda x: list(np.shape(x)), tree)


def alike(tree: Any, other: Any) -> bool:
    """Whether two trees have the same structure, with arrays of the same shapes."""
    same = jax.tree.structure(tree) == jax.tree.structure(other)
    return same and shapes_of(tree) == shapes_of(other)


def all_finite(tree: Any) -> Any:
    """Whether no entry is NaN or infinite, []."""
    leaves = jax.tree.leaves(tree)
    if all(isinstance(x, np.ndarray) for x in leaves):  # which compiles nothing
        return np.all([np.all(np.isfinite(x)) for x in leaves])
    return jnp.all(jnp.stack([jnp.all(jnp.isfinite(x)) for x in leaves]))


def choose(condition: Array, tree: Any, other: Any) -> Any:
    """`tree` where the condition [] holds, else `other`."""
    return jax.tree.map(lambda x, y: jnp.where(condition, x, y), tree, other)


def on_host(tree: Any, dtype: Any = None) -> Any:
    """The tree with NumPy arrays, cast to `dtype` if one is given."""
    return jax.tree.map(lambda x: np.asarray(x, dtype), tree)


def dtype_of(tree: Any) -> np.dtype:
    """The dtype that all arrays of the tree can be promoted to."""
    return np.result_type(*(np.asarray(x).dtype for x in jax.tree.leaves(tree)))
