"""What the rows of all lines say of cvxjax beside its peers, as claims."""

from __future__ import annotations

import numpy as np

from experiments._frame.record import Claim, Verdict
from experiments._peers.lines import LINES
from experiments._peers.scores import Rows, longest, seconds_to, working_bytes
from experiments._peers.titles import suite_title, title

SHARE = 0.9  # of the problems, on which cvxjax should be the fastest
MEMORY = 3  # times the bytes of masks and weights, which it should work in


def race(arrays: Rows, value: np.ndarray, level: float, case: int, what: str) -> Claim:
    """Who brings `value` to the level first, and how many times longer others take.

    Args:
      arrays: rows of `measure`, with `case`.
      value: [rows].
      level: wanted of it.
      case: the problem.
      what: is reached.
    """
    slowest = longest(arrays, case)
    times = {
        line: float(best[case])
        for line, best in seconds_to(arrays, value, level).items()
        if line in slowest
    }
    ours = {line: best for line, best in times.items() if LINES[line].ours}
    peers = {line: best for line, best in times.items() if not LINES[line].ours}
    fastest = min(ours.values(), default=np.inf)
    if np.isfinite(fastest):
        winner = min(ours, key=ours.__getitem__)
        first = f"best of cvxjax {_seconds(fastest)} ({winner})"
        default = ours.get("cvxjax", fastest)
        if default > fastest:
            first += (
                f", default {_seconds(default)}"
                if np.isfinite(default)
                else (", default not reached")
            )
    else:
        first = "cvxjax not reached"
        if ours:
            first += f" in {_seconds(max(slowest[line] for line in ours))}"
    parts = []
    for line, best in sorted(peers.items(), key=lambda item: item[1]):
        if np.isfinite(best):
            parts.append(f"{line} {_seconds(best)}" + _ratio(" ({})", best, fastest))
        else:
            waited = slowest[line]
            text = f"{line} not reached in {_seconds(waited)}"
            parts.append(text + _ratio(" (> {})", waited, fastest))
    won = fastest < min(peers.values(), default=np.inf)
    verdict = Verdict.REPRODUCED if won else Verdict.NOT_REPRODUCED
    return Claim(
        f"{title(arrays, case)}: {what}: cvxjax is fastest",
        f"{first}; {', '.join(parts) or 'no peer'}",
        verdict if peers else Verdict.UNCHECKABLE,
    )


def converged(arrays: Rows, suite: str) -> Claim:
    """Whether the default solver converges to the certified gap on every problem."""
    cases = np.flatnonzero(arrays["suites"] == suite)
    rows = (arrays["line"] == "cvxjax") & np.isin(arrays["case"], cases)
    level = float(arrays["certified"])
    done = rows & (arrays["gap"] <= level) & (arrays["status"] == "CONVERGED")
    solved = set(arrays["case"][done].tolist())
    left = [title(arrays, case) for case in cases.tolist() if case not in solved]
    text = f"{len(solved)} of {len(cases)} CONVERGED, confirmed by certify"
    if left:
        text += "; not: " + "; ".join(left)
    return Claim(
        f"{suite_title(arrays, suite)}: the default solver converges to {level:g} "
        "on every problem",
        text,
        Verdict.NOT_REPRODUCED if left else Verdict.REPRODUCED,
    )


def share_won(arrays: Rows, error: np.ndarray, level: float, suite: str) -> Claim:
    """On how many problems of a suite cvxjax is the fastest to a point, by how much."""
    cases = arrays["suites"] == suite
    times = {
        line: np.where(np.isnan(best), np.inf, best)[cases]
        for line, best in seconds_to(arrays, error, level).items()
        if not np.isnan(best[cases]).all()
    }
    total, nothing = int(cases.sum()), np.full(int(cases.sum()), np.inf)
    table = np.asarray([*times.values()]).reshape(-1, total)
    winners = np.where(np.isfinite(table).any(axis=0), np.argmin(table, axis=0), -1)
    counts = {line: int(np.sum(winners == k)) for k, line in enumerate(times)}
    ours = np.min([best for line, best in times.items() if LINES[line].ours], axis=0)
    peers = [best for line, best in times.items() if not LINES[line].ours]
    peer = np.min([nothing, *peers], axis=0)
    share = sum(count for line, count in counts.items() if LINES[line].ours) / total
    text = f"{', '.join(f'{line} {count}' for line, count in counts.items())} of "
    text += f"{total} problems: {share:.0%}"
    both = np.isfinite(ours) & np.isfinite(peer)
    if both.any():
        ratios = peer[both] / ours[both]
        text += (
            f"; best peer / cvxjax: median {np.median(ratios):.2g}, least "
            f"{ratios.min():.2g} on {both.sum()}"
        )
    alone = int(np.sum(np.isfinite(ours) & ~np.isfinite(peer)))
    if alone and peers:
        text += f"; no peer in its time on {alone}"
    verdict = Verdict.REPRODUCED if share >= SHARE else Verdict.NOT_REPRODUCED
    return Claim(
        f"{suite_title(arrays, suite)}: cvxjax is the fastest to a point within "
        f"{level:g} on {SHARE:.0%} of them or more",
        text,
        verdict if peers else Verdict.UNCHECKABLE,
    )


def memory(arrays: Rows, cases: list[int]) -> Claim:
    """Working memory of each line beside a multiple of the program's own arrays."""
    parts, within = [], []
    for case in cases:
        asked = MEMORY * program_bytes(arrays["sizes"][case])
        used = working_bytes(arrays, case)
        within += [used[line] <= asked for line in used if LINES[line].ours]
        listed = ", ".join(f"{line} {_mebibytes(size)}" for line, size in used.items())
        name = title(arrays, case)
        parts.append(f"{name}, asked <= {_mebibytes(asked)}: {listed}")
    return Claim(
        f"cvxjax works in <= {MEMORY}x the bytes of masks and weights "
        "(peak less what the process takes after its imports)",
        "; ".join(parts) or "no answer",
        Verdict.REPRODUCED if all(within) and within else Verdict.NOT_REPRODUCED,
    )


def program_bytes(size: np.ndarray) -> int:
    """Of masks [P, n], bool, and weights [2, P, d], float64; `size` is n, d, P."""
    n, d, P = (int(number) for number in size)
    return n * P + 2 * P * d * 8


def _seconds(value: float) -> str:
    return f"{value:.2f} s" if value < 10 else f"{value:.0f} s"


def _ratio(text: str, value: float, ours: float) -> str:
    return text.format(f"{value / ours:.3g}x") if np.isfinite(ours) else ""


def _mebibytes(size: float) -> str:
    return f"{size / 2**20:.3g} MiB"
