"""Runs one experiment: checks, progress, files, a table of claims."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import json
import signal
import sys
import threading
import time
import types
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import jax
import matplotlib
from matplotlib.figure import Figure
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cvxjax.devices.processes import start_processes
from cvxjax.devices.runtime import configure_jax
from experiments._frame import gallery, inputs, naming, options, record, style
from experiments._frame.options import Options, Wrong

T = TypeVar("T")
PARTS = ("Config", "run", "plot", "claims")
UNJUDGED = "Smoke settings: verdicts are not judged."
_SECONDS_BETWEEN_LINES = 5.0


@dataclasses.dataclass(frozen=True)
class Result:
    """One finished experiment."""

    name: str
    claims: list[record.Claim]
    paths: list[Path]  # png, pdf, npz, json


class Interrupted(KeyboardInterrupt):
    """Ctrl-C, when some parts of the run were finished."""

    def __init__(self, finished: int) -> None:
        super().__init__()
        self.finished = finished


def main(module: types.ModuleType | str, argv: Sequence[str] | None = None) -> None:
    """Runs an experiment module with the flags in `argv`.

    Ends an experiment's file as `launch.main(__name__)`. What is wrong with a flag, a
    folder or the data is said in one line before any work.

    Args:
      module: the module, or its name in `sys.modules`.
      argv: flags without the program's name; those of the process if None.

    Raises:
      SystemExit: with code 0 after --help, 1 where data could not be read or written
        in the end, 2 for what is refused before any work, 130 when interrupted.
    """
    if isinstance(module, str):
        module = sys.modules[module]
    require_parts(module)
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        chosen = options.parse(module, words)
        if chosen.help:
            sys.stdout.write(options.help_text(module))
            raise SystemExit(0)
        check(module, chosen)
        out = inputs.output_folder(chosen.out, chosen.smoke)
    except Wrong as error:
        _end(f"{error} (see --help)", 2)
    prepare()
    try:
        result = work(module, chosen, out)
    except KeyboardInterrupt as stop:
        _end(interrupted(stop, chosen, out), 130)
    except OSError as error:
        _end(f"{naming.name_of(module)}: {error}", 1)
    show([result])


def _end(line: str, code: int) -> NoReturn:
    sys.stderr.write(line + "\n")
    raise SystemExit(code) from None


def check(module: types.ModuleType, chosen: Options) -> None:
    """Raises Wrong unless the data that the run reads are there."""
    if chosen.redraw:
        path = Path(chosen.out or "figures") / "data"
        path /= f"{naming.shown_name(module, chosen.config)}.json"
        if not path.is_file():
            raise Wrong(f"--redraw: nothing was saved as {path}")
        return
    config = chosen.config
    needed = module.reads(config) if hasattr(module, "reads") else ()
    remark = inputs.check_data(
        needed,
        getattr(config, options.DATA_DIR, None),
        bundled=f"--data={getattr(config, 'data', '')}",
    )
    if remark:
        say(f"{naming.name_of(module)}: {remark}")


def work(module: types.ModuleType, chosen: Options, out: Path) -> Result:
    """Runs an experiment, or with --redraw draws what is saved; `prepare` first."""
    if chosen.redraw:
        return redraw(module, chosen.config, out)
    return execute(module, chosen.config, out, smoke=chosen.smoke)


def interrupted(stop: KeyboardInterrupt, chosen: Options, out: Path) -> str:
    """What to say after Ctrl-C."""
    finished = stop.finished if isinstance(stop, Interrupted) else 0
    if not finished:
        return "Interrupted before any part was finished; nothing is kept."
    same = "the same command"
    if chosen.smoke and chosen.out is None:
        same += f" with --out={out}"
    return f"Interrupted; {same} goes on from {finished} finished parts."


def prepare() -> None:
    """Sets up JAX and matplotlib for this process, and joins the others of its run."""
    start_processes()
    configure_jax()
    matplotlib.use("Agg")


def execute(
    module: types.ModuleType, config: Any, out: Path, *, smoke: bool = False
) -> Result:
    """Runs, draws and records one experiment; `prepare` comes first.

    Of several processes all run it, and the first one draws and records. No verdict is
    passed on smoke settings.

    Raises:
      Interrupted: by Ctrl-C.
    """
    name = naming.shown_name(module, config)
    say(f"{name}: {naming.shown_title(module, config)}")
    git = record.git_state()
    with record.parts_in(out) as parts:
        start = time.perf_counter()
        try:
            with _ending_at_interrupts():
                arrays = module.run(config)
        except KeyboardInterrupt:
            raise Interrupted(sum(part.count() for part in parts)) from None
        seconds = time.perf_counter() - start
        say(f"  ran in {seconds:.1f} s")
        claims = _judged(module, arrays, smoke)
        provenance = record.make_provenance(
            name,
            config,
            claims,
            title=naming.shown_title(module, config),
            command=options.command_of(naming.name_of(module), config),
            git=git,
            run_seconds=seconds,
            compile_seconds=arrays.get("compile_seconds"),
            resumed=any(part.hits for part in parts),
            smoke=smoke,
        )
        if jax.process_index() > 0:
            return Result(name, claims, [])
        with style.applied():
            figure = draw(module, arrays, naming.stand_in(module, config))
            paths = record.save(out, name, arrays, figure, provenance)
        for part in parts:
            part.clear()
    gallery.write_gallery(out)
    return Result(name, claims, paths)


def redraw(module: types.ModuleType, config: Any, out: Path) -> Result:
    """Draws what an earlier run left in `out`, and words its claims, by today's code.

    What the record says of the run stays; `redrawn` says when and by which commit.
    """
    name = naming.shown_name(module, config)
    say(f"{name}: drawn once more")
    paths = record.paths_of(out, name)
    arrays, known = record.read_arrays(paths[2]), json.loads(paths[3].read_text())
    claims = _judged(module, arrays, known.get("smoke", False))
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    known |= {
        "title": naming.shown_title(module, config),
        "claims": [record.portable(dataclasses.asdict(claim)) for claim in claims],
        "redrawn": record.git_state() | {"date_utc": now},
    }
    with style.applied():
        figure = draw(module, arrays, naming.stand_in(module, config))
        record.save_pictures(out, name, figure)
    record.write_record(paths[3], known)
    gallery.write_gallery(out)
    return Result(name, claims, paths)


def _judged(module: types.ModuleType, arrays: Any, smoke: bool) -> list[record.Claim]:
    claims = list(module.claims(arrays))
    if smoke:
        unjudged = record.Verdict.UNJUDGED
        return [dataclasses.replace(claim, verdict=unjudged) for claim in claims]
    return claims


def draw(module: types.ModuleType, arrays: Any, instead: str | None) -> Figure:
    """The experiment's figure; one of stand-in data says so above it."""
    figure = module.plot(arrays)
    if instead is not None:
        figure.suptitle(f"Stand-in data: {instead}", fontsize=12, fontweight="bold")
    return figure


