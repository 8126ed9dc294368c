"""Seconds to the optimum: cvxjax beside adelie, pyscnn, Clarabel and SCS.

    scripts/bench_environments
    python -m experiments.bench_solvers [--suites=problem1,gated]

Hours on two CPU cores with all suites; the suites problem1 and gated alone, about 40
minutes. Nothing else should run meanwhile.

Every solver runs in a process of its own, in its own environment, with as many
threads, and gets the same arrays: X, y, patterns, beta. Seconds go from arrays to
arrays, so that they include what a package builds from them. Round 0 pays for
compilation and is kept apart; the later rounds go over all solvers in turn. Every
answer is moved to a feasible point, as kindly as the judge can, and its objective and
certified gap are computed in float64 by `cvxjax.certify`. The error of a point is its
objective's distance to the best certified lower bound of any answer, so no solver is
the reference.

A peer that is not installed is left out and named.

Expect on problem 1 (n = 500, d = 20, 200 patterns, beta 1) the optimum 23.547604;
adelie at 1e-3 in about 10 s, Clarabel at 1e-6 in about 70 s.
"""

from __future__ import annotations

import dataclasses
import json
import os

import numpy as np
from matplotlib.figure import Figure

from experiments import _launch, _style
from experiments._peers import suites
from experiments._peers.drawing import draw_curves, draw_profile
from experiments._peers.lines import LINES
from experiments._peers.measure import first_calls, measure
from experiments._peers.scores import errors, missing, seconds_to
from experiments._record import Claim, Verdict, resumable

MINUTES = 300

_PROFILED = ("grid", "uci", "tiny")
_OURS = ("cvxjax", "interior-point", "working-set", "ADMM", "FISTA")


@dataclasses.dataclass(frozen=True)
class Config:
    suites: tuple[str, ...] = ("problem1", "gated", "grid", "uci")
    lines: tuple[str, ...] = tuple(LINES)  # of problem1 and gated
    profiled: tuple[str, ...] = (  # lines of grid and uci
        "cvxjax",
        "interior-point",
        "working-set",
        "adelie",
        "pyscnn",
        "Clarabel",
    )
    first: tuple[str, ...] = ("cvxjax", "interior-point")  # first calls, cache empty
    repeats: int = 3  # warm rounds
    limit: float = 150.0  # seconds for one answer of problem1 and gated
    profile_limit: float = 30.0  # seconds for one answer of grid and uci
    slow: float = 40.0  # seconds; a slower answer is not asked for again
    target: float = 1e-3  # relative error that the performance profile is about
    certified: float = 1e-4  # gap that the other one is about
    num_tables: int = 24  # of suite uci
    data: str | None = None  # folder with uci/; CVXJAX_DATA if not given

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            suites=("tiny",),
            profiled=("cvxjax", "Clarabel"),
            repeats=1,
            profile_limit=100.0,
            first=(),
        )


