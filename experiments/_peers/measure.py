"""Times every line on one problem, in interleaved rounds, and judges every answer."""

from __future__ import annotations

import contextlib
import json
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np

from experiments._peers.judge import judge, make_program
from experiments._peers.lines import Line, Settings
from experiments._peers.problem import Problem
from experiments._peers.session import Failed, NotInstalled, Session

NUMBERS = ("objective", "bound", "gap", "violation", "raw", "peak_bytes")


def measure(
    problem: Problem,
    lines: Sequence[Line],
    *,
    repeats: int,
    limit: float,
    slow: float,
    enough: float = 0.0,
) -> dict[str, np.ndarray]:
    """One row for each line and setting that fits the problem.

    Round 0 asks every setting once and judges its answer; it pays what a first call
    pays. The later rounds go over all settings in turn, warm, so that a busy moment
    of the machine falls on all lines alike.

    Args:
      problem: what to solve.
      lines: a setting that fails ends its line.
      repeats: warm rounds.
      limit: seconds for one answer.
      slow: seconds of an answer that is not asked for again; a first answer that
        paid for compilation always is, so that no cold time counts as warm.
      enough: certified gap at which a line ends.

    Returns:
      `line` and `settings` (JSON) [rows], `seconds` [rows, 1 + repeats], NaN where not
      asked, NUMBERS [rows], `status` [rows] (cvxjax's own), `note` [rows] (why there is
      no answer), and `versions`, JSON of each line's packages.
    """
    rows: list[dict[str, Any]] = []
    versions: dict[str, dict[str, str]] = {}
    program = make_program(problem)
    with contextlib.ExitStack() as stack:
        sessions: dict[str, Session] = {}
        for line in lines:
            chosen = line.settings(problem.gated)
            if not chosen:
                continue
            try:
                session = stack.enter_context(Session(line.peer))
            except NotInstalled as reason:
                rows.append(_row(line, {}, repeats, f"not installed: {reason}"))
                continue
            sessions[line.name], versions[line.name] = session, session.versions
            for settings in chosen:
                row = _row(line, settings, repeats)
                rows.append(row)
                try:
                    answer = session.ask(problem, settings, limit=limit)
                except Failed as reason:
                    row["note"] = str(reason)
                    break
                row["seconds"][0] = answer.seconds
                given = answer.arrays
                verdict = judge(program, given["params"], given.get("dual"))
                row |= {name: getattr(verdict, name) for name in NUMBERS[:-1]}
                row["peak_bytes"] = answer.peak_bytes
                row["status"] = str(given.get("status", ""))
                if verdict.gap <= enough:
                    break
        for repeat in range(1, 1 + repeats):
            for row in rows:
                compiled = repeat == 1 and row["compiles"]
                if not (row["seconds"][repeat - 1] <= slow or compiled):
                    continue
                if np.isnan(row["gap"]):
                    continue
                name, chosen = row["line"], row["chosen"]
                try:
                    if not sessions[name].alive:  # a tighter setting ran out of time
                        peer = next(line.peer for line in lines if line.name == name)
                        sessions[name] = stack.enter_context(Session(peer))
                        sessions[name].ask(problem, chosen, limit=limit)
                    answer = sessions[name].ask(problem, chosen, limit=limit)
                except Failed as reason:
                    row["note"] = f"round {repeat}: {reason}"
                    continue
                row["seconds"][repeat] = answer.seconds
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


def _row(
    line: Line, settings: Settings, repeats: int, note: str = ""
) -> dict[str, Any]:
    empty = dict.fromkeys(NUMBERS, np.nan)
    return empty | {
        "line": line.name,
        "chosen": settings,
        "compiles": line.peer == "cvxjax",
        "settings": json.dumps(dict(settings)),
        "seconds": np.full(1 + repeats, np.nan),
        "status": "",
        "note": note,
    }


def _columns(rows: list[dict[str, Any]]) -> dict[str, np.ndarray]:
    names = ("line", "settings", "seconds", "status", "note", *NUMBERS)
    return {name: np.asarray([row[name] for row in rows]) for name in names}
