"""Time limit, Ctrl-C and progress reports of a solve, in one object for all loops.

Compiled code cannot be interrupted. So a Ctrl-C is only noted, and every loop asks
between two compiled calls, each of a fraction of a second, whether it has to stop.
"""

from __future__ import annotations

import copy
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any, Self

from cvxjax.saving.preemption import largest_of_all
from cvxjax.verdicts import Status

Report = Callable[[int, float, float, float], None]

_SECONDS = 1.0  # after which the last report is repeated


class Stopped(Exception):  # noqa: N818 (no error: a loop ends early)
    """Ends a search that has no result to return; the loop around it catches this."""


class Watch:
    """A solve's time limit, its Ctrl-C and its reports.

    Inside a `with` block of the main thread, the first Ctrl-C is noted, and the second
    one raises KeyboardInterrupt. Where a program has installed a handler of its own for
    SIGINT, and in other threads, signals are left alone.

    Args:
      report: called with iteration, objective, lower bound and relative gap.
      time_limit: seconds from now; None: none.
      shared: whether several processes solve one program together. All of them then
        stop at the same call, whichever got the signal.
    """

    def __init__(
        self,
        report: Report | None = None,
        time_limit: float | None = None,
        *,
        shared: bool = False,
    ) -> None:
        self._report, self.shared = report, shared
        now = time.monotonic()
        self._deadline = None if time_limit is None else now + time_limit
        self._told, self._last = now, None
        self._previous: Any = None
        self._signalled, self._outcome = False, Status.RUNNING
        self._whole, self._unit = self, 1.0  # the watch that `of_part` was called on

    def __enter__(self) -> Self:
        in_main = threading.current_thread() is threading.main_thread()
        if in_main and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            self._previous = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _note(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:
            self._previous(number, frame)
        self._signalled = True

    @property
    def outcome(self) -> Status:
        """RUNNING, or why to stop, which does not change: TIME_LIMIT or INTERRUPTED."""
        whole = self._whole
        if whole._outcome is Status.RUNNING:
            late = whole._deadline is not None and time.monotonic() >= whole._deadline
            found = Status.TIME_LIMIT if late else Status.RUNNING
            found = Status.INTERRUPTED if whole._signalled else found
            whole._outcome = Status(whole.agreed(found))
        return whole._outcome

    @property
    def over(self) -> bool:
        """Whether to stop."""
        return self.outcome is not Status.RUNNING

    def ask(self) -> None:
        """Raises `Stopped` if the solve must stop; else repeats an old report."""
        if self.over:
            raise Stopped
        self.repeat()

    def agreed(self, number: int) -> int:
        """The largest `number` of all processes that solve this program together."""
        return largest_of_all(number) if self.shared else number

    def seconds_left(self) -> float:
        """Seconds until the time limit; inf without one."""
        deadline = self._whole._deadline
        return float("inf") if deadline is None else deadline - time.monotonic()

    def measure_in(self, unit: float) -> None:
        """Sets the factor from objectives and bounds told to those reported."""
        self._unit = unit

    def tell(self, iteration: int, objective: float, bound: float, gap: float) -> None:
        """Reports the solver's bounds; those of a part only repeat the last report."""
        if self is not self._whole:
            self._whole.repeat()
        else:
            self._say((iteration, self._unit * objective, self._unit * bound, gap))

    def repeat(self) -> None:
        """Reports the last line again, if that was a second ago."""
        whole = self._whole
        if whole._last is not None and time.monotonic() - whole._told >= _SECONDS:
            whole._say(whole._last)

    def _say(self, line: tuple[int, float, float, float]) -> None:
        if self._report is not None:
            self._told, self._last = time.monotonic(), line
            self._report(*line)

    def of_part(self) -> Watch:
        """A watch for a solver of a part, whose bounds are not those of the whole.

        It stops when the whole solve must; where it tells its own bounds, the last ones
        of the whole are reported again, to show that the solve still runs.
        """
        part = copy.copy(self)
        part._whole = self._whole
        return part
