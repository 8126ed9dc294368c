"""Seconds to the optimum: cvxjax beside adelie, pyscnn, Clarabel and SCS.

    scripts/bench_environments
    python -m experiments.bench_solvers [--suites=problem1,gated]

About 2 hours on two CPU cores with all suites: problem1 30, gated 30, grid 25, uci 35.
Nothing else should run meanwhile.

Every solver runs in a process of its own, in its own environment, with as many
threads, and gets the same arrays: X, y, patterns, beta. Seconds go from arrays to
arrays, so that they include what a package builds from them. Round 0 pays for
compilation and is kept apart; the later rounds go over all solvers in turn. Every
answer is moved to a feasible point, as kindly as the judge can, and its objective and
certified gap are computed in float64 by `cvxjax.certify`. The error of a point is its
objective's distance to the best certified lower bound of any answer, so no solver is
the reference.

On problem1 and gated every line has its process, and its time to every level counts.
On grid and uci the question is who is fastest, and by how much up to a ratio: there a
peer gets that multiple of our warm seconds to the certified gap, and the processes
live on from problem to problem.

A peer that is not installed is left out and named.

Expect on problem 1 (n = 500, d = 20, 200 patterns, beta 1) the optimum 23.547604;
adelie at 1e-3 in about 10 s, Clarabel at 1e-6 in about 70 s.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Iterable

import numpy as np
from matplotlib.figure import Figure

from experiments._frame import launch, style
from experiments._frame.record import Claim, Verdict, resumable
from experiments._peers import claims as made_of
from experiments._peers import suites
from experiments._peers.drawing import DEFAULT, draw_curves, draw_profile
from experiments._peers.lines import LINES, PROFILED
from experiments._peers.measure import Effort, first_calls, measure
from experiments._peers.scores import errors, missing, seconds_to
from experiments._peers.session import Workers
from experiments._peers.titles import suite_title, title

MINUTES = 120

_PROFILED = ("grid", "uci", "tiny")


@dataclasses.dataclass(frozen=True)
class Config:
    suites: tuple[str, ...] = ("problem1", "gated", "grid", "uci")
    lines: tuple[str, ...] = tuple(LINES)  # of problem1 and gated
    profiled: tuple[str, ...] = tuple(PROFILED)  # lines of grid and uci
    first: tuple[str, ...] = ("cvxjax", "interior-point")  # first calls, cache empty
    repeats: int = 3  # warm rounds of problem1 and gated
    limit: float = 150.0  # seconds for one answer of problem1 and gated
    slow: float = 10.0  # seconds; a slower answer is not asked for again
    profile_repeats: int = 2  # warm rounds of grid and uci
    profile_limit: float = 20.0  # seconds for one answer of grid and uci
    profile_slow: float = 3.0  # seconds; a slower one is not asked for again there
    peer_multiple: float = 10.0  # of our warm seconds to `certified`: a peer's there
    peer_least: float = 3.0  # seconds, which a peer has there in any case
    target: float = 1e-3  # relative error that the performance profile is about
    certified: float = 1e-4  # the same, and the certified gap wanted there
    num_tables: int = 24  # of suite uci
    data_dir: str | None = None  # folder with uci/; CVXJAX_DATA if not given

    def check(self) -> None:
        """Raises ValueError for suites and lines that there are not."""
        _check_names("lines", {*self.lines, *self.first}, LINES)
        _check_names("lines", {*self.profiled}, PROFILED)
        _check_names("suites", {*self.suites}, suites.SUITES)

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            suites=("tiny",),
            profiled=("cvxjax", "Clarabel"),
            profile_repeats=1,
            profile_limit=100.0,
            peer_least=100.0,
            first=(),
        )


def reads(config: Config) -> tuple[str, ...]:
    wanted = config.num_tables if "uci" in config.suites else 0
    return tuple(suites.smallest_tables(wanted))


def run(config: Config) -> dict[str, np.ndarray]:
    config.check()
    parts = resumable("bench_solvers", config)
    measured, cases, sizes, firsts = [], [], [], {}
    for suite in config.suites:
        made = suites.make_cases(
            suite, num_tables=config.num_tables, data_dir=config.data_dir
        )
        with Workers(shared=True) as workers:
            for case in made:
                launch.say(f"  {case.name}")
                measured.append(
                    parts.part(
                        case.name,
                        lambda case=case, workers=workers: _measured(
                            case, workers, config
                        ),
                    )
                )
                cases.append((case.suite, case.name))
                sizes.append((*case.problem.X.shape, len(case.problem.masks)))
                if case.name == "problem1-beta=1":
                    firsts = parts.part(
                        "first", lambda case=case: _first_calls(case, config)
                    )
    rows = [len(part["line"]) for part in measured]
    versions = {}
    for part in measured:
        versions |= json.loads(str(part["versions"]))
    columns = [name for name in measured[0] if name != "versions"]
    arrays = {name: stacked([part[name] for part in measured]) for name in columns}
    kept = ("target", "certified", "peer_multiple", "peer_least", "profile_limit")
    return (
        arrays
        | {name: np.asarray(getattr(config, name)) for name in kept}
        | {
            "case": np.repeat(np.arange(len(cases)), rows),
            "cases": np.asarray([name for _, name in cases]),
            "suites": np.asarray([suite for suite, _ in cases]),
            "sizes": np.asarray(sizes),
            "versions": np.asarray(json.dumps(versions)),
            "first_lines": np.asarray(list(firsts), dtype=str),
            "first_seconds": np.asarray([*firsts.values()]).reshape(-1, 2),
            "cores": np.asarray(os.cpu_count()),
        }
    )


def stacked(parts: list[np.ndarray]) -> np.ndarray:
    """Rows of all parts; those of fewer warm rounds end in NaN."""
    if parts[0].ndim == 1:
        return np.concatenate(parts)
    widest = max(part.shape[1] for part in parts)
    padded = [
        np.pad(part, ((0, 0), (0, widest - part.shape[1])), constant_values=np.nan)
        for part in parts
    ]
    return np.concatenate(padded)


def _check_names(what: str, names: set[str], known: Iterable[str]) -> None:
    unknown = sorted(names - set(known))
    if unknown:
        raise ValueError(f"want {what} of {', '.join(known)}; got {unknown}")


def _measured(
    case: suites.Case, workers: Workers, config: Config
) -> dict[str, np.ndarray]:
    """Rows of one problem; `workers` serve the suites of many problems."""
    if case.suite in _PROFILED:
        effort = Effort(
            repeats=config.profile_repeats,
            limit=config.profile_limit,
            first=config.limit,
            slow=config.profile_slow,
            enough=config.certified,
            multiple=config.peer_multiple,
            least=config.peer_least,
            levels=(config.target, config.certified),
        )
        lines = [PROFILED[name] for name in config.profiled]
        return measure(case.problem, lines, workers, effort)
    effort = Effort(repeats=config.repeats, limit=config.limit, slow=config.slow)
    with Workers(shared=False) as own:
        return measure(
            case.problem, [LINES[name] for name in config.lines], own, effort
        )


def _first_calls(case: suites.Case, config: Config) -> dict[str, np.ndarray]:
    return {
        name: np.asarray(first_calls(case.problem, LINES[name], limit=config.limit))
        for name in config.first
    }


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    shown = _shown(arrays)
    profiled = np.isin(arrays["suites"], _PROFILED)
    count = 3 if profiled.any() else 2
    figure, axes = style.figure(count, 3, width=13.0, height=3.4 * count, squeeze=False)
    error = errors(arrays)
    values = (
        (error, "error of a feasible point, relative"),
        (arrays["gap"], "certified gap, relative"),
    )
    for row, (value, label) in enumerate(values):
        for column, axis in enumerate(axes[row]):
            if column >= len(shown):
                axis.set_axis_off()
                continue
            draw_curves(axis, arrays, value, shown[column])
            axis.set(yscale="log", ylim=(5e-11, 2), xlabel="seconds, warm")
            if row == 0:
                head, _, beta = title(arrays, shown[column]).rpartition(", ")
                axis.set_title(f"({'abc'[column]}) {head},\n{beta}", fontsize=10)
            if column == 0:
                axis.set_ylabel(label)
    target, certified = float(arrays["target"]), float(arrays["certified"])
    panels = [
        (error, target, "(d) to a point within {:g}"),
        (error, certified, "(e) to a point within {:g}"),
        (arrays["gap"], certified, "(f) to a certified gap of {:g}"),
    ]
    if profiled.any():
        for axis, (value, level, words) in zip(axes[2], panels, strict=True):
            times = seconds_to(arrays, value, level)
            draw_profile(axis, times, profiled, float(arrays["peer_multiple"]))
            axis.set_title(words.format(level), fontsize=10)
    handles = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles)
    )
    style.caption(figure, _caption(arrays))
    return figure


def _shown(arrays: dict[str, np.ndarray]) -> list[int]:
    """Up to three problems: the first of problem1, those of gated, then any other."""
    suite_of = arrays["suites"].tolist()
    single = [case for case, suite in enumerate(suite_of) if suite not in _PROFILED]
    first = [case for case in single if suite_of[case] == "problem1"][:1]
    rest = [case for case in single if suite_of[case] == "gated"]
    others = [case for case in single if case not in first + rest]
    return (first + rest + others)[:3] or [0]


def _caption(arrays: dict[str, np.ndarray]) -> str:
    packages: dict[str, str] = {}
    for versions in json.loads(str(arrays["versions"])).values():
        packages |= {name: v for name, v in versions.items() if name != "numpy"}
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    left_out = missing(arrays)
    absent = f" Left out: {left_out}." if left_out else ""
    cut = ""
    if np.isin(arrays["suites"], _PROFILED).any():
        cut = (
            f" Profiles end at ratio {arrays['peer_multiple']:g} on purpose: a peer "
            f"had max({arrays['peer_least']:g} s, {arrays['peer_multiple']:g} x cvxjax "
            f"to the certified gap), at most {arrays['profile_limit']:g} s an answer."
        )
    return (
        "A point is one answer: along a line the tolerance falls. Seconds are medians "
        f"of warm rounds, interleaved, compilation apart; {arrays['cores']} cores. "
        "Every answer is made feasible first; its error is the distance of its "
        "objective to the best certified bound of any line. Scope: sampled patterns, "
        "so certificates speak of the best network with these patterns. "
        f"{_profiles(arrays)}{cut} Solvers chosen by name: {_ours(arrays)}. "
        f"{listed}.{absent}"
    )


def _profiles(arrays: dict[str, np.ndarray]) -> str:
    kinds = [s for s in dict.fromkeys(arrays["suites"].tolist()) if s in _PROFILED]
    if not kinds:
        return ""
    listed = " and ".join(suite_title(arrays, suite) for suite in kinds)
    return f"(d) to (f): share of {listed} that a line solves in the time on the axis."


def _ours(arrays: dict[str, np.ndarray]) -> str:
    lines = dict.fromkeys(arrays["line"].tolist())
    return ", ".join(one for one in lines if LINES[one].ours and one != DEFAULT)


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    error = errors(arrays)
    made = []
    for case in np.flatnonzero(arrays["suites"] == "problem1").tolist():
        what = "a point within 0.001"
        made.append(made_of.race(arrays, error, 1e-3, case, what))
    studied = np.isin(arrays["suites"], ("problem1", "gated"))
    for case in np.flatnonzero(studied).tolist():
        for level in (1e-3, 1e-4, 1e-6, 1e-9):
            what = f"certified to {level:g}"
            made.append(made_of.race(arrays, arrays["gap"], level, case, what))
    if len(arrays["first_lines"]):
        made.append(_first_call(arrays))
    weighed = [
        case
        for case, name in enumerate(arrays["cases"].tolist())
        if name == "problem1-beta=1"
    ]
    grid = np.flatnonzero(arrays["suites"] == "grid").tolist()
    if grid:
        size = [made_of.program_bytes(arrays["sizes"][case]) for case in grid]
        weighed.append(grid[len(grid) - 1 - int(np.argmax(size[::-1]))])
    if weighed:
        made.append(made_of.memory(arrays, weighed))
    for suite in dict.fromkeys(arrays["suites"].tolist()):
        if suite in _PROFILED:
            made.append(made_of.converged(arrays, suite))
            for level in (float(arrays["target"]), float(arrays["certified"])):
                made.append(made_of.share_won(arrays, error, level, suite))
    return made


def _first_call(arrays: dict[str, np.ndarray]) -> Claim:
    times = arrays["first_seconds"]
    return Claim(
        "a first call is fast once the compilation cache is full",
        "; ".join(
            f"{line}: {empty:.1f} s empty, {full:.1f} s full"
            for line, (empty, full) in zip(arrays["first_lines"], times, strict=True)
        ),
        Verdict.REPRODUCED
        if np.all(times[:, 1] < times[:, 0])
        else Verdict.NOT_REPRODUCED,
    )


if __name__ == "__main__":
    launch.main(__name__)
