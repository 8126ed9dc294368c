"""Runs one experiment: flags from its Config, progress, files, a table of claims."""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import inspect
import re
import signal
import sys
import tempfile
import threading
import time
import types
import typing
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import jax
import matplotlib
from absl import flags
from rich.console import Console
from rich.progress import track
from rich.table import Table

from cvxjax.devices.processes import start_processes
from cvxjax.devices.runtime import configure_jax
from experiments._frame import record, style

T = TypeVar("T")
PARTS = ("Config", "run", "plot", "claims")
_SECONDS_BETWEEN_LINES = 5.0
_NO_HELP = "(no help available)"  # absl's word


@dataclasses.dataclass(frozen=True)
class Result:
    """One finished experiment."""

    name: str
    claims: list[record.Claim]
    paths: list[Path]  # png, pdf, npz, json


def main(module: types.ModuleType | str, argv: Sequence[str] | None = None) -> None:
    """Runs an experiment module with the flags in `argv`, and exits on wrong ones.

    Ends an experiment's file as `launch.main(__name__)`.

    Args:
      module: the module, or its name in `sys.modules`.
      argv: flags without the program's name; those of the process if None.

    Raises:
      SystemExit: with code 0 after --help, 2 for wrong flags, 130 when interrupted.
    """
    if isinstance(module, str):
        module = sys.modules[module]
    require_parts(module)
    values = define_flags(module.Config)
    try:
        rest = values([name_of(module), *(sys.argv[1:] if argv is None else argv)])[1:]
        if rest:
            raise flags.Error(f"want flags only, got {' '.join(rest)}")
        config = read_config(module.Config, values)
    except (flags.Error, ValueError) as error:
        sys.stderr.write(f"{error}\nSee --help.\n")
        raise SystemExit(2) from None
    if values["help"].value:
        sys.stdout.write(help_text(module))
        raise SystemExit(0)
    prepare()
    try:
        result = execute(
            module, config, output_folder(values["out"].value, smoke(values))
        )
    except KeyboardInterrupt:
        sys.stderr.write("Interrupted; the same command goes on from finished parts.\n")
        raise SystemExit(130) from None
    show([result])


def prepare() -> None:
    """Sets up JAX and matplotlib for this process, and joins the others of its run."""
    start_processes()
    configure_jax()
    matplotlib.use("Agg")


def execute(module: types.ModuleType, config: Any, out: Path) -> Result:
    """Runs, draws and records one experiment; `prepare` comes first.

    Of several processes all run it, and the first one draws and records.
    """
    name = name_of(module)
    say(f"{name}: {title_of(module)}")
    git = record.git_state()
    with record.parts_in(out) as parts:
        start = time.perf_counter()
        with _ending_at_interrupts():
            arrays = module.run(config)
        seconds = time.perf_counter() - start
        say(f"  ran in {seconds:.1f} s")
        claims = list(module.claims(arrays))
        provenance = record.make_provenance(
            name,
            config,
            claims,
            title=title_of(module),
            command=command_of(module, config),
            git=git,
            run_seconds=seconds,
            compile_seconds=arrays.get("compile_seconds"),
            resumed=any(part.hits for part in parts),
        )
        if jax.process_index() > 0:
            return Result(name, claims, [])
        with style.applied():
            figure = module.plot(arrays)
            paths = record.save(out, name, arrays, figure, provenance)
        for part in parts:
            part.clear()
    record.write_gallery(out)
    return Result(name, claims, paths)


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
    for result in results:
        for path in result.paths[:2]:
            print(path)


def _plain(text: str) -> str:
    return text.replace("[", r"\[")


def output_folder(out: str | None, small: bool) -> Path:
    """`out`, or figures/; a new temporary folder for a smoke run without `out`."""
    if out is not None:
        return Path(out)
    return Path(tempfile.mkdtemp(prefix="cvxjax-smoke-") if small else "figures")


def require_parts(module: types.ModuleType) -> None:
    """Raises TypeError unless `module` is an experiment."""
    missing = [part for part in PARTS if not hasattr(module, part)]
    if missing:
        raise TypeError(f"{module.__name__} is no experiment: no {', '.join(missing)}")


def name_of(module: types.ModuleType) -> str:
    """The experiment's name, also when its module runs as __main__."""
    if module.__spec__ is not None:
        return module.__spec__.name.rpartition(".")[2]
    file = getattr(module, "__file__", None)
    return Path(file).stem if file else module.__name__.rpartition(".")[2]


def title_of(module: types.ModuleType) -> str:
    """The first line of the module's docstring."""
    return (module.__doc__ or name_of(module)).strip().splitlines()[0]


def command_of(module: types.ModuleType, config: Any) -> str:
    """What to type to run it again with `config`, from the repository root."""
    bases = [([], type(config)())]
    if _has_full(type(config)):
        bases.append((["--full"], type(config).full()))
    words = min((first + _differences(config, base) for first, base in bases), key=len)
    return " ".join(["python -m", f"experiments.{name_of(module)}", *words])


def _differences(config: Any, base: Any) -> list[str]:
    """The flags that make `config` of `base`."""
    pairs = [
        (field.name, getattr(config, field.name), getattr(base, field.name))
        for field in dataclasses.fields(config)
    ]
    return [
        f"--{name}={_shown(record.portable(value))}"
        for name, value, default in pairs
        if value != default
    ]


