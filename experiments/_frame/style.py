"""How every figure looks: colours by role, sizes, and the caption under it."""

from __future__ import annotations

import contextlib
import textwrap
from collections.abc import Iterator
from typing import Any

import matplotlib.figure
import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

# Okabe & Ito's palette: told apart under every common colour blindness.
COLORS = {
    "convex": "#0072B2",  # the convex program's optimum
    "network": "#009E73",  # the network recovered from it
    "sgd": "#D55E00",  # non-convex training
    "bound": "#E69F00",  # a dual or relaxed bound
    "baseline": "#CC79A7",  # another method
    "other": "#56B4E9",
    "truth": "#000000",  # data, ground truth
    "muted": "#7F7F7F",  # captions, guides
}
PALETTE = [COLORS[role] for role in COLORS if role not in ("truth", "muted")]

STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.labelsize": 10,
    "axes.prop_cycle": cycler(color=PALETTE),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlesize": 11,
    "figure.constrained_layout.use": True,
    "figure.titlesize": 12,
    "font.size": 10,
    "grid.color": "#DDDDDD",
    "grid.linewidth": 0.6,
    "legend.fontsize": 9,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "pdf.fonttype": 42,
    "savefig.dpi": 200,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
}


@contextlib.contextmanager
def applied() -> Iterator[None]:
    """Uses this style inside the block, and restores matplotlib's settings after it."""
    with matplotlib.style.context(["default", STYLE]):
        yield


def figure(
    nrows: int = 1,
    ncols: int = 1,
    *,
    width: float | None = None,
    height: float | None = None,
    **subplots: Any,
) -> tuple[matplotlib.figure.Figure, Any]:
    """A figure with its axes, outside pyplot: no backend, nothing to close.

    Args:
      nrows: rows of panels.
      ncols: columns of panels.
      width: inches; 4.2 for each column if None.
      height: inches; 3.2 for each row if None.
      **subplots: passed to `Figure.subplots`, e.g. `sharey=True`, `squeeze=False`.

    Returns:
      The figure, and one Axes or an array of them, as `plt.subplots` does.
    """
    with applied():
        size = (width or 4.2 * ncols, height or 3.2 * nrows)
        made = matplotlib.figure.Figure(figsize=size)
        return made, made.subplots(nrows, ncols, **subplots)


def curves(axis: Any, x: Any, ys: Any, label: str, *look: str, **more: Any) -> None:
    """Draws ys [k, n] over x [n], k thin lines with one entry in the legend."""
    labels = [label, *[None] * (len(ys) - 1)]
    axis.plot(x, np.transpose(ys), *look, label=labels, **{"lw": 1, **more})


def plain_ticks(axis: Any, multiples: tuple[float, ...] = (1, 2, 5)) -> None:
    """Multiples of decades, as plain numbers, on the x or y axis of a log scale."""
    axis.set_major_locator(LogLocator(subs=multiples))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def caption(shown: matplotlib.figure.Figure, text: str) -> None:
    """Writes `text` under the figure: the certificate and its scope, the settings."""
    size = 8
    columns = int(shown.get_figwidth() * 72 / (0.52 * size))
    lines = [textwrap.fill(line, columns) for line in text.splitlines()]
    shown.supxlabel(
        "\n".join(lines), x=0.01, ha="left", fontsize=size, color=COLORS["muted"]
    )
