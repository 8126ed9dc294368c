"""Distinct activation patterns of random gates, and of given ones."""

from __future__ import annotations

import functools
import operator
import warnings

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from numpy.typing import ArrayLike

from cvxjax.algebra.arrays import check_key
from cvxjax.algebra.linalg import dot
from cvxjax.arrangements.patterns import (
    Patterns,
    check_data,
    count_bound,
    find_lines,
)
from cvxjax.solution import Scope

_CHUNK = 2**24  # numbers in a temporary


def sample_patterns(key: Array, X: ArrayLike, *, num: int) -> Patterns:
    """The first `num` distinct patterns of a sequence of uniform unit gates.

    Gate i is Gaussian, drawn from `fold_in(key, i)`, and scaled to unit norm; a gate
    with x_j^T g = 0 for a non-zero row is left out. So the patterns for a smaller `num`
    are the first of those for a larger one. Draws stop at `num` distinct patterns, when
    X can have no more by `count_bound`, or when two batches in a row of max(1024, num)
    draws bring nothing new.

    Args:
      key: a typed key, `jax.random.key(seed)`.
      X: [n, d].
      num: patterns wanted, >= 1.

    Returns:
      Patterns in the order of their first draw. The scope is SAMPLED even if all were
      found: only `enumerate_patterns` makes it EXHAUSTIVE.

    Raises:
      ValueError: if `X` is not a matrix of finite numbers, or `num` not an integer
        of at least 1.

    Warns:
      UserWarning: if fewer than `num` patterns were found.
    """
    data, key = check_data(X), check_key(key)
    try:
        wanted = operator.index(num)
    except TypeError:
        raise ValueError(f"want num, an integer >= 1; got {num!r}") from None
    if wanted < 1:
        raise ValueError(f"want num, an integer >= 1; got {wanted}")

    n, d = data.shape
    batch = max(1024, wanted)
    chunk = min(batch, max(1, _CHUNK // max(n, d)))
    X_device = jnp.asarray(data)
    nonzero = jnp.asarray(np.any(data != 0, axis=1))
    found = _Distinct(wanted)
    drawn, idle = 0, 0
    bound: int | None = None
    while len(found) < wanted and idle < 2:
        before = len(found)
        for start in range(drawn, drawn + batch, chunk):
            gates, bits, tied = _draw(key, start, X_device, nonzero, chunk)
            free = np.flatnonzero(~np.asarray(tied)[: drawn + batch - start])
            found.add(np.asarray(bits)[free], np.asarray(gates)[free])
            if len(found) == wanted:
                break
        drawn += batch
        if len(found) == before:
            idle += 1
            if bound is None:
                lines = find_lines(data).directions
                bound = max(1, count_bound(*lines.shape))
            if len(found) >= bound:
                break
        else:
            idle = 0
    if not len(found):
        raise ValueError(f"X underflows in {data.dtype}: every gate ties with a row")
    if len(found) < wanted:
        every = bound is not None and len(found) >= bound
        reason = "X has no more" if every else f"{drawn:,} draws brought no more"
        warnings.warn(
            f"found {len(found):,} distinct patterns of num={wanted:,}: {reason}",
            stacklevel=2,
        )
    return found.patterns(n)


def from_gates(X: ArrayLike, gates: ArrayLike) -> Patterns:
    """The distinct patterns 1[X g >= 0] of `gates` [P, d], in order of first use.

    Gates are cast to the dtype of `X` and otherwise kept as given: not normalised,
    and allowed to tie with rows, x_j^T g = 0, which makes those rows active.

    Returns:
      Patterns of scope SAMPLED, each with the first gate that produced it.

    Raises:
      ValueError: if `X` is not a matrix [n, d] or `gates` not a matrix [P, d] of
        finite numbers, with at least one row.
    """
    data = check_data(X)
    n, d = data.shape
    if np.ndim(gates) != 2 or np.shape(gates)[1] != d or np.shape(gates)[0] < 1:
        raise ValueError(
            f"want gates [P, {d}] for X {data.shape}; got shape {np.shape(gates)}"
        )
    try:
        given = check_data(gates)
    except ValueError as error:
        raise ValueError(f"gates: {error}") from None
    given = given.astype(data.dtype)
    found = _Distinct(len(given))
    X_device = jnp.asarray(data)
    chunk = max(1, _CHUNK // n)
    for start in range(0, len(given), chunk):
        part = jnp.asarray(given[start : start + chunk])
        found.add(np.asarray(_pack_signs(dot(part, X_device.T))), np.asarray(part))
    return found.patterns(n)


class _Distinct:
    """At most `most` distinct patterns with their gates, in order of arrival."""

    def __init__(self, most: int) -> None:
        self.most = most
        self.gates: list[np.ndarray] = []
        self.bits: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self.bits)

    def add(self, bits: np.ndarray, gates: np.ndarray) -> None:
        for pattern, gate in zip(bits, gates, strict=True):
            if len(self) == self.most:
                return
            name = pattern.tobytes()
            if name not in self.bits:
                self.bits[name] = None
                self.gates.append(gate)

    def patterns(self, n: int) -> Patterns:
        bits = np.frombuffer(b"".join(self.bits), np.uint8).reshape(len(self), -1)
        masks = np.unpackbits(bits, axis=1, count=n).view(bool)
        return Patterns(
            masks=jnp.asarray(masks),
            gates=jnp.asarray(np.stack(self.gates)),
            scope=Scope.SAMPLED,
        )


def _pack_signs(products: Array) -> Array:
    return jnp.packbits(products >= 0, axis=1)


@functools.partial(jax.jit, static_argnames="length")
def _draw(
    key: Array, start: int, X: Array, nonzero: Array, length: int
) -> tuple[Array, Array, Array]:
    """Unit gates `start`, `start` + 1, ...; their packed signs; if some x^T g = 0."""

    def gate(index: Array) -> Array:
        g = jax.random.normal(jax.random.fold_in(key, index), X.shape[1:], X.dtype)
        return g / jnp.linalg.norm(g)

    gates = jax.vmap(gate)(start + jnp.arange(length))
    products = dot(gates, X.T)
    tied = jnp.any((products == 0) & nonzero[None], axis=1)
    return gates, _pack_signs(products), tied
