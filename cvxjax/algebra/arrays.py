"""Arguments that should be arrays or random keys: converted, or refused in a sentence.

Lists, NumPy and JAX arrays, data frames and series are taken. Sparse matrices are not,
since nothing here keeps them sparse, nor are tracers where values must be checked.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer


def as_array(given: Any, name: str) -> np.ndarray:
    """`given` as a NumPy array of any dtype.

    Args:
      given: anything that `numpy.asarray` takes.
      name: of the argument, for the message, such as "X".

    Raises:
      ValueError: for tracers, sparse matrices, and what is no array.
    """
    if isinstance(given, Tracer):
        raise ValueError(
            f"want {name} with values; got a tracer of jit, vmap or grad (build the "
            f"program outside, and trace program.replace({name}=...))"
        )
    if hasattr(given, "toarray"):
        kind = type(given).__name__
        raise ValueError(
            f"want a dense array for {name}; got a sparse {kind} ({name}.toarray() is "
            "dense)"
        )
    if np.ma.is_masked(given):
        raise ValueError(
            f"want {name} without missing entries; got a masked array with "
            f"{np.ma.count_masked(given)} masked"
        )
    try:
        return np.asarray(given)
    except ValueError as error:
        raise ValueError(f"want {name}, an array of real numbers; {error}") from None


def is_number(given: Any) -> bool:
    """Whether it is one real number, of Python, NumPy or JAX."""
    number = np.asarray(given)
    return number.dtype.kind in "iuf" and number.shape == ()


def as_input(given: Any) -> jax.Array:
    """A network's input as a JAX array of floats; tracers are taken too."""
    if not isinstance(given, jax.Array):
        given = jnp.asarray(as_array(given, "X"))
    if jnp.issubdtype(given.dtype, jnp.floating):
        return given
    return given.astype(jnp.asarray(0.0).dtype)


def check_pair(given: Any, name: str) -> tuple[int, int]:
    """(height, width) from one or two integers >= 1; ValueError for anything else."""
    pair = np.asarray(given)
    whole = pair.dtype.kind in "iu" and pair.shape in ((), (2,)) and np.all(pair >= 1)
    if not whole:
        raise ValueError(f"want {name}, an integer >= 1 or two; got {given!r}")
    height, width = np.broadcast_to(pair, 2).tolist()
    return height, width


def check_key(key: Any) -> jax.Array:
    """The key, if it is one of jax.random, typed or raw; else ValueError."""
    if isinstance(key, jax.Array) and (
        jnp.issubdtype(key.dtype, jax.dtypes.prng_key) or key.dtype == jnp.uint32
    ):
        return key
    what = repr(key) if isinstance(key, int) else type(key).__name__
    raise ValueError(f"want a key such as jax.random.key(0); got {what}")
