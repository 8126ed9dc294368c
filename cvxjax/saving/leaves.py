"""The leaves of a state: named and described, brought to the host, and put back."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_PLAIN = (bool, int, float, str)
_ARRAYS = (np.ndarray, np.generic, jax.Array, jax.ShapeDtypeStruct)


def describe(state: Any) -> dict[str, str]:
    """What each leaf is, by its path: {"['opt'][0].mu": "bfloat16[3, 2]", ...}.

    Keys are "key<fry>[]", and Python's own go by the name of their type.

    Raises:
      TypeError: a leaf is no array of numbers, bools or typed keys, and no bool, int,
        float or str of Python.
    """
    return {path: _describe(path, leaf) for path, leaf in _flatten(state).items()}


def compare(want: dict[str, str], found: dict[str, str]) -> str:
    """Where two descriptions differ, for a message; empty if they are the same."""
    differences = [
        f"state{path}: want {want.get(path, 'nothing')}, "
        f"found {found.get(path, 'nothing')}"
        for path in want | found
        if want.get(path) != found.get(path)
    ]
    more = [f"and {len(differences) - 3} more"] if len(differences) > 3 else []
    return "; ".join(differences[:3] + more)


def take_apart(state: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of a state goes into JSON, and its arrays.

    Returns:
      By path: "leaves", every description; "values" of Python's own; "keys", the
      algorithm of typed keys; "weak", which arrays have a weak type. And the arrays
      that are not empty, under their number in "leaves": on the host, unless they span
      processes; keys as integers.

    Raises:
      TypeError: as `describe` does, and for what no public function of JAX makes again:
        a weak type of another dtype than Python's numbers get, or across processes.
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
    """The leaves of `like` that `take_apart` gave as arrays, under their names there.

    Args:
      manifest: the first part of what `take_apart` returned.
      like: a state that `describe` finds the same, or one with jax.ShapeDtypeStruct.
    """
    names = {path: str(index) for index, path in enumerate(manifest["leaves"])}
    return {
        names[path]: leaf
        for path, leaf in _flatten(like).items()
        if path not in manifest["values"] and leaf.size > 0
    }


def put_together(manifest: dict[str, Any], arrays: dict[str, Any], like: Any) -> Any:
    """The state that `take_apart` took apart, with arrays where those of `like` lie.

    Raises:
      ValueError: JAX has not the dtype of an array, without 64-bit types.
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
    """One array, or None for an empty one, as what it was, where `like` lies."""
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
    """The leaves by their paths, in the pytree's order."""
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
    """Weakly typed, of the leaf's shape."""
    return jnp.full(leaf.shape, leaf.dtype.type(0).item())
