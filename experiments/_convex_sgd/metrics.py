"""What a long run says while it goes on: a CSV, row by row, and lines of progress."""

from __future__ import annotations

import csv
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from experiments._frame import launch

_SECONDS_BETWEEN_LINES = 5.0


class Metrics:
    """Writes rows at once, and shows how far each of several runs is.

    In a terminal it keeps a line with a bar and the time left, elsewhere it prints
    lines now and then. The file starts empty: a run that goes on brings its old rows.

        with Metrics(path, columns) as metrics:
            metrics.begin("run 1", epochs, rows=old, done=3)
            metrics.record(row, "accuracy 0.5")
            metrics.advance(4)

    Args:
      path: of the CSV; None: no file.
      columns: its header, the keys of every row.
      quiet: prints nothing and writes nothing, as all processes but one do.
    """

    def __init__(
        self, path: Path | None, columns: Sequence[str], *, quiet: bool = False
    ):
        self._columns, self._quiet = list(columns), quiet
        self._file: IO[str] | None = None
        if path is not None and not quiet:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = path.open("w", newline="")
            self._write([self._columns])
        console = Console(stderr=True)
        self._bar: Progress | None = None
        if console.is_terminal and not quiet:
            self._bar = Progress(
                TextColumn("  {task.description}"),
                BarColumn(),
                TextColumn("{task.completed:.0f} of {task.total:.0f} epochs, left"),
                TimeRemainingColumn(),
                console=console,
                transient=True,
            )
        self._task: TaskID | None = None
        self._name, self._total, self._first = "", 0, 0
        self._start = self._last = time.monotonic()

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *error: Any) -> None:
        if self._bar is not None:
            self._bar.stop()
        if self._file is not None:
            self._file.close()

    def begin(
        self, name: str, total: int, rows: Iterable[Mapping[str, Any]] = (), *, done=0
    ) -> None:
        """Starts or continues a run of `total` epochs, `done` of them with `rows`."""
        self._write([[row[key] for key in self._columns] for row in rows])
        self._name, self._total, self._first = name, total, done
        self._start = self._last = time.monotonic()
        if self._bar is not None:
            if self._task is not None:
                self._bar.remove_task(self._task)
            self._task = self._bar.add_task(name, total=total, completed=done)

    def record(self, row: Mapping[str, Any], text: str) -> None:
        """Writes a row, and says `text` of it."""
        self._write([[row[key] for key in self._columns]])
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, description=f"{self._name}: {text}")
        elif not self._quiet and self._is_due(row["epoch"]):
            self._last = time.monotonic()
            head = f"  {self._name}: epoch {row['epoch']} of {self._total}, {text}"
            launch.say(f"{head}; {self._time(row['epoch'])}")

    def advance(self, done: int) -> None:
        """Shows that `done` epochs are over."""
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done)

    def _is_due(self, done: int) -> bool:
        passed = time.monotonic() - self._last
        return passed >= _SECONDS_BETWEEN_LINES or done == self._total

    def _time(self, done: int) -> str:
        passed, made = self._last - self._start, done - self._first
        left = f", {passed / made * (self._total - done):.0f} s left" if made else ""
        return f"{passed:.0f} s{left}"

    def _write(self, rows: Iterable[Sequence[Any]]) -> None:
        if self._file is not None:
            csv.writer(self._file).writerows(rows)
            self._file.flush()
