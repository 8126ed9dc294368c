"""Command line: `python -m cvxjax info | solve | path | certify` on .csv and .npz.

Exit codes: 0 done; 2 wrong input, with one line on stderr; 3 not certified to the
tolerance, with everything printed and saved all the same; 130 interrupted by Ctrl-C,
with what `solve` and `path` have by then saved and printed. A second Ctrl-C ends at
once.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import cvxjax as cj
from cvxjax.command_line.commands import (
    ENUMERATE_UP_TO,
    SAMPLED,
    run_certify,
    run_info,
    run_path,
    run_solve,
)
from cvxjax.command_line.early_interrupts import INTERRUPTED
from cvxjax.command_line.printing import WRONG_INPUT, print_any_text, say
from cvxjax.command_line.reading import InputError
from cvxjax.command_line.weights_file import LOSSES
from cvxjax.devices.runtime import configure_jax


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
      argv: the words after `python -m cvxjax`; default those of this process.
    """
    try:
        print_any_text()
        chosen = make_parser().parse_args(argv)
        configure_jax(float64=not getattr(chosen, "float32", False))
        return chosen.run(chosen)
    except (InputError, ValueError, OSError) as error:
        say(f"error: {' '.join(str(error).split())}")
        return WRONG_INPUT
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the four commands and their flags."""
    parser = _Parser(
        prog="python -m cvxjax",
        description="Trains two-layer ReLU networks to certified global optimality.",
        epilog="Exit codes: 0 done; 2 wrong input; 3 not certified to the tolerance, "
        "with everything printed and saved all the same; 130 interrupted, with what "
        "there is printed and saved.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    data = _Parser(add_help=False)
    which = f"default: all; of more than {ENUMERATE_UP_TO} the solver finds those in "
    which += f"use, and with --gated {SAMPLED} are sampled"
    add = data.add_argument
    add("data", type=Path, metavar="DATA", help=".csv, or .npz with arrays X and y")
    add("--label", help="column name or index, default the last; .npz: key, default y")
    add("--positive", metavar="LABEL", help="this class becomes +1, all others -1")
    add("--bias", action="store_true", default=True, help="add ones to X (default)")
    add("--nobias", action="store_false", dest="bias", help="add no column of ones")
    add("--standardize", action="store_true", help="features of mean 0, deviation 1")
    add("--float32", action="store_true", help="single precision")
    add("--loss", choices=LOSSES, default="squared", help="default squared")
    add("--quantile", type=float, help="of --loss pinball, default 0.5")
    add("--gated", action="store_true", help="gated ReLU: the gates stay as sampled")
    add("--patterns", metavar="enumerate|NUMBER", default="auto", help=which)
    add(
        "--seed",
        type=int,
        default=0,
        help="of sampled patterns and searches, default 0",
    )

    solver = _Parser(add_help=False)
    add = solver.add_argument
    add("--solver", choices=cj.solvers.__all__, help="default: one that fits")
    add("--tol", type=float, help="relative duality gap; default: the solver's")
    add("--max_iters", type=int, help="default: the solver's")
    limit = "stop with the best so far; path: of all betas together"
    add("--time_limit", type=float, metavar="SECONDS", help=limit)

    what = "sizes, number of patterns, beta_max, devices"
    info = commands.add_parser("info", parents=[data], help=what)
    info.set_defaults(run=run_info)

    both, what = [data, solver], "one network and its certificate"
    solve = commands.add_parser("solve", parents=both, help=what)
    solve.add_argument("--beta", type=float, required=True, help="weight decay, > 0")
    solve.add_argument("--out", type=Path, metavar="NPZ", help="save weights and proof")
    solve.set_defaults(run=run_solve)

    what = "networks for several beta, warm-started"
    path = commands.add_parser("path", parents=both, help=what)
    which = "log-spaced from beta_max down to beta_max/1000, default 10"
    several = path.add_mutually_exclusive_group()
    several.add_argument("--betas", type=_numbers, metavar="B,B,...")
    several.add_argument("--num_betas", type=int, metavar="K", help=which)
    path.add_argument("--out", type=Path, metavar="NPZ", help="save the path")
    path.set_defaults(run=run_path)

    certify = commands.add_parser("certify", help="judge saved weights anew")
    certify.add_argument("data", type=Path, metavar="DATA", help="what was solved")
    certify.add_argument("weights", type=Path, metavar="NPZ", help="of solve --out")
    certify.add_argument("--tol", type=float, help="exit with 3 if the gap is larger")
    certify.set_defaults(run=run_certify)
    return parser


def _numbers(text: str) -> list[float]:
    try:
        return [float(word) for word in text.split(",")]
    except ValueError:
        message = f"want numbers with commas between them; got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


if __name__ == "__main__":
    sys.exit(main())
