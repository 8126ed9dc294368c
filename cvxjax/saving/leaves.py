"""The leaves of a pytree as arrays and JSON, for checkpoints, and back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_PLAIN = (bool, int, float, str)
_ARRAYS = (np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct)


def describe(state: Any) -> dict[str, str]:
    """The dtype and shape of each leaf, by path: {"['opt'][0].mu": "bfloat16[3, 2]"}.

    Random keys are "key<fry>[]"; Python's bool, int, float and str have their names.

    Raises:
      TypeError: if a leaf is none of these, nor an array of numbers or bools.
    """
    return {path: _describe(path, leaf) for path, leaf in _flatten(state).items()}


def compare(want: dict[str, str], found: dict[str, str]) -> str:
    """The differences of two results of `describe`, as a message; "" if none."""
    differences = [
        f"state{path}: want {want.get(path, 'nothing')}, "
        f"found {found.get(path, 'nothing')}"
        for path in want | found
        if want.get(path) != found.get(path)
    ]
    more = [f"and {len(differences) - 3} more"] if len(differences) > 3 else []
    return "; ".join(differences[:3] + more)


def take_apart(state: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Splits a state into a manifest for JSON and arrays.

    Returns:
      The manifest, a dict of "leaves", the result of `describe`; "values", Python's
      numbers and strings by path; "keys", the algorithms of random keys by path; and
      "weak", the paths of weakly typed arrays. And the arrays that are not empty, by
      their number among the leaves: on the host unless they span processes, random
      keys as integers.

    Raises:
      TypeError: as `describe`, and for weakly typed arrays that JAX offers no way to
        make again: of another dtype than Python's numbers get, or across processes.
    """
    leaves, values, keys, weak, arrays = {}, {}, {}, [], {}
    for index, (path, leaf) in enumerate(_flatten(state).items()):
        leaves[path] = _describe(path, leaf)
        if type(leaf) in _PLAIN:
            values[path] = leaf
            continue
        whole = getattr(leaf, "is_fully_addressable", True)
        if getattr(leaf, "weak_type", False):
            if not whole or leaf.dtype != _zeros(leaf).dtype:
                raise TypeError(
                    f"state{path} is weakly typed: take astype of its dtype"
                )
            weak.append(path)
        if _is_key(leaf):
            keys[path] = str(jax.random.key_impl(leaf))
            leaf = jax.random.key_data(leaf)
        if leaf.size > 0:
            arrays[str(index)] = np.asarray(leaf) if whole else leaf
    return {"leaves": leaves, "values": values, "keys": keys, "weak": weak}, arrays


def stored_arrays(manifest: dict[str, Any], like: Any) -> dict[str, Any]:
    """The leaves of `like` for which `take_apart` returned arrays, by the same numbers.

    Args:
      manifest: from `take_apart`.
      like: a state of the same description; arrays may be jax.ShapeDtypeStruct.
    """
    names = {path: str(index) for index, path in enumerate(manifest["leaves"])}
    return {
        names[path]: leaf
        for path, leaf in _flatten(like).items()
        if path not in manifest["values"] and leaf.size > 0
    }


def put_together(manifest: dict[str, Any], arrays: dict[str, Any], like: Any) -> Any:
    """The state that `take_apart` split, with arrays on the devices of those in `like`.

    Raises:
      ValueError: if an array is of 64 bits, and JAX has not enabled these.
    """
    names = {path: str(index) for index, path in enumerate(manifest["leaves"])}
    leaves = []
    for path, leaf in _flatten(like).items():
        if path in manifest["values"]:
            leaves.append(manifest["values"][path])
        else:
            impl, weak = manifest["keys"].get(path), path in manifest["weak"]
            leaves.append(_place(arrays.get(names[path]), leaf, impl, weak))
    return jax.tree.unflatten(jax.tree.structure(like), leaves)


def _place(array: Any, like: Any, impl: str | None, weak: bool) -> Any:
    """A leaf from its array (None if empty), with type and devices of `like`."""
    if array is None:
        blank = jax.eval_shape(jax.random.key_data, like) if _is_key(like) else like
        array = np.zeros(blank.shape, blank.dtype)
    if isinstance(like, np.ndarray):
        return array
    if isinstance(like, np.generic):
        return array[()]
    array = jnp.asarray(array)
    if impl is not None:
        array = jax.random.wrap_key_data(array, impl=impl)
    if array.dtype != like.dtype:
        raise ValueError(f"want {like.dtype}, JAX makes it {array.dtype}: enable x64")
    if weak:
        array = _zeros(array).at[...].set(array)  # an update keeps the weak type
    free = not like.committed if isinstance(like, jax.Array) else like.sharding is None
    return array if free else jax.device_put(array, like.sharding)


def _flatten(state: Any) -> dict[str, Any]:
    """The leaves of a pytree by path, in its order."""
    leaves = jax.tree_util.tree_leaves_with_path(state)
    return {jax.tree_util.keystr(path): leaf for path, leaf in leaves}


def _describe(path: str, leaf: Any) -> str:
    if type(leaf) in _PLAIN:
        return type(leaf).__name__
    if isinstance(leaf, _ARRAYS):
        dtype = leaf.dtype
        if _is_key(leaf) or (
            (jnp.issubdtype(dtype, np.number) or dtype == np.bool_) and dtype.isnative
        ):
            return f"{dtype}{list(leaf.shape)}"
    kind = getattr(leaf, "dtype", type(leaf).__name__)
    raise TypeError(
        "want arrays of numbers, bools or typed keys, or bool, int, float, str; got "
        f"{kind} in state{path}"
    )


def _is_key(leaf: Any) -> bool:
    return jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _zeros(leaf: Any) -> jax.Array:
    """A weakly typed array of zeros of the leaf's shape."""
    return jnp.full(leaf.shape, leaf.dtype.type(0).item())