def run(config: Config) -> dict[str, np.ndarray]:
    unknown = {*config.lines, *config.profiled, *config.first} - set(LINES)
    if unknown:
        raise ValueError(f"want lines of {', '.join(LINES)}; got {sorted(unknown)}")
    parts = resumable("bench_solvers", config)
    measured, names, of_suite, firsts = [], [], [], {}
    for suite in config.suites:
        small = suite in _PROFILED
        lines = [LINES[name] for name in (config.profiled if small else config.lines)]
        cases = suites.make_cases(
            suite, num_tables=config.num_tables, data_dir=config.data
        )
        for case in cases:
            _launch.say(f"  {case.name}")
            measured.append(
                parts.part(
                    case.name,
                    lambda case=case, small=small, lines=lines: measure(
                        case.problem,
                        lines,
                        repeats=config.repeats,
                        limit=config.profile_limit if small else config.limit,
                        slow=config.slow,
                        enough=config.certified if small else 0.0,
                    ),
                )
            )
            names.append(case.name)
            of_suite.append(suite)
            if case.name == "problem1-beta=1":
                firsts = parts.part(
                    "first",
                    lambda case=case: {
                        name: np.asarray(
                            first_calls(case.problem, LINES[name], limit=config.limit)
                        )
                        for name in config.first
                    },
                )
    rows = [len(part["line"]) for part in measured]
    versions = {}
    for part in measured:
        versions |= json.loads(str(part["versions"]))
    columns = [name for name in measured[0] if name != "versions"]
    arrays = {
        name: np.concatenate([part[name] for part in measured]) for name in columns
    }
    return arrays | {
        "case": np.repeat(np.arange(len(names)), rows),
        "cases": np.asarray(names),
        "suites": np.asarray(of_suite),
        "versions": np.asarray(json.dumps(versions)),
        "first_lines": np.asarray(list(firsts), dtype=str),
        "first_seconds": np.asarray([*firsts.values()]).reshape(-1, 2),
        "cores": np.asarray(os.cpu_count()),
        "target": np.asarray(config.target),
        "certified": np.asarray(config.certified),
    }


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    shown = [
        case
        for case, suite in enumerate(arrays["suites"].tolist())
        if suite not in _PROFILED
    ][:5] or [0]
    profiled = np.isin(arrays["suites"], _PROFILED)
    columns = max(3, len(shown))
    count = 3 if profiled.any() else 2
    figure, axes = _style.figure(count, columns, width=3.4 * columns, squeeze=False)
    error = errors(arrays)
    for column in range(columns):
        for row, (value, label) in enumerate(
            [
                (error, "relative error of a feasible point"),
                (arrays["gap"], "certified gap"),
            ]
        ):
            axis = axes[row, column]
            if column >= len(shown):
                axis.set_axis_off()
                continue
            draw_curves(axis, arrays, value, shown[column])
            axis.set(
                yscale="log",
                ylim=(5e-11, 2),
                xlabel="seconds, warm",
                title=str(arrays["cases"][shown[column]]) if row == 0 else None,
            )
            if column == 0:
                axis.set_ylabel(label)
    panels = [
        (error, float(arrays["target"]), "within {:g} of the optimum"),
        (arrays["gap"], float(arrays["certified"]), "certified to {:g}"),
    ]
    if profiled.any():
        for axis, (value, level, title) in zip(axes[2], panels, strict=False):
            draw_profile(axis, seconds_to(arrays, value, level), profiled)
            axis.set(title=title.format(level))
        for axis in axes[2, len(panels) :]:
            axis.set_axis_off()
    handles = {}
    for axis in figure.axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            handles.setdefault(label, handle)
    figure.legend(
        handles.values(), handles.keys(), loc="outside upper center", ncols=len(handles)
    )
    _style.caption(figure, _caption(arrays))
    return figure


def _caption(arrays: dict[str, np.ndarray]) -> str:
    packages: dict[str, str] = {}
    for versions in json.loads(str(arrays["versions"])).values():
        packages |= {name: v for name, v in versions.items() if name != "numpy"}
    listed = ", ".join(f"{name} {version}" for name, version in packages.items())
    left_out = missing(arrays)
    absent = f" Left out: {left_out}." if left_out else ""
    return (
        f"Medians of warm rounds, interleaved; {arrays['cores']} cores. Every answer "
        "is made feasible first; sampled patterns: certificates speak of the best "
        f"network with these patterns. {listed}.{absent}"
    )


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    error = errors(arrays)
    made = []
    for case in np.flatnonzero(np.isin(arrays["suites"], ("problem1",))).tolist():
        times = seconds_to(arrays, error, 1e-3)
        made.append(_race(f"{arrays['cases'][case]}: a point within 1e-3", times, case))
    for case in np.flatnonzero(
        np.isin(arrays["suites"], ("problem1", "gated"))
    ).tolist():
        levels = (1e-3, 1e-4, 1e-6, 1e-9)
        for level in levels:
            times = seconds_to(arrays, arrays["gap"], level)
            made.append(
                _race(f"{arrays['cases'][case]}: certified to {level:g}", times, case)
            )
    if len(arrays["first_lines"]):
        peaks = _peaks(arrays)
        made.append(
            Claim(
                "a first call is fast once the compilation cache is full",
                "; ".join(
                    f"{line}: {empty:.1f} s empty, {full:.1f} s full"
                    for line, (empty, full) in zip(
                        arrays["first_lines"], arrays["first_seconds"], strict=True
                    )
                )
                + f". Peak memory of the process, problem 1: {peaks}",
                Verdict.REPRODUCED
                if np.all(arrays["first_seconds"][:, 1] < arrays["first_seconds"][:, 0])
                else Verdict.NOT_REPRODUCED,
            )
        )
    for suite in dict.fromkeys(arrays["suites"].tolist()):
        if suite in _PROFILED:
            made.append(_converged(arrays, suite))
            made.append(_fastest(arrays, error, suite))
    return made


