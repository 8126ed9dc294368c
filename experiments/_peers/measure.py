"""Times every line on one problem, in interleaved rounds, and judges every answer."""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from cvxjax.programs.two_layer import TwoLayerProgram
from experiments._peers.judge import judge, make_program
from experiments._peers.lines import Line, Settings
from experiments._peers.problem import Problem
from experiments._peers.session import (
    Failed,
    NotInstalled,
    Session,
    TimedOut,
    Workers,
)

JUDGED = ("objective", "bound", "gap", "violation", "raw")
NUMBERS = (*JUDGED, "peak_bytes", "idle_bytes", "waited")

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Effort:
    """How long the lines may take on one problem, and what is asked for again."""

    repeats: int  # warm rounds
    limit: float  # seconds for one answer
    first: float = 0.0  # seconds for one that compiles, if that is more
    slow: float  # seconds of an answer that is not asked for again
    enough: float = 0.0  # certified gap at which a line ends
    multiple: float = np.inf  # of our warm seconds to `enough`: a peer's limit
    least: float = 0.0  # seconds, below which that limit never is
    levels: tuple[float, ...] = ()  # of error and gap, that answers are asked for


def measure(
    problem: Problem, lines: Sequence[Line], workers: Workers, effort: Effort
) -> dict[str, np.ndarray]:
    """One row for each line and setting that fits the problem, cvxjax first.

    Round 0 asks every setting once and judges its answer; it pays what a first call
    pays. Round 1 of cvxjax follows at once: peers' limits are taken from it, and no
    cold time counts as warm. The other rounds go over all settings in turn, so that a
    busy moment of the machine falls on all lines alike. With levels, they leave out
    an answer that reaches none which a looser setting of its line does not reach.

    Args:
      problem: what to solve.
      lines: a setting that fails ends its line.
      workers: that answer; they stay as warm as they are.
      effort: what the answers may take.

    Returns:
      `line` and `settings` (JSON) [rows], `seconds` [rows, 1 + repeats], NaN where not
      asked, NUMBERS [rows], of which `waited` is the seconds after which a worker was
      killed, `status` [rows] (cvxjax's own), `note` [rows] (why there is no answer),
      and `versions`, JSON of each line's packages.
    """
    program = make_program(problem)
    rows: list[Row] = []
    versions: dict[str, dict[str, str]] = {}
    by_name = {line.name: line for line in lines}
    for line in sorted(lines, key=lambda line: not line.ours):
        chosen = line.settings(problem.gated)
        if not chosen:
            continue
        try:
            versions[line.name] = workers.of(line).versions
        except NotInstalled as reason:
            rows.append(_row(line, {}, effort.repeats, f"not installed: {reason}"))
            continue
        limit = effort.limit if line.ours else _peer_limit(rows, effort)
        for settings in chosen:
            row = _row(line, settings, effort.repeats) | {"limit": limit}
            row["first"] = max(limit, effort.first) if line.ours else limit
            rows.append(row)
            try:
                _ask_first(workers.of(line), program, problem, row)
            except Failed as reason:
                row["note"] = str(reason)
                if isinstance(reason, TimedOut):
                    row["waited"] = reason.limit
                break
            if row["gap"] <= effort.enough:
                break
    needed = _needed(rows, effort.levels)
    for repeat in range(1, 1 + effort.repeats):
        for row in needed:
            seconds = row["seconds"]
            if np.isfinite(seconds[repeat]) or not seconds[repeat - 1] <= effort.slow:
                continue
            chosen, limit = row["chosen"], row["limit"]
            try:
                session = workers.of(by_name[row["line"]])
                if session.answers == 0:  # a tighter setting ran out of time
                    session.ask(problem, chosen, limit=row["first"])
                seconds[repeat] = session.ask(problem, chosen, limit=limit).seconds
            except Failed as reason:
                row["note"] = f"round {repeat}: {reason}"
    return _columns(rows) | {"versions": np.asarray(json.dumps(versions))}


def first_calls(problem: Problem, line: Line, *, limit: float) -> tuple[float, float]:
    """Seconds of a first call: with an empty compilation cache, then with a full one.

    Each in a process of its own, whose imports do not count.
    """
    settings = line.settings(problem.gated)[0]
    seconds = []
    with tempfile.TemporaryDirectory() as folder:
        cache = {"JAX_COMPILATION_CACHE_DIR": folder}
        for _ in range(2):
            with Session(line.peer, environment=cache) as session:
                seconds.append(session.ask(problem, settings, limit=limit).seconds)
    return seconds[0], seconds[1]


def warm(seconds: np.ndarray) -> np.ndarray:
    """Medians of the later rounds, [rows]; the first where there are no later ones."""
    later = np.where(np.isfinite(seconds[:, 1:]).any(axis=1))[0]
    found = seconds[:, 0].copy()
    found[later] = np.nanmedian(seconds[later, 1:], axis=1)
    return found


def _ask_first(
    session: Session, program: TwoLayerProgram, problem: Problem, row: Row
) -> None:
    """Round 0 of a row and its verdict; round 1 of one that compiles."""
    answer = session.ask(problem, row["chosen"], limit=row["first"])
    given = answer.arrays
    verdict = judge(program, given["params"], given.get("dual"))
    row |= {name: getattr(verdict, name) for name in JUDGED}
    row["peak_bytes"], row["idle_bytes"] = answer.peak_bytes, session.idle_bytes
    row["status"] = str(given.get("status", ""))
    if row["compiles"] and len(row["seconds"]) > 1:
        again = session.ask(problem, row["chosen"], limit=row["limit"])
        row["seconds"][1] = again.seconds
    row["seconds"][0] = answer.seconds  # not if a warm answer takes too long


def _peer_limit(rows: list[Row], effort: Effort) -> float:
    """Seconds, from the best of cvxjax to the certified gap; no less if none is."""
    done = [row for row in rows if row["compiles"] and row["gap"] <= effort.enough]
    seconds = [float(warm(row["seconds"][None])[0]) for row in done]
    best = min((one for one in seconds if np.isfinite(one)), default=np.inf)
    return min(effort.limit, max(effort.least, effort.multiple * best))


def _needed(rows: list[Row], levels: tuple[float, ...]) -> list[Row]:
    """Rows with an answer; with levels, the first of each line to reach one of them."""
    answered = [row for row in rows if not np.isnan(row["gap"])]
    if not levels:
        return answered
    bound = max((row["bound"] for row in answered), default=0.0)
    reached: set[tuple[str, str, float]] = set()
    needed = []
    for row in answered:
        error = (row["objective"] - bound) / abs(row["objective"])
        values = {"error": error, "gap": row["gap"]}
        new = {
            (row["line"], name, level)
            for name, value in values.items()
            for level in levels
            if value <= level
        }
        if new - reached:
            needed.append(row)
        reached |= new
    return needed


def _row(line: Line, settings: Settings, repeats: int, note: str = "") -> Row:
    empty = dict.fromkeys(NUMBERS, np.nan)
    return empty | {
        "line": line.name,
        "chosen": settings,
        "compiles": line.ours,
        "settings": json.dumps(dict(settings)),
        "seconds": np.full(1 + repeats, np.nan),
        "status": "",
        "note": note,
    }


def _columns(rows: list[Row]) -> dict[str, np.ndarray]:
    names = ("line", "settings", "seconds", "status", "note", *NUMBERS)
    return {name: np.asarray([row[name] for row in rows]) for name in names}
