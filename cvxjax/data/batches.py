"""Minibatches that are gathered, normalised and sent to devices ahead of their use.

A thread works while devices compute, so that these need not wait. The order depends on
the seed and on the epoch alone: a run that resumes at its last position sees what one
run without a break would have seen.
"""

from __future__ import annotations

import types
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

import jax
import numpy as np
from jax.sharding import NamedSharding

Array = jax.Array

Position = tuple[int, int]
"""An epoch, and a batch in it, both from 0."""


def epoch_order(seed: int, epoch: int, num_rows: int) -> np.ndarray:
    """The order of the rows in an epoch, [num_rows], of `seed` and `epoch` alone."""
    return np.random.default_rng([seed, epoch]).permutation(num_rows)


class Batches:
    """Iterates over (x, y) on devices, epoch after epoch, without end.

        with Batches(images, labels, batch_size=500, seed=0, prepare=scale) as batches:
            for x, y in batches: ...

    Each epoch takes every row once, in an order of its own, but for the last
    `len(x) % batch_size`, which are dropped: every batch is full. An exception of the
    thread is raised where its batch was due, and ends the iteration, as `close` does.

    Args:
      x: [n, ...], floats, or bytes of images; a memory map will do.
      y: [n] or [n, c].
      batch_size: of all processes together, 1 to n.
      seed: >= 0.
      start: the first batch's position; that of a run to resume is its `position`.
      prepare: makes floats of rows of x on the thread, such as `images.normalise`.
      depth: how many batches are made ahead, >= 1.
      sharding: where batches go, by their first axis; default one device. Each process
        then gathers and prepares only the rows that its devices hold.

    Raises:
      ValueError: a number is out of its range, or x and y have not as many rows.
    """

    def __init__(
        self,
        x: np.ndarray,
        y: np.ndarray,
        *,
        batch_size: int,
        seed: int,
        start: Position = (0, 0),
        prepare: Callable[[np.ndarray], np.ndarray] | None = None,
        depth: int = 2,
        sharding: NamedSharding | None = None,
    ) -> None:
        if len(x) != len(y) or not 1 <= batch_size <= len(x):
            raise ValueError(
                "want x and y of as many rows and 1 <= batch_size <= that; "
                f"got {len(x)} and {len(y)} rows, batch_size {batch_size}"
            )
        self.per_epoch = len(x) // batch_size
        epoch, batch = start
        if seed < 0 or depth < 1 or epoch < 0 or not 0 <= batch < self.per_epoch:
            raise ValueError(
                f"want seed >= 0, depth >= 1, start (>= 0, 0 to {self.per_epoch - 1}); "
                f"got {seed}, {depth}, {start}"
            )
        self._x, self._y = x, y
        self._batch_size, self._seed = batch_size, seed
        self._prepare, self._sharding = prepare, sharding
        self._order: tuple[int, np.ndarray] = (-1, np.empty(0, int))
        self._position, self._next = (epoch, batch), (epoch, batch)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cvxjax-batches")
        self._ahead: deque[Future[tuple[Array, Array]]] = deque()
        for _ in range(depth):
            self._request()

    @property
    def position(self) -> Position:
        """Of the batch that comes next: where a run resumes."""
        return self._position

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Array, Array]:
        if not self._ahead:
            raise StopIteration
        batch = self._ahead.popleft()
        self._request()
        try:
            result = batch.result()
        except BaseException:
            self.close()
            raise
        self._position = self._after(self._position)
        return result

    def close(self) -> None:
        """Ends the iteration and the thread, after the batch it is making."""
        self._ahead.clear()
        self._thread.shutdown(cancel_futures=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self.close()

    def _request(self) -> None:
        self._ahead.append(self._thread.submit(self._make, *self._next))
        self._next = self._after(self._next)

    def _after(self, position: Position) -> Position:
        epoch, batch = position
        return (epoch, batch + 1) if batch + 1 < self.per_epoch else (epoch + 1, 0)

    def _make(self, epoch: int, batch: int) -> tuple[Array, Array]:
        """One batch, on the thread."""
        if self._order[0] != epoch:
            self._order = epoch, epoch_order(self._seed, epoch, len(self._x))
        begin = batch * self._batch_size
        rows = self._order[1][begin : begin + self._batch_size]
        return self._put(self._x, rows, self._prepare), self._put(self._y, rows, None)

    def _put(self, source: np.ndarray, rows: np.ndarray, prepare: Any) -> Array:
        def load(part: slice) -> np.ndarray:
            values = source[rows[part]]
            return values if prepare is None else prepare(values)

        if self._sharding is None:
            return jax.device_put(load(slice(None)))
        limits = lambda index: index[0].indices(len(rows))[:2]  # noqa: E731
        parts = self._sharding.addressable_devices_indices_map((len(rows),))
        loaded = {
            (begin, end): load(slice(begin, end))
            for begin, end in set(map(limits, parts.values()))
        }
        shape = (len(rows), *next(iter(loaded.values())).shape[1:])
        return jax.make_array_from_callback(
            shape, self._sharding, lambda index: loaded[limits(index)]
        )
