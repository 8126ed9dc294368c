"""Command line: `python -m experiments list | run NAME... [flags] | run --all`."""

from __future__ import annotations

import difflib
import importlib
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from experiments._frame import inputs, launch, naming, options

FOLDER = Path(__file__).parent
HELP = f"""python -m experiments list
    name, expected minutes and title of each experiment
python -m experiments run NAME... [--all] [flags]
    runs experiments, then prints every claim; --all: every one but bench_*

Flags are those of the experiments, for each of them: --smoke (tiny settings, in
seconds; verdicts are not judged), --redraw (draw what is saved, and run nothing),
--out FOLDER (figures, or with --smoke a new temporary one), and those that
python -m experiments run NAME --help shows.

{options.CODES}"""

_SWITCHES = {"-h", "--help", "--all", "--smoke", "--full", "--redraw"}


def names() -> list[str]:
    """Every experiment and benchmark: the files not starting with an underscore."""
    return sorted(p.stem for p in FOLDER.glob("*.py") if not p.stem.startswith("_"))


def main(argv: Sequence[str] | None = None) -> int:
    """Lists experiments, or runs some in order; the exit code is the return value."""
    command, *words = list(sys.argv[1:] if argv is None else argv) or [""]
    if command in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if command == "list" and not words:
        return list_experiments()
    if command != "run":
        got = " ".join([command, *words]) or "nothing"
        return _refuse(f"want list or run NAME..., got {got}")
    chosen, given = _divide(words)
    if {"-h", "--help"} & set(given) and not chosen:
        print(HELP)
        return 0
    unknown = [name for name in chosen if name not in names()]
    if unknown:
        close = difflib.get_close_matches(unknown[0], names(), n=1)
        hint = (
            f"did you mean {close[0]}?" if close else "see: python -m experiments list"
        )
        return _refuse(f"unknown experiment: {', '.join(unknown)}; {hint}")
    if "--all" in given:
        given = [word for word in given if word != "--all"]
        chosen += [name for name in names() if not name.startswith("bench_")]
    if not chosen:
        return _refuse("want a NAME or --all; see: python -m experiments list")
    return run_experiments(list(dict.fromkeys(chosen)), given)


def _divide(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Names of experiments, and flags; a word after a flag without = is its value."""
    chosen, given, takes_value = [], [], False
    for word in words:
        flag = word.startswith("-")
        (given if flag or takes_value else chosen).append(word)
        takes_value = flag and "=" not in word and word not in _SWITCHES
    return chosen, given


def _refuse(line: str) -> int:
    print(line, file=sys.stderr)
    return 2


def list_experiments() -> int:
    """Prints name, expected minutes and title of each."""
    width = max(map(len, names()), default=0)
    for name in names():
        title, minutes = naming.outline(FOLDER / f"{name}.py")
        shown = "?" if minutes is None else f"{minutes:g}"
        print(f"{name:{width}}  {shown:>4} min  {title}")
    return 0


def run_experiments(wanted: Sequence[str], given: Sequence[str]) -> int:
    """Runs each in this process with the flags; one that fails stops no other.

    What is wrong with a flag, a folder or the data of one is said before any runs.
    """
    ready, results, failures = [], [], []
    out = None
    for name in wanted:
        try:
            module = importlib.import_module(f"experiments.{name}")
            launch.require_parts(module)
        except Exception as error:
            traceback.print_exc()
            failures.append((name, f"{type(error).__name__}: {error}"))
            continue
        try:
            chosen = options.parse(module, given)
            if chosen.help:
                print(options.help_text(module))
                continue
            launch.check(module, chosen)
            out = out or inputs.output_folder(chosen.out, chosen.smoke)
        except options.Wrong as error:
            return _refuse(f"{name}: {error} (see run {name} --help)")
        ready.append((module, chosen, out))
    if ready:
        launch.prepare()
    for module, chosen, folder in ready:
        try:
            results.append(launch.work(module, chosen, folder))
        except KeyboardInterrupt as stop:
            launch.say(launch.interrupted(stop, chosen, folder))
            return 130
        except Exception as error:
            if not isinstance(error, OSError):
                traceback.print_exc()
            reason = f"{type(error).__name__}: {error}"
            failures.append((naming.name_of(module), reason))
    if results or failures:
        launch.show(results, failures)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