def _shown(value: Any) -> str:
    """A value as one types it."""
    if isinstance(value, (tuple, list)):
        return ",".join(map(str, value))
    return str(value)


class _Numbers(flags.ArgumentParser):
    """A comma-separated tuple of one type."""

    def __init__(self, of: type):
        self.of = of
        self.syntactic_help = f"comma-separated {of.__name__}s"

    def parse(self, argument: Any) -> tuple[Any, ...]:
        if not isinstance(argument, str):
            return tuple(argument)
        return tuple(self.of(word) for word in argument.split(",") if word.strip())

    def flag_type(self) -> str:
        return f"comma-separated {self.of.__name__}s"


def define_flags(config_class: type) -> flags.FlagValues:
    """A set of flags of its own: one for each field, and --smoke, --out, --help.

    Where the class has a method `full`, --full is one too.

    Raises:
      TypeError: a field has a type that flags cannot take.
    """
    values = flags.FlagValues()
    hints = typing.get_type_hints(config_class)
    comments = _comments(config_class)
    defaults = config_class()
    parsers: dict[Any, flags.ArgumentParser] = {
        int: flags.IntegerParser(),
        float: flags.FloatParser(),
        str: flags.ArgumentParser(),
    }
    for field in dataclasses.fields(config_class):
        name, default = field.name, getattr(defaults, field.name)
        kind = _without_none(hints[name])
        help_line = field.metadata.get("help", comments.get(name, ""))
        if kind is bool:
            flags.DEFINE_bool(name, default, help_line, flag_values=values)
            continue
        if typing.get_origin(kind) is typing.Literal:
            parser = flags.EnumParser(list(typing.get_args(kind)))
        elif typing.get_origin(kind) is tuple:
            of, *ellipsis = typing.get_args(kind)
            if ellipsis != [...] or of not in (int, float, str):
                raise TypeError(f"{name}: want tuple[int, ...] or the like, got {kind}")
            parser = _Numbers(of)
        elif kind in parsers:
            parser = parsers[kind]
        else:
            raise TypeError(f"{name}: no flag for a field of type {kind}")
        flags.DEFINE(parser, name, default, help_line, flag_values=values)
    flags.DEFINE_bool("smoke", False, "tiny settings, in seconds", flag_values=values)
    if _has_full(config_class):
        flags.DEFINE_bool("full", False, "the source's settings", flag_values=values)
    flags.DEFINE_string(
        "out", None, "folder; figures, or with --smoke a new one", flag_values=values
    )
    flags.DEFINE_bool("help", False, "show this", short_name="h", flag_values=values)
    return values


def smoke(values: flags.FlagValues) -> bool:
    """Whether --smoke is given."""
    return bool(values["smoke"].value)


def read_config(config_class: Any, values: flags.FlagValues) -> Any:
    """Config(), Config.smoke() or Config.full(), with the flags that were given put in.

    Raises:
      ValueError: both --smoke and --full are given.
    """
    full = _has_full(config_class) and values["full"].value
    if full and smoke(values):
        raise ValueError("want --smoke or --full, not both")
    base = config_class.full() if full else config_class()
    if smoke(values):
        base = config_class.smoke()
    given = {
        field.name: values[field.name].value
        for field in dataclasses.fields(config_class)
        if values[field.name].present
    }
    return dataclasses.replace(base, **given)


def help_text(module: types.ModuleType) -> str:
    """The module's docstring and its flags."""
    values = define_flags(module.Config)
    names = [field.name for field in dataclasses.fields(module.Config)]
    lines = [(module.__doc__ or "").strip(), "", "Flags, with their defaults:"]
    full = ["full"] if _has_full(module.Config) else []
    for name in [*names, "smoke", *full, "out", "help"]:
        flag = values[name]
        text = "" if flag.help == _NO_HELP else flag.help
        lines.append(f"  {f'--{name}={_shown(flag.default)}':28} {text}".rstrip())
    return "\n".join(lines) + "\n"


def _has_full(config_class: type) -> bool:
    return hasattr(config_class, "full")


def _without_none(kind: Any) -> Any:
    """T for `T | None`."""
    if typing.get_origin(kind) in (types.UnionType, typing.Union):
        kinds = [part for part in typing.get_args(kind) if part is not type(None)]
        return kinds[0] if len(kinds) == 1 else kind
    return kind


def _comments(config_class: type) -> dict[str, str]:
    """The comment beside each field, or the docstring's line `name: text`.

    Of fields that are inherited too.
    """
    found: dict[str, str] = {}
    for base in reversed(config_class.__mro__[:-1]):
        with contextlib.suppress(OSError, TypeError, SyntaxError):
            source = inspect.getsource(base)
            found |= re.findall(r"^ *(\w+): +(\S.*)$", base.__doc__ or "", re.M)
            found |= re.findall(r"^ +(\w+) *:.*?# *(.+)$", source, re.M)
    return found


def outline(path: Path) -> tuple[str, float | None]:
    """An experiment's title and its MINUTES, read without importing it."""
    tree = ast.parse(path.read_text())
    minutes = None
    for node in tree.body:
        target = node.targets[0] if isinstance(node, ast.Assign) else None
        if isinstance(node, ast.AnnAssign):
            target = node.target
        if isinstance(target, ast.Name) and target.id == "MINUTES":
            minutes = float(ast.literal_eval(node.value))  # pyright: ignore
    return (ast.get_docstring(tree) or path.stem).splitlines()[0], minutes
