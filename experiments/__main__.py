"""Command line: `python -m experiments list | run NAME... | run --all`."""

from __future__ import annotations

import argparse
import difflib
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from experiments._frame import launch

FOLDER = Path(__file__).parent


def names() -> list[str]:
    """Every experiment and benchmark: the files not starting with an underscore."""
    return sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))


def main(argv: Sequence[str] | None = None) -> int:
    """Lists experiments, or runs some in order; the exit code is the return value."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments",
        description="Lists or runs experiments.",
        epilog="python -m experiments.NAME --help shows one experiment's own flags.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="name, title and expected minutes of each")
    run = commands.add_parser("run", help="run experiments, then print every claim")
    run.add_argument("names", nargs="*", metavar="NAME")
    run.add_argument("--all", action="store_true", help="every one but bench_*")
    run.add_argument("--smoke", action="store_true", help="tiny settings, in seconds")
    run.add_argument("--out", help="folder (figures; with --smoke a temporary one)")
    chosen = parser.parse_args(argv)
    if chosen.command == "list":
        return list_experiments()
    unknown = [name for name in chosen.names if name not in names()]
    if unknown:
        close = difflib.get_close_matches(unknown[0], names(), n=1)
        hint = (
            f"did you mean {close[0]}?" if close else "see: python -m experiments list"
        )
        print(f"unknown experiment: {', '.join(unknown)}; {hint}", file=sys.stderr)
        return 2
    every = [name for name in names() if not name.startswith("bench_")]
    wanted = list(dict.fromkeys(chosen.names + (every if chosen.all else [])))
    if not wanted:
        print("want a NAME or --all; see: python -m experiments list", file=sys.stderr)
        return 2
    return run_experiments(wanted, smoke=chosen.smoke, out=chosen.out)


def list_experiments() -> int:
    """Prints name, expected minutes and title of each."""
    width = max(map(len, names()), default=0)
    for name in names():
        title, minutes = launch.outline(FOLDER / f"{name}.py")
        shown = "?" if minutes is None else f"{minutes:g}"
        print(f"{name:{width}}  {shown:>4} min  {title}")
    return 0


def run_experiments(wanted: Sequence[str], *, smoke: bool, out: str | None) -> int:
    """Runs each in this process; one that fails does not stop the others."""
    launch.prepare()
    folder = launch.output_folder(out, smoke)
    results, failures = [], []
    for name in wanted:
        try:
            module = importlib.import_module(f"experiments.{name}")
            launch.require_parts(module)
            config = module.Config.smoke() if smoke else module.Config()
            results.append(launch.execute(module, config, folder))
        except KeyboardInterrupt:
            launch.say("Interrupted; the same command goes on from finished parts.")
            return 130
        except Exception as error:
            traceback.print_exc()
            failures.append((name, f"{type(error).__name__}: {error}"))
    launch.show(results, failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
