"""Command line: `python -m cvxjax info | solve | path | certify` on .csv and .npz.

Exit codes: 0 done; 2 wrong input, with one line on stderr; 3 not certified to the
tolerance, everything is printed and saved all the same; 130 interrupted, by Ctrl-C:
what `solve` and `path` have by then is saved and printed. A second Ctrl-C ends at once.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import platform
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import flax
import jax
import jax.numpy as jnp
import numpy as np

import cvxjax as cj
from cvxjax.arrangements.patterns import Patterns, count_bound, find_lines
from cvxjax.command_line.early_interrupts import INTERRUPTED, interruptible
from cvxjax.command_line.printing import (
    DONE,
    LARGER_THAN_TOL,
    NOT_CERTIFIED,
    WRONG_INPUT,
    Stopwatch,
    noting,
    print_any_text,
    progress,
    row,
    say,
    show,
    show_certificate,
    show_network,
    show_problem,
    why_not_certified,
)
from cvxjax.command_line.reading import Data, InputError, Reading, read_data
from cvxjax.command_line.weights_file import (
    LOSSES,
    load_weights,
    loss_of,
    networks_of,
    save_weights,
)
from cvxjax.devices.runtime import configure_jax
from cvxjax.programs.two_layer import TwoLayerProgram
from cvxjax.saving.files import check_writable, write_arrays
from cvxjax.solvers.choice import default_solver
from cvxjax.solvers.loop import default_tol
from cvxjax.watch import Watch

ENUMERATE_UP_TO = 2_000  # patterns; above, by default, SAMPLED are drawn
SAMPLED = 1_000
ENUMERATION_LIMIT = 2_000_000


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; the exit code is the return value."""
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
    """Says what is wrong in one line, without the usage."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **options})

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; see {self.prog} --help")


def make_parser() -> argparse.ArgumentParser:
    """The four commands and their flags."""
    parser = _Parser(
        prog="python -m cvxjax",
        description="Trains two-layer ReLU networks to certified global optimality.",
        epilog="Exit codes: 0 done; 2 wrong input; 3 not certified to the tolerance, "
        "with everything printed and saved all the same; 130 interrupted, with what "
        "there is printed and saved.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    data = _Parser(add_help=False)
    which = f"default: enumerate up to {ENUMERATE_UP_TO}, else sample {SAMPLED}"
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
    add("--seed", type=int, default=0, help="of sampled patterns, default 0")

    solver = _Parser(add_help=False)
    add = solver.add_argument
    add("--solver", choices=cj.solvers.__all__, help="default: one that fits")
    add("--tol", type=float, help="relative duality gap; 1e-8, with --float32 1e-4")
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


def run_info(chosen: argparse.Namespace) -> int:
    """Prints what there is to know before solving."""
    data, patterns, about = read(chosen)
    program = make_program(chosen, data, patterns, beta=1.0)
    lines = find_lines(data.X).directions
    ones = " with the column of ones" if chosen.bias else ""
    row("data", chosen.data)
    row("samples n", len(data.y))
    row("features d", f"{len(data.columns)}{ones}")
    row("rank", lines.shape[1])
    row("directions", f"{lines.shape[0]} distinct among the samples")
    row("pattern bound", f"{_bound(data.X):,}")
    row("patterns", about)
    row("beta_max", f"{program.beta_max():.8g} ({chosen.loss} loss, these patterns)")
    row("devices", f"{jax.device_count()} x {jax.devices()[0].device_kind}")
    row("dtype", program.X.dtype)
    text = ", ".join(f"{at.__name__} {at.__version__}" for at in (cj, jax, flax, np))
    row("versions", f"{text}, python {platform.python_version()}")
    return DONE


def run_solve(chosen: argparse.Namespace) -> int:
    """Solves, saves, prints."""
    check_writable(chosen.out)
    data, patterns, about = read(chosen)
    program = make_program(chosen, data, patterns, beta=chosen.beta)
    solver, tol = make_solver(chosen, program)
    limit, failure = chosen.time_limit, None
    with interruptible():
        with Stopwatch() as clock, progress(tol) as report:
            solution = cj.solve(program, solver, time_limit=limit, report=report)
        with Watch() as late:
            certificate = cj.certify(program, solution, tol=LARGER_THAN_TOL * tol)
            recovered, network = networks_of(program, solution)
            if chosen.out is not None:
                reading = reading_of(chosen)
                try:
                    save_weights(chosen.out, program, solution, network, data, reading)
                except (InputError, ValueError, OSError) as error:
                    failure = error

    name, iterations = type(solver).__name__, int(solution.iterations)
    status = cj.Status(int(solution.status)).name
    row("data", f"{chosen.data}, X {list(data.X.shape)}")
    row("patterns", about)
    show_problem(program)
    row("solver", f"{name}, {iterations:,} iterations: {status}")
    show_certificate(certificate)
    show_network(program, network, certificate, recovered)
    running = clock.seconds - clock.compiling
    row("seconds", f"{running:.2f} running, {clock.compiling:.2f} compiling")
    if failure is not None:
        raise failure
    if chosen.out is not None:
        row("weights", chosen.out)
    if late.over or status == cj.Status.INTERRUPTED.name:
        say("interrupted: this is the best so far")
        return INTERRUPTED
    if reason := why_not_certified(solution, certificate, tol):
        say(reason)
        return NOT_CERTIFIED
    return DONE


def run_path(chosen: argparse.Namespace) -> int:
    """Solves for every beta, prints a table meanwhile, saves."""
    check_writable(chosen.out)
    data, patterns, about = read(chosen)
    program = make_program(chosen, data, patterns, beta=1.0)
    betas = chosen.betas if chosen.betas is not None else grid(chosen, program)
    solver, tol = make_solver(chosen, program)
    row("patterns", about)
    show("        beta        objective  certified gap  neurons  status")
    reasons, records, interrupted = [], [], False

    def report(beta: float, solution: cj.Solution) -> None:
        at = program.replace(beta=jnp.asarray(beta, program.X.dtype))
        certificate = cj.certify(at, solution, tol=LARGER_THAN_TOL * tol)
        _, network = networks_of(at, solution)
        status = cj.Status(int(solution.status)).name
        line = f"{beta:12.6g} {certificate.primal:16.10g} {certificate.gap:14.1e}"
        show(f"{line} {network.num_neurons:8}  {status}")
        reasons.append(why_not_certified(solution, certificate, tol))
        records.append(
            {
                "betas": beta,
                "objective": certificate.primal,
                "dual_bound": certificate.dual,
                "gap": certificate.gap,
                "cone_violation": certificate.cone_violation,
                "neurons": network.num_neurons,
                "iterations": int(solution.iterations),
                "status": status,
                "params": np.asarray(solution.params),
            }
        )

    limit = chosen.time_limit
    with interruptible():
        try:
            cj.solve_path(program, betas, solver, time_limit=limit, report=report)
        except KeyboardInterrupt:
            interrupted = True
        with Watch() as late:
            if chosen.out is not None and records:
                keys = records[0]
                arrays = {key: np.stack([r[key] for r in records]) for key in keys}
                arrays |= {"masks": program.masks, "gates": program.gates}
                write_arrays(chosen.out, arrays)
    row("scope", f"{program.scope.value}: {program.scope.message}")
    if chosen.out is not None and records:
        row("path", chosen.out)
    interrupted |= any(r["status"] == cj.Status.INTERRUPTED.name for r in records)
    if interrupted or late.over:
        say(f"interrupted at {len(records)} of {len(betas)} betas")
        return INTERRUPTED
    if len(records) < len(betas):
        say(f"the time limit came at {len(records)} of {len(betas)} betas")
        return NOT_CERTIFIED
    if any(reasons):
        wrong = sum(map(bool, reasons))
        say(f"not certified: the gap at {wrong} of {len(betas)} betas is above {tol:g}")
        return NOT_CERTIFIED
    return DONE


def run_certify(chosen: argparse.Namespace) -> int:
    """Judges saved weights, apart from any solver."""
    if chosen.tol is not None and not chosen.tol >= 0:
        raise InputError(f"want tol >= 0; got {chosen.tol}")
    with noting():
        program, solution, network = load_weights(chosen.weights, chosen.data)
        certificate = cj.certify(program, solution, tol=chosen.tol)
    row("weights", chosen.weights)
    show_problem(program)
    show_certificate(certificate)
    gap = show_network(program, network, certificate)
    worst, tol = max(gap, certificate.gap), chosen.tol
    if not np.isfinite(worst) or (tol is not None and worst > tol):
        say(f"not certified: the gap is {worst:.1e}{f', above {tol:g}' if tol else ''}")
        return NOT_CERTIFIED
    return DONE


def reading_of(chosen: argparse.Namespace) -> Reading:
    """How `chosen` wants its file read."""
    names = [field.name for field in dataclasses.fields(Reading)]
    return Reading(**{name: getattr(chosen, name) for name in names})


def read(chosen: argparse.Namespace) -> tuple[Data, Patterns, str]:
    """The data, its patterns, and what to say of them."""
    if not 0 <= chosen.seed < 2**32:
        raise InputError(f"want a seed from 0 to 2^32 - 1; got {chosen.seed}")
    wanted = chosen.patterns
    if wanted not in ("auto", "enumerate") and not (
        wanted.isascii() and wanted.isdigit() and int(wanted)
    ):
        raise InputError(f"want --patterns enumerate or a NUMBER >= 1; got {wanted}")
    data = read_data(chosen.data, reading_of(chosen))
    bound = _bound(data.X)
    if wanted == "auto":
        wanted = "enumerate" if bound <= ENUMERATE_UP_TO else str(SAMPLED)
    if wanted == "enumerate" and bound > ENUMERATION_LIMIT:
        raise InputError(
            f"X may have {bound:,} patterns, too many to enumerate (the limit is "
            f"{ENUMERATION_LIMIT:,}); sample some by --patterns NUMBER"
        )
    with noting():
        if wanted == "enumerate":
            patterns = cj.arrangements.enumerate_patterns(data.X)
            return data, patterns, f"{len(patterns.masks):,}, every one"
        key = jax.random.key(chosen.seed)
        patterns = cj.arrangements.sample_patterns(key, data.X, num=int(wanted))
    about = f"{len(patterns.masks):,} sampled with seed {chosen.seed}"
    return data, patterns, f"{about} (there are at most {bound:,})"


def _bound(X: np.ndarray) -> int:
    count, rank = find_lines(cj.arrangements.check_data(X)).directions.shape
    return max(1, count_bound(count, rank))


def make_program(
    chosen: argparse.Namespace, data: Data, patterns: Patterns, *, beta: float
) -> TwoLayerProgram:
    """The program of the chosen loss, with a hint where labels do not fit."""
    loss = loss_of(chosen.loss, chosen.quantile)
    try:
        loss.check_labels(data.y)
    except ValueError as error:
        hint = "--positive LABEL makes that class +1 and the others -1"
        raise InputError(f"{error} ({hint})") from None
    with noting():
        return cj.programs.make_two_layer(
            data.X, data.y, patterns, beta=beta, loss=loss, gated=chosen.gated
        )


def make_solver(
    chosen: argparse.Namespace, program: TwoLayerProgram
) -> tuple[Any, float]:
    """The solver and its tolerance."""
    named = chosen.solver and getattr(cj.solvers, chosen.solver)
    solver = named() if named else default_solver(program)
    given = {"tol": chosen.tol, "max_iters": chosen.max_iters}
    solver = solver.replace(**{k: v for k, v in given.items() if v is not None})
    tol = default_tol(program.X.dtype) if chosen.tol is None else chosen.tol
    return solver, tol


def grid(chosen: argparse.Namespace, program: TwoLayerProgram) -> np.ndarray:
    """beta_max down to beta_max / 1000, log-spaced."""
    num = 10 if chosen.num_betas is None else chosen.num_betas
    if num < 1:
        raise InputError(f"want num_betas >= 1; got {num}")
    largest = program.beta_max()
    if not 0 < largest < math.inf:
        raise InputError(
            f"beta_max is {largest:g} for these labels and this loss, so there is no "
            "grid from it; give --betas"
        )
    return np.geomspace(largest, largest / 1000, num)


if __name__ == "__main__":
    sys.exit(main())
