"""What rows of `measure` say: errors, and the seconds that each line takes to a level.

Rows of several problems are stacked; `case` says which problem a row belongs to.
"""

from __future__ import annotations

import numpy as np

from experiments._peers.measure import warm

Rows = dict[str, np.ndarray]


def errors(arrays: Rows) -> np.ndarray:
    """[rows], relative, of feasible points to the best lower bound of any answer."""
    found = np.full(len(arrays["case"]), np.nan)
    for case in range(len(arrays["cases"])):
        rows = arrays["case"] == case
        bounds = arrays["bound"][rows]
        if np.isfinite(bounds).any():
            excess = arrays["objective"][rows] - np.nanmax(bounds)
            found[rows] = excess / np.abs(arrays["objective"][rows])
    return found


def seconds_to(
    arrays: Rows, measure_of: np.ndarray, level: float
) -> dict[str, np.ndarray]:
    """Of each line, [cases]: least warm seconds at which `measure_of` <= level.

    Infinite where no setting gets there, NaN where the line was not asked.
    """
    seconds, asked = warm(arrays["seconds"]), ~absent(arrays)
    found = {}
    for line in dict.fromkeys(arrays["line"].tolist()):
        best = np.full(len(arrays["cases"]), np.nan)
        for case in range(len(best)):
            rows = (arrays["line"] == line) & (arrays["case"] == case) & asked
            if rows.any():
                reached = rows & (measure_of <= level) & np.isfinite(seconds)
                best[case] = min(seconds[reached], default=np.inf)
        found[line] = best
    return found


def longest(arrays: Rows, case: int) -> dict[str, float]:
    """Of each line that was asked, seconds of its slowest answer, given or awaited."""
    rows = (arrays["case"] == case) & ~absent(arrays)
    seconds = np.fmax(warm(arrays["seconds"]), arrays["waited"])
    return {
        line: float(np.fmax.reduce(seconds[rows & (arrays["line"] == line)]))
        for line in dict.fromkeys(arrays["line"][rows].tolist())
    }


def working_bytes(arrays: Rows, case: int) -> dict[str, float]:
    """Of each line, peak memory less what its process takes after its imports."""
    used = arrays["peak_bytes"] - arrays["idle_bytes"]
    rows = (arrays["case"] == case) & np.isfinite(used)
    return {
        line: float(used[rows & (arrays["line"] == line)].max())
        for line in dict.fromkeys(arrays["line"][rows].tolist())
    }


def absent(arrays: Rows) -> np.ndarray:
    """[rows], of lines that this machine cannot run."""
    notes = arrays["note"].tolist()
    known = ("not installed", "not in this version")
    return np.asarray([any(text in note for text in known) for note in notes], bool)


def missing(arrays: Rows) -> str:
    """Lines that could not run, with the reason."""
    rows = np.flatnonzero(absent(arrays))
    found = {str(arrays["line"][row]): str(arrays["note"][row]) for row in rows}
    return "; ".join(f"{line} ({reason})" for line, reason in found.items())
