"""How the command line prints: results, progress, notes, and the time it takes."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import jax
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

DONE, NOT_CERTIFIED = 0, 3
LARGER_THAN_TOL = 10  # a certified gap up to this times tol passes
_SECONDS_BETWEEN_LINES = 5.0


def row(name: str, value: object) -> None:
    """Prints a result: its name and its value."""
    show(f"{name:15} {value}")


def show_notes(path: Path, notes: Sequence[str]) -> None:
    """Prints how a table was read."""
    row("data", path)
    for note in notes:
        row("", note)


def show(line: str) -> None:
    """Prints a line to stdout; a closed pipe or a full disk is no reason to stop."""
    try:
        print(line, flush=True)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            say(f"cannot print the results: {error.strerror}")
        with contextlib.suppress(OSError):  # discards what is still buffered
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            os.close(nowhere)


def print_any_text() -> None:
    """Makes stdout print characters that it cannot encode as escapes."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def say(line: str) -> None:
    """Prints a line to stderr."""
    with contextlib.suppress(OSError):
        print(f"cvxjax: {line}", file=sys.stderr, flush=True)


@contextlib.contextmanager
def noting() -> Iterator[None]:
    """Prints the library's warnings to stderr, each in one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        yield
    for warning in caught:
        if issubclass(warning.category, UserWarning):
            say(f"note: {' '.join(str(warning.message).split())}")


@contextlib.contextmanager
def progress(
    tol: float, *, searched: bool = False
) -> Iterator[Callable[[int, float, float, float], None]]:
    """Yields a `report` for `cvxjax.solve` that shows the progress on stderr.

    In a terminal it is a bar, which is full when the gap is tol; elsewhere it is a line
    every few seconds.

    Args:
      tol: the gap to reach.
      searched: whether the gap is to what a search found, and nothing proves it.
    """
    console = Console(stderr=True)
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    bar = Progress(*columns, console=console, transient=True)
    task = bar.add_task("compiling", total=1.0)
    first, last = math.inf, time.monotonic()

    def report(iteration: int, objective: float, bound: float, gap: float) -> None:
        nonlocal first, last
        first = min(first, gap) if first == math.inf else first
        text = f"iteration {iteration:,}, objective {objective:.6g}"
        if searched and gap < 1:
            text += f", gap to the neurons found {gap:.1e}"
        elif not searched:
            text += f", lower bound {bound:.6g}, gap {gap:.1e}"
        if console.is_terminal:
            bar.update(task, description=text, completed=_way(first, gap, tol))
        elif time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            say(text)

    with bar if console.is_terminal else contextlib.nullcontext():
        yield report


def _way(first: float, gap: float, tol: float) -> float:
    """The progress of the gap on a log scale, from 0 at the first one to 1 at tol."""
    if not (math.inf > first > tol > 0 and gap > 0):
        return float(gap <= tol)
    return min(1.0, max(0.0, math.log(first / gap) / math.log(first / tol)))


class Stopwatch:
    """A context that measures seconds, and those in which JAX traced or compiled."""

    def __enter__(self) -> Stopwatch:
        self._spans: list[tuple[float, float]] = []
        jax.monitoring.register_event_time_span_listener(self._listen)
        self.began = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self.began
        jax.monitoring.unregister_event_time_span_listener(self._listen)

    def _listen(
        self, event: str, start_time: float, end_time: float, **_: str | int
    ) -> None:
        if "/compile/" in event:
            self._spans.append((start_time, end_time))

    @property
    def compiling(self) -> float:
        """Seconds of tracing and compilation, whose spans may be nested."""
        total, reached = 0.0, -math.inf
        for start, end in sorted(self._spans):
            total += max(0.0, end - max(start, reached))
            reached = max(reached, end)
        return total
