"""What the command line prints: results, progress, notes, certificates, verdicts."""

from __future__ import annotations

import contextlib
import io
import math
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator

import jax
import numpy as np
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from cvxjax.command_line.weights_file import Network
from cvxjax.programs.two_layer import TwoLayerProgram
from cvxjax.solution import Certificate, Solution, Status
from cvxjax.verdicts import gap_floor, relative_gap

DONE, WRONG_INPUT, NOT_CERTIFIED = 0, 2, 3
LARGER_THAN_TOL = 10  # a certified gap up to this times tol passes
_SECONDS_BETWEEN_LINES = 5.0


def row(name: str, value: object) -> None:
    """Prints a result: its name and its value."""
    show(f"{name:15} {value}")


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
        if searched:
            text += f", gap to the neurons found {gap:.1e}"
        else:
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
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        self.seconds = time.perf_counter() - self._start
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


def show_problem(program: TwoLayerProgram) -> None:
    """Prints which problem was solved."""
    kind = "gated ReLU" if program.cones is None else "ReLU"
    loss, beta = program.loss.name, float(program.beta)
    row("problem", f"{kind}, {loss} loss, beta {beta:g}, {program.X.dtype}")


def show_search(solution: Solution) -> None:
    """Prints what the search for neurons found, if there was one."""
    if solution.price is not None and int(solution.status) == Status.SEARCHED:
        worth, count = float(solution.price) - 1, int(solution.searches)
        row("search", f"from {count:,} points: no neuron worth {worth:.1e} more than")
        row("", "its weight decay; nothing proves that none exists")


def show_certificate(certificate: Certificate) -> None:
    """Prints both bounds of the certificate, its gap and its scope."""
    scope, gap = certificate.scope, certificate.gap
    row("objective", f"{certificate.primal:.10g}")
    row("lower bound", f"{certificate.dual:.10g}")
    claim = scope.claim(gap, certificate.tol)
    row("certified gap", f"{gap:.1e} ({scope.value}: {claim})")
    row("cone violation", f"{certificate.cone_violation:.1e}")


def show_network(
    program: TwoLayerProgram,
    network: Network,
    certificate: Certificate,
    recovered: Network | None = None,
) -> float:
    """Prints the network's size and objective, and returns its gap to the lower bound.

    Neurons of a network may be outside of the listed patterns. The gap can then be
    negative, because the bound is on networks with these patterns.
    """
    neurons, objective = str(network.num_neurons), network.objective(program)
    if recovered is not None and network is not recovered:
        neurons += f" ({recovered.num_neurons} before merging and pruning)"
    if outside := network.num_outside(program):
        neurons += f"; {outside} outside the given patterns"
    floor = float(gap_floor(program.loss, np.asarray(program.y, np.float64)))
    gap = relative_gap(objective, certificate.dual, floor)
    row("neurons", neurons)
    row("network", f"objective {objective:.10g}, certified gap {gap:.1e}")
    return gap


def why_not_certified(
    solution: Solution, certificate: Certificate, tol: float
) -> str | None:
    """The reason, or None if the solver converged and the certificate confirms it."""
    status = Status(int(solution.status))
    gaps = f"the solver's gap is {float(solution.gap):.1e}, the certified one "
    gaps += f"{certificate.gap:.1e}, wanted {tol:g}"
    if status is not Status.CONVERGED:
        return f"not converged: {status.name}: {status.message}; {gaps}"
    if not certificate.gap <= LARGER_THAN_TOL * tol:
        return f"not certified: {gaps}"
    return None