def _race(what: str, times: dict[str, np.ndarray], case: int) -> Claim:
    """Who gets there first, with the ratio of the best peer to the best of cvxjax."""
    here = {line: float(best[case]) for line, best in times.items()}
    here = {line: best for line, best in here.items() if not np.isnan(best)}
    text = ", ".join(
        f"{line} {'not reached' if np.isinf(best) else f'{best:.2f} s'}"
        for line, best in sorted(here.items(), key=lambda item: item[1])
    )
    ours = min((here[line] for line in here if line in _OURS), default=np.inf)
    peers = min((here[line] for line in here if line not in _OURS), default=np.nan)
    if np.isnan(peers):
        return Claim(
            f"{what}: cvxjax is fastest", text + "; no peer", Verdict.UNCHECKABLE
        )
    both = np.isfinite(ours) and np.isfinite(peers)
    ratio = f"; best peer / cvxjax: {peers / ours:.1f}" if both else ""
    first = ours < peers
    return Claim(
        f"{what}: cvxjax is fastest",
        text + ratio,
        Verdict.REPRODUCED if first else Verdict.NOT_REPRODUCED,
    )


def _peaks(arrays: dict[str, np.ndarray]) -> str:
    case = arrays["cases"].tolist().index("problem1-beta=1")
    peaks = {}
    for line in dict.fromkeys(arrays["line"].tolist()):
        rows = (arrays["line"] == line) & (arrays["case"] == case)
        rows &= np.isfinite(arrays["peak_bytes"])
        if rows.any():
            peaks[line] = arrays["peak_bytes"][rows].max() / 2**20
    return ", ".join(f"{line} {peak:.0f} MiB" for line, peak in peaks.items())


def _converged(arrays: dict[str, np.ndarray], suite: str) -> Claim:
    """Whether the default solver converges to the certified gap on every problem."""
    cases = np.flatnonzero(arrays["suites"] == suite)
    rows = (arrays["line"] == "cvxjax") & np.isin(arrays["case"], cases)
    level = float(arrays["certified"])
    done = rows & (arrays["gap"] <= level) & (arrays["status"] == "CONVERGED")
    solved = len(set(arrays["case"][done].tolist()))
    worst = sorted(
        set(arrays["case"][rows].tolist()) - set(arrays["case"][done].tolist())
    )
    text = f"{solved} of {len(cases)} CONVERGED, confirmed by certify"
    if worst:
        text += "; not: " + ", ".join(str(arrays["cases"][case]) for case in worst)
    return Claim(
        f"{suite}: the default solver converges to {level:g} on every problem",
        text,
        Verdict.REPRODUCED if solved == len(cases) else Verdict.NOT_REPRODUCED,
    )


def _fastest(arrays: dict[str, np.ndarray], error: np.ndarray, suite: str) -> Claim:
    """Which line is fastest how often."""
    cases = arrays["suites"] == suite
    level = float(arrays["target"])
    times = {
        line: np.where(np.isnan(best), np.inf, best)[cases]
        for line, best in seconds_to(arrays, error, level).items()
    }
    table = np.asarray(list(times.values()))
    winners = np.where(np.isfinite(table).any(axis=0), np.argmin(table, axis=0), -1)
    counts = {line: int(np.sum(winners == k)) for k, line in enumerate(times)}
    ours = sum(count for line, count in counts.items() if line in _OURS)
    peers = any(line not in _OURS and np.isfinite(times[line]).any() for line in times)
    verdict = Verdict.REPRODUCED if ours == cases.sum() else Verdict.NOT_REPRODUCED
    return Claim(
        f"{suite}: cvxjax is the fastest to a point within {level:g}",
        ", ".join(f"{line} {count}" for line, count in counts.items())
        + f" of {int(cases.sum())} problems",
        verdict if peers else Verdict.UNCHECKABLE,
    )


if __name__ == "__main__":
    _launch.main(__name__)
