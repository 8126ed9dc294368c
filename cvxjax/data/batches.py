"""Minibatches that a thread gathers, normalises and sends to devices ahead of use.

The order depends on the seed and on the epoch alone: a run that resumes at its last
position gets the batches that it would have got without a break.
"""

from __future__ import annotations

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

    Each epoch takes every row once, in an order of its own, except that the last
    `len(x) % batch_size` are dropped: every batch is full. An exception in the thread
    is raised in place of its batch, and ends the iteration, as `close` does.

    Args:
      x: [n, ...], floats, or bytes of images; may be a memory map.
      y: [n] or [n, c].
      batch_size: of all processes together, 1 to n.
      seed: >= 0.
      start: the position of the first batch; to resume a run, its `position`.
      prepare: called by the thread on rows of x, to make floats, as `images.normalise`.
      depth: how many batches are made ahead, >= 1.
      sharding: of the first axis of batches; default, they go to one device. Each
        process gathers and prepares only the rows that its devices hold.

    Raises:
      ValueError: if a number is out of its range, or x and y differ in their rows.
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
        """The position of the next batch, from which a run can resume."""
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

    def __exit__(self, *error: object) -> None:
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