@contextlib.contextmanager
def _ending_at_interrupts() -> Iterator[None]:
    """Ctrl-C ends the experiment: no `cvxjax.solve` in it takes note and goes on.

    Else what it had by then would be recorded as a result.
    """
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def end(number: int, frame: types.FrameType | None) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def progress(steps: Sequence[T], label: str) -> Iterator[T]:
    """Yields each of `steps`, and shows how far it is.

    A bar in a terminal; outside one a line every few seconds.
    """
    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(steps, f"  {label}", console=console, transient=True)
        return
    start = last = time.monotonic()
    for done, step in enumerate(steps):
        now = time.monotonic()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            say(f"  {label}: {done} of {len(steps)}, {now - start:.0f} s")
        yield step


def say(line: str) -> None:
    """Prints one line of progress, of several processes the first."""
    if jax.process_index() == 0:
        print(line, file=sys.stderr, flush=True)


def show(results: Sequence[Result], failures: Sequence[tuple[str, str]] = ()) -> None:
    """Prints claims beside measures, and where the pictures are.

    Of several processes the first does.
    """
    if jax.process_index() > 0:
        return
    console = Console(width=None if sys.stdout.isatty() else 100)
    several = len(results) + len(failures) > 1
    table = Table("claim", "measured", "verdict", show_lines=True)
    for result in results:
        for claim in result.claims:
            text = f"{result.name}: {claim.claim}" if several else claim.claim
            table.add_row(_plain(text), _plain(claim.measured), claim.verdict.value)
    for name, reason in failures:
        table.add_row(_plain(name), _plain(reason), "failed")
    console.print(table)
    if any(
        claim.verdict is record.Verdict.UNJUDGED
        for result in results
        for claim in result.claims
    ):
        print(UNJUDGED)
    for result in results:
        for path in result.paths[:2]:
            print(path)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def require_parts(module: types.ModuleType) -> None:
    """Raises TypeError unless `module` is an experiment."""
    missing = [part for part in PARTS if not hasattr(module, part)]
    if missing:
        raise TypeError(f"{module.__name__} is no experiment: no {', '.join(missing)}")
