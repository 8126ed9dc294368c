"""Stopping on a signal between two steps, at the same step in every process."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, NoReturn, Self

import jax
import numpy as np
from jax.experimental import multihost_utils


class Preemption:
    """Notes signals inside a `with` block, instead of ending the process.

    Schedulers send SIGTERM some time before they kill a job:

        with Preemption() as preemption:
            for step in range(start + 1, steps + 1):
                state = advance(state)
                if preemption.requested():
                    saved.save(step, state)
                    preemption.exit()

    Enter the block in the main thread, and after `jax.distributed.initialize`, which
    installs a handler of its own. The former handlers are restored at the block's end.

    Args:
      signals: which to note.
    """

    def __init__(self, signals: tuple[signal.Signals, ...] = (signal.SIGTERM,)):
        self._signals = signals
        self._previous: dict[signal.Signals, Any] = {}
        self._received = 0

    def __enter__(self) -> Self:
        for number in self._signals:
            self._previous[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: Any) -> None:
        for number, handler in self._previous.items():
            # None: the handler was installed from outside Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._previous.clear()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._received = number

    def requested(self) -> bool:
        """Whether any process has received a signal.

        With several processes, all must ask at the same steps, and get the same answer.
        That takes milliseconds: if steps are short, ask after every few of them.
        """
        self._received = largest_of_all(self._received)
        return self._received > 0

    def exit(self) -> NoReturn:
        """Ends this process with 128 + the signal's number: 143 after SIGTERM.

        Launchers take this for a request to start the same command again.
        """
        raise SystemExit(128 + self._received)


def largest_of_all(value: int) -> int:
    """The largest `value` of all processes, each of which must call this.

    Args:
      value: an integer of 64 bits, whether or not JAX has enabled these.
    """
    if jax.process_count() == 1:
        return value
    mine = np.frombuffer(np.int64(value).tobytes(), np.uint8)
    return int(np.max(multihost_utils.process_allgather(mine).view(np.int64)))
