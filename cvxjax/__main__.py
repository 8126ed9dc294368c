"""Command line: `cvxjax info | fit | predict | cv | path | certify | plot` on tables.

Exit codes: 0 done; 2 wrong input, or output that cannot be written, with one line on
stderr; 3 not certified to the tolerance, with everything printed and saved all the
same; 130 interrupted by Ctrl-C, with what there is by then saved and printed. A second
Ctrl-C ends at once.

Nothing heavy is imported before the flags are read, so that `--help` is quick.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from cvxjax.command_line.early_interrupts import INTERRUPTED

WRONG_INPUT = 2


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit code.

    Args:
      argv: the words after `cvxjax`; default those of this process.
    """
    try:
        chosen = make_parser().parse_args(argv)
    except _WrongFlagsError as error:
        return _refused(error)
    except KeyboardInterrupt:
        return INTERRUPTED
    from cvxjax.command_line.errors import InputError
    from cvxjax.command_line.printing import print_any_text, say

    try:
        print_any_text()
        if chosen.jax:
            configure_jax(float64=not getattr(chosen, "float32", False))
        return chosen.run(chosen)
    except (InputError, ValueError, OSError) as error:
        return _refused(error)
    except KeyboardInterrupt:
        say("interrupted")
        return INTERRUPTED


def configure_jax(*, float64: bool) -> None:
    """Sets JAX's precision and compilation cache."""
    from cvxjax.devices import runtime

    runtime.configure_jax(float64=float64)


def _refused(error: Exception) -> int:
    try:
        print(f"cvxjax: error: {' '.join(str(error).split())}", file=sys.stderr)
    except OSError:
        pass
    return WRONG_INPUT


class _WrongFlagsError(Exception):
    """Flags that cannot be read; its message is the one line that is printed."""


class _Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        raise _WrongFlagsError(f"{message}; see {self.prog} --help")


