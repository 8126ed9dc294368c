"""The commands `info`, `solve`, `path` and `certify`; each returns an exit code."""

from __future__ import annotations

import argparse
import dataclasses
import math
import platform
from typing import Any

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
    Stopwatch,
    noting,
    progress,
    row,
    say,
    show,
    show_certificate,
    show_network,
    show_problem,
    show_search,
    why_not_certified,
)
from cvxjax.command_line.reading import Data, InputError, Reading, read_data
from cvxjax.command_line.weights_file import (
    load_weights,
    loss_of,
    networks_of,
    save_weights,
)
from cvxjax.programs.two_layer import TwoLayerProgram
from cvxjax.saving.files import check_writable, write_arrays
from cvxjax.solvers.choice import default_solver
from cvxjax.watch import Watch

ENUMERATE_UP_TO = 2_000  # patterns; above, by default, the solver finds them itself
SAMPLED = 1_000  # gates of a gated network, by default
ENUMERATION_LIMIT = 2_000_000


def run_info(chosen: argparse.Namespace) -> int:
    """Prints sizes, rank, number of patterns, beta_max, devices and versions."""
    data, patterns, about = read(chosen)
    program = make_program(chosen, data, patterns, beta=1.0)
    lines = find_lines(data.X).directions
    ones = " with the column of ones" if chosen.bias else ""
    row("data", chosen.data)
    row("samples n", len(data.y))
    row("features d", f"{len(data.columns)}{ones}")
    row("rank", lines.shape[1])
    row("directions", f"{lines.shape[0]} distinct among the samples")
    row("pattern bound", _count(_bound(data.X)))
    row("patterns", about)
    which = "these patterns"
    if program.all_patterns:
        exact = program.judge().covers_every_neuron()
        which = "all networks" if exact else "all networks, by a search"
    row("beta_max", f"{program.beta_max():.8g} ({chosen.loss} loss, {which})")
    row("devices", f"{jax.device_count()} x {jax.devices()[0].device_kind}")
    row("dtype", program.X.dtype)
    text = ", ".join(f"{at.__name__} {at.__version__}" for at in (cj, jax, flax, np))
    row("versions", f"{text}, python {platform.python_version()}")
    return DONE


def run_solve(chosen: argparse.Namespace) -> int:
    """Solves one program, saves the weights, and prints the certificate."""
    check_writable(chosen.out)
    data, patterns, about = read(chosen)
    program = make_program(chosen, data, patterns, beta=chosen.beta)
    solver, tol = make_solver(chosen, program)
    limit, failure = chosen.time_limit, None
    with interruptible():
        searched = program.all_patterns
        with Stopwatch() as clock, progress(tol, searched=searched) as report:
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
    show_search(solution)
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
    if chosen.tol is None and status == cj.Status.SEARCHED.name:
        return DONE
    if reason := why_not_certified(solution, certificate, tol):
        say(reason)
        return NOT_CERTIFIED
    return DONE


def run_path(chosen: argparse.Namespace) -> int:
    """Solves for every beta, prints a row of a table for each, and saves all."""
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
        if chosen.tol is not None or status != cj.Status.SEARCHED.name:
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
                "first/kernel": network.first,
                "second/kernel": network.second,
            }
            | ({} if program.all_patterns else {"params": np.asarray(solution.params)})
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
                arrays = {key: _stacked([r[key] for r in records]) for key in keys}
                if not program.all_patterns:
                    arrays |= {"masks": program.masks, "gates": program.gates}
                write_arrays(chosen.out, arrays)
    scope = cj.Scope.GLOBAL_BOUND if program.all_patterns else program.scope
    row("scope", f"{scope.value}: {scope.message}")
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
    """Certifies saved weights, without a solver."""
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


def _stacked(parts: list[Any]) -> np.ndarray:
    """Arrays of all betas in one, with zeros for neurons that a network lacks."""
    parts = [np.asarray(part) for part in parts]
    most = np.max([part.shape for part in parts], axis=0).astype(int)
    return np.stack(
        [
            np.pad(part, [(0, m - k) for m, k in zip(most, part.shape, strict=True)])
            if part.ndim
            else part
            for part in parts
        ]
    )


def reading_of(chosen: argparse.Namespace) -> Reading:
    """The flags that say how the data file is read."""
    names = [field.name for field in dataclasses.fields(Reading)]
    return Reading(**{name: getattr(chosen, name) for name in names})


def read(chosen: argparse.Namespace) -> tuple[Data, Patterns | None, str]:
    """The data, their patterns, None for all, and a description of these to print."""
    if not 0 <= chosen.seed < 2**32:
        raise InputError(f"want a seed from 0 to 2^32 - 1; got {chosen.seed}")
    wanted = chosen.patterns
    if wanted not in ("auto", "enumerate") and not (
        wanted.isascii() and wanted.isdigit() and int(wanted)
    ):
        raise InputError(f"want --patterns enumerate or a NUMBER >= 1; got {wanted}")
    data = read_data(chosen.data, reading_of(chosen))
    bound = _bound(data.X)
    if wanted == "auto" and bound > ENUMERATE_UP_TO and not chosen.gated:
        return data, None, f"all, of which the solver finds those in use{_most(bound)}"
    if wanted == "auto":
        wanted = "enumerate" if bound <= ENUMERATE_UP_TO else str(SAMPLED)
    if wanted == "enumerate" and bound > ENUMERATION_LIMIT:
        raise InputError(
            f"X may have {_count(bound)} patterns, too many to enumerate (the limit is "
            f"{ENUMERATION_LIMIT:,}); sample some by --patterns NUMBER"
        )
    with noting():
        if wanted == "enumerate":
            patterns = cj.arrangements.enumerate_patterns(data.X)
            return data, patterns, f"{len(patterns.masks):,}, every one"
        key = jax.random.key(chosen.seed)
        patterns = cj.arrangements.sample_patterns(key, data.X, num=int(wanted))
    about = f"{len(patterns.masks):,} sampled with seed {chosen.seed}"
    return data, patterns, f"{about}{_most(bound)}"


def _most(bound: int) -> str:
    return f" (there are at most {_count(bound)})"


def _count(number: int) -> str:
    """A number in full, or its power of ten where it has more than twelve digits."""
    return f"{number:,}" if number < 10**12 else f"10^{len(str(number)) - 1}"


def _bound(X: np.ndarray) -> int:
    count, rank = find_lines(cj.arrangements.check_data(X)).directions.shape
    return max(1, count_bound(count, rank))


def make_program(
    chosen: argparse.Namespace, data: Data, patterns: Patterns | None, *, beta: float
) -> TwoLayerProgram:
    """The program of the chosen loss.

    Raises:
      InputError: if the labels are not those of the loss, with a hint.
    """
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
    """The chosen or the default solver, and the tolerance that it will have."""
    named = chosen.solver and getattr(cj.solvers, chosen.solver)
    solver = named() if named else default_solver(program)
    given = {"tol": chosen.tol, "max_iters": chosen.max_iters}
    if program.all_patterns and "seed" in vars(solver):
        given["seed"] = chosen.seed
    solver = solver.replace(**{k: v for k, v in given.items() if v is not None})
    return solver, float(solver.tolerance(program))


def grid(chosen: argparse.Namespace, program: TwoLayerProgram) -> np.ndarray:
    """A log-spaced grid from beta_max down to beta_max / 1000."""
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
