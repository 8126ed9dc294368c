"""Panels of the benchmark: one curve a line, and performance profiles."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes

from experiments._frame import style
from experiments._peers.lines import LINES
from experiments._peers.measure import warm

DEFAULT = "cvxjax"
OTHERS = "cvxjax, solvers chosen by name"
LOOKS = {
    DEFAULT: ("convex", "-", "o"),
    OTHERS: ("other", ":", "."),
    "adelie": ("sgd", "-", "s"),
    "pyscnn": ("network", "--", "^"),
    "Clarabel": ("baseline", "-.", "D"),
    "SCS": ("truth", "--", "X"),
}
"""Colour, dashes and marker of a line; our solvers but the default share one."""


def _look(line: str) -> dict[str, Any]:
    key = OTHERS if LINES[line].ours and line != DEFAULT else line
    role, dashes, marker = LOOKS[key]
    label = "cvxjax, default solver" if key == DEFAULT else key
    wide = {"linewidth": 2.4, "zorder": 3} if key == DEFAULT else {}
    return {
        "color": style.COLORS[role],
        "linestyle": dashes,
        "marker": marker,
        "label": label,
        **wide,
    }


def draw_curves(
    axis: Axes, arrays: dict[str, np.ndarray], value: np.ndarray, case: int
) -> None:
    """One curve a line; points from loose to tight settings.

    Args:
      axis: becomes logarithmic along x, from a power of ten to another.
      arrays: rows of `measure`, with `case`.
      value: [rows].
      case: the one shown.
    """
    seconds = warm(arrays["seconds"])
    shown = (arrays["case"] == case) & np.isfinite(value) & np.isfinite(seconds)
    for line in dict.fromkeys(arrays["line"][shown].tolist()):
        rows = shown & (arrays["line"] == line)
        axis.plot(seconds[rows], np.maximum(value[rows], 1e-10), **_look(line))
    axis.set_xscale("log")
    if shown.any():
        powers = np.log10([seconds[shown].min() * 0.999, seconds[shown].max() * 1.001])
        axis.set_xlim(10 ** np.floor(powers[0]), 10 ** np.ceil(powers[1]))


def draw_profile(
    axis: Axes, times: dict[str, np.ndarray], profiled: np.ndarray, last: float
) -> None:
    """Share of the problems that a line solves in at most x times the best time.

    Args:
      axis: becomes logarithmic along x, from 1 to `last`.
      times: of each line, [cases].
      profiled: [cases], bool, the problems that count.
      last: ratio up to which peers got time.

    Source: Dolan & More, Benchmarking optimization software (2002).
    """
    times = {line: best[profiled] for line, best in times.items()}
    asked = [line for line, best in times.items() if not np.isnan(best).all()]
    if not asked:
        return
    table = np.asarray([times[line] for line in asked])
    table[np.isnan(table)] = np.inf
    solved = np.isfinite(table).any(axis=0)
    num, table = table.shape[1], table[:, solved]
    for line, ratios in zip(asked, table / table.min(axis=0), strict=True):
        ratio = np.sort(ratios[ratios <= last])
        share = np.arange(1 + len(ratio)) / num
        look: Any = _look(line) | {"marker": "none"}
        axis.step(
            np.concatenate([[1], ratio, [last]]),
            np.append(share, share[-1]),
            where="post",
            **look,
        )
    axis.set(
        xscale="log",
        xlim=(1, last),
        ylim=(0, 1.02),
        xlabel="seconds, as a multiple of the fastest line's",
        ylabel=f"share of {int(profiled.sum())} problems",
    )