def make_parser() -> argparse.ArgumentParser:
    """The parser of all commands and their flags."""
    parser = _Parser(
        prog="cvxjax",
        description="Trains two-layer ReLU networks on tables, with a certified bound "
        "of how far from the best of all networks they can be.",
        epilog="Exit codes: 0 done; 2 wrong input; 3 not certified to the tolerance, "
        "with everything printed and saved all the same; 130 interrupted, with what "
        "there is printed and saved.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    reading, label, model = _reading_flags(), _label_flags(), _model_flags()

    what = "how the table is read, its sizes, beta_max, devices"
    info = commands.add_parser("info", parents=[reading, label, model], help=what)
    _runs(info, "info.run_info")

    what = "train a network; solve is another name"
    fit = commands.add_parser(
        "fit", aliases=["solve"], parents=[reading, label, model], help=what
    )
    beta = "weight decay, of the least for which zero is optimal; default 0.05"
    fit.add_argument("--beta", type=_positive, default=0.05, help=beta)
    _holdout(fit)
    fit.add_argument("--cv", type=int, metavar="K", help="also score K folds")
    _out(fit, ".npz: save the network and what certifies it")
    _time_limit(fit, 30)
    _runs(fit, "fit.run_fit")

    predict = commands.add_parser(
        "predict", parents=[reading], help="predictions of a saved network"
    )
    _model_file(predict)
    _data(predict, "new rows; columns are found by name")
    predict.add_argument("--beta", type=_positive, help="of a path: the nearest one")
    _out(predict, ".csv; default: printed")
    _runs(predict, "predict.run_predict", jax=False)

    what = "choose beta by cross-validation, and train with it"
    cv = commands.add_parser("cv", parents=[reading, label, model], help=what)
    _betas(cv)
    cv.add_argument("--folds", type=int, metavar="K", help="default 5")
    what = "the largest beta within one standard error of the best"
    cv.add_argument("--one_standard_error", action="store_true", help=what)
    cv.add_argument("--n_jobs", type=int, help="folds at a time, default 1")
    _out(cv, ".npz: save the network and the scores")
    _time_limit(cv, 60)
    _runs(cv, "fit.run_cv")

    what = "a network for each of several betas, warm-started"
    path = commands.add_parser("path", parents=[reading, label, model], help=what)
    _betas(path)
    _holdout(path)
    _out(path, ".npz: save all networks, to predict and certify")
    _time_limit(path, 60)
    _runs(path, "fit.run_path")

    certify = commands.add_parser(
        "certify", parents=[reading], help="judge a saved network anew"
    )
    _data(certify, "the table of the fit")
    _model_file(certify)
    what = "exit with 3 if the gap is larger; without it the exit code is 0"
    certify.add_argument("--tol", type=float, help=what)
    _runs(certify, "predict.run_certify")

    plot = commands.add_parser(
        "plot", parents=[reading], help="draw what a saved network does"
    )
    _model_file(plot)
    _data(plot, "a table with labels, that of the fit or another")
    kinds = ("fit", "residuals", "path", "neurons")
    plot.add_argument("--kind", choices=kinds, default="fit", help="default fit")
    plot.add_argument("--beta", type=_positive, help="of a path: the nearest one")
    _out(plot, ".png, .pdf or .svg", required=True)
    _runs(plot, "plot.run_plot", jax=False)
    return parser


def _runs(parser: argparse.ArgumentParser, where: str, *, jax: bool = True) -> None:
    """Says which function runs a command; it is imported when it is called."""
    module, name = where.split(".")

    def run(chosen: argparse.Namespace) -> int:
        found = importlib.import_module(f"cvxjax.command_line.{module}")
        command: Callable[[argparse.Namespace], int] = getattr(found, name)
        return command(chosen)

    parser.set_defaults(run=run, jax=jax)


def _reading_flags() -> _Parser:
    parser = _Parser(add_help=False)
    add = parser.add_argument_group("how the table is read").add_argument
    add("--sep", help="separator: one character, tab or space")
    add("--decimal", choices=[".", ","], help="decimal mark")
    add("--header", choices=["yes", "no"], help="whether the first line is a header")
    add("--index_col", metavar="COLUMN|none", help="the column that numbers the rows")
    add("--drop", metavar="A,B", help="columns that are left out")
    return parser


def _label_flags() -> _Parser:
    parser = _Parser(add_help=False)
    _data(parser, ".csv, .tsv, .txt, also .gz, .bz2, .xz; .parquet; .npz with X and y")
    add = parser.add_argument_group("what its columns are").add_argument
    add("--label", help="column name or number, default the last; .npz: key, default y")
    add(
        "--categorical", metavar="A,B", help="columns of categories, whatever they hold"
    )
    what = "values: the column's mean (default), rows left out, refused"
    add("--missing", choices=["mean", "drop", "refuse"], default="mean", help=what)
    add("--positive", metavar="CLASS", help="tell this class from all others")
    kind = parser.add_mutually_exclusive_group()
    what = "labels are classes"
    kind.add_argument("--classify", action="store_true", default=None, help=what)
    what = "labels are numbers"
    kind.add_argument("--regress", dest="classify", action="store_false", help=what)
    return parser


def _model_flags() -> _Parser:
    parser = _Parser(add_help=False)
    add = parser.add_argument_group("the network and its training").add_argument
    losses = ("squared", "huber", "pinball", "logistic", "hinge", "squared_hinge")
    add("--loss", choices=losses, help="default squared; logistic for classes")
    add("--quantile", type=float, help="of --loss pinball, default 0.5")
    add("--softmax", action="store_true", help="one network for all classes")
    add("--balanced", action="store_true", help="weigh classes alike")
    add("--gated", action="store_true", help="gated ReLU: the gates stay as sampled")
    what = "activation patterns; default: the solver finds those in use"
    add("--patterns", metavar="enumerate|NUMBER", help=what)
    add("--max_neurons", type=int, metavar="K", help="keep the K largest neurons")
    add("--absolute_beta", action="store_true", help="beta as in the objective")
    add("--bias", action="store_true", default=True, help="ones as a feature (default)")
    add("--nobias", action="store_false", dest="bias", help="neurons have no bias")
    what = "no constant, free of weight decay, is added to the outputs"
    add("--nointercept", dest="intercept", action="store_false", help=what)
    what = "features of mean 0, deviation 1 (default)"
    add("--standardize", action="store_true", default=True, help=what)
    add("--nostandardize", dest="standardize", action="store_false", help="as they are")
    add("--float32", action="store_true", help="single precision")
    what = "relative duality gap, default 1e-3; exit with 3 if it is not certified"
    add("--tol", type=_positive, help=what)
    add("--solver", metavar="NAME", help="of cvxjax.solvers; default: one that fits")
    add("--max_iters", type=int, help="of --solver")
    add("--seed", type=int, default=0, help="of searches and samples, default 0")
    return parser


def _data(parser: argparse.ArgumentParser, what: str) -> None:
    parser.add_argument("data", type=Path, metavar="DATA", help=what)


def _model_file(parser: argparse.ArgumentParser) -> None:
    what = "of fit, cv or path --out"
    parser.add_argument("model", type=Path, metavar="MODEL", help=what)


def _out(parser: argparse.ArgumentParser, what: str, *, required: bool = False) -> None:
    parser.add_argument(
        "--out", type=Path, metavar="FILE", help=what, required=required
    )


def _holdout(parser: argparse.ArgumentParser) -> None:
    what = "score a network of the other rows on this share of them"
    parser.add_argument("--holdout", type=float, metavar="SHARE", help=what)


def _betas(parser: argparse.ArgumentParser) -> None:
    which = "log-spaced from beta_max down to a thousandth of it, default 10"
    several = parser.add_mutually_exclusive_group()
    several.add_argument("--betas", type=_numbers, metavar="B,B,...", help="as --beta")
    several.add_argument("--num_betas", type=int, metavar="K", help=which)


def _time_limit(parser: argparse.ArgumentParser, seconds: float) -> None:
    what = f"seconds, or none; then the best so far is kept; default {seconds:g}"
    parser.add_argument(
        "--time_limit", type=_seconds, default=seconds, metavar="SECONDS", help=what
    )


def _seconds(text: str) -> float | None:
    return None if text == "none" else _positive(text)


def _positive(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        message = f"want a finite number > 0; got {text!r}"
        raise argparse.ArgumentTypeError(message)
    return number


def _numbers(text: str) -> list[float]:
    try:
        return [_positive(word) for word in text.split(",")]
    except argparse.ArgumentTypeError:
        message = f"want numbers > 0 with commas between them; got {text!r}"
        raise argparse.ArgumentTypeError(message) from None


if __name__ == "__main__":
    sys.exit(main())
