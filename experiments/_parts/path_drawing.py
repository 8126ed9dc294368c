"""How the regularisation paths are drawn: fits, neurons, errors, what is proven."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter

from experiments._frame import style

_DRAWN = 2e-3  # of the largest norm; smaller neurons are not drawn
LOCAL = {  # labels and colours
    "adam": ("Adam", "sgd"),
    "lbfgs": ("L-BFGS", "baseline"),
    "sgd": ("SGD", "bound"),
}


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(2, 3, width=14.5, height=7.0)
    _plot_fits(axes[0, 0], arrays)
    _plot_norms(axes[0, 1], arrays)
    _plot_neurons(axes[0, 2], arrays)
    _plot_errors(axes[1, 0], arrays)
    _plot_local(axes[1, 1], arrays)
    _plot_gaps(axes[1, 2], arrays)
    patients = arrays["table_num_samples"][0]
    runs = sum(arrays[f"local_{kind}"][0].size for kind in LOCAL)
    style.caption(
        figure,
        f"Two-layer ReLU networks, squared loss; beta_max: a beta at which the zero "
        f"network is optimal. Sine, {len(arrays['sine_x'])} points: "
        f"{scope(arrays, 'sine')}. (b) The norm of a neuron is the product of its "
        f"weights' norms; collinear neurons are added up. (c) After merging and "
        f"pruning. Diabetes, {patients} training patients: {scope(arrays, 'table')}; "
        f"line: median, band: all {len(arrays['table_test'])} splits. Relative error: "
        f"mean square over variance. (e) First split; the lowest of {runs} runs at "
        "each beta, by kind, with the best width and rate.",
    )
    return figure


def scope(arrays: dict[str, np.ndarray], name: str) -> str:
    gap = np.max(arrays[f"{name}_gap"])
    if name == "sine":
        count = np.max(arrays["sine_patterns"])
        return f"all {count} activation patterns, certified gaps up to {gap:.0e}"
    return (
        "the problem over all activation patterns, which a search finds; proven gaps "
        f"over all networks up to {gap:.1g}"
    )


def _along(axis: Any, **settings: Any) -> None:
    """beta / beta_max, descending to the right."""
    axis.set(xlabel="beta / beta_max", xscale="log", **settings)
    axis.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.invert_xaxis()


def share(arrays: dict[str, np.ndarray], name: str) -> np.ndarray:
    betas = np.atleast_2d(arrays[f"{name}_betas"])[0]
    return betas / betas[0]


def _plot_fits(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    shares, roles = share(arrays, "sine"), ("other", "convex", "bound", "baseline")
    axis.plot(
        arrays["sine_x"], arrays["sine_y"], "o", color=style.COLORS["truth"], ms=4
    )
    for i, (index, fit) in enumerate(
        zip(arrays["sine_shown"], arrays["sine_fits"], strict=True)
    ):
        count = int(arrays["sine_neurons"][index])
        axis.plot(
            arrays["sine_grid"],
            fit,
            color=style.COLORS[roles[i % len(roles)]],
            label=f"{shares[index]:.1g} beta_max, {count} neuron{'s' * (count != 1)}",
        )
    axis.set(title="(a) Sine: optimal networks", xlabel="x", ylabel="f(x)")
    low, high = axis.get_ylim()
    axis.set_ylim(low, high + 0.4 * (high - low))  # room for the legend
    axis.legend(loc="upper right")


def _plot_norms(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    shares, norms = share(arrays, "sine"), arrays["sine_norms"]  # [beta, 2, P]
    drawn = np.where(norms > _DRAWN * norms.max(), norms, np.nan)
    colors = [style.COLORS["convex"], style.COLORS["baseline"]]
    for neurons, color in zip(np.moveaxis(drawn, 1, 0), colors, strict=True):
        axis.plot(shares, neurons, "o", color=color, ms=3.5, mew=0)
    handles = [
        Line2D([], [], marker="o", ls="", color=color, label=f"{word} output weight")
        for color, word in zip(colors, ("positive", "negative"), strict=True)
    ]
    axis.legend(handles=handles, loc="upper left")
    _along(axis, title="(b) Sine: norm of every neuron", ylabel="||u|| |a|")
    axis.set_ylim(0, 1.2 * np.nanmax(drawn, initial=1e-9))


def _band(axis: Any, x: np.ndarray, rows: np.ndarray, label: str, color: str) -> None:
    """The median of rows [k, len(x)] over x, and all of them in a band."""
    low, high = rows.min(axis=0), rows.max(axis=0)
    axis.fill_between(x, low, high, color=color, alpha=0.2, lw=0)
    axis.plot(x, np.median(rows, axis=0), "o-", ms=3, color=color, label=label)


def _plot_neurons(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    for name, label, role in (
        ("table", "diabetes", "network"),
        ("sine", "sine", "convex"),
    ):
        counts = np.atleast_2d(arrays[f"{name}_neurons"])
        color = style.COLORS[role]
        _band(axis, share(arrays, name), counts, label, color)
        n = int(np.max(arrays[f"{name}_num_samples"]))
        axis.axhline(n, color=color, ls=":", lw=1, label=f"n = {n}")
    axis.set_yscale("symlog", linthresh=1)
    axis.set_ylim(-0.1, 1000)
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.legend(loc="lower right", ncols=2)
    _along(axis, title="(c) Neurons that are needed", ylabel="number of neurons")


def _plot_errors(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    shares = share(arrays, "table")
    for name, label, role in (
        ("train", "training", "convex"),
        ("test", "test", "network"),
    ):
        _band(axis, shares, arrays[f"table_{name}"], label, style.COLORS[role])
    linear = float(np.median(arrays["table_linear"]))
    color = style.COLORS["baseline"]
    axis.axhline(linear, color=color, ls="--", label="least squares, test")
    axis.set_ylim(bottom=0)
    axis.legend(loc="upper center")
    _along(axis, title="(d) Diabetes: errors", ylabel="relative error")


def above(arrays: dict[str, np.ndarray], kind: str) -> np.ndarray:
    """The lowest run's objective over that of the path, less 1, [beta]."""
    runs = arrays[f"local_{kind}"]  # [beta, setting, start]
    return runs.min(axis=(1, 2)) / arrays["table_primal"][0] - 1


def _plot_local(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    shares = share(arrays, "table")
    for kind, (label, role) in LOCAL.items():
        axis.plot(
            shares,
            above(arrays, kind),
            "o-",
            ms=3,
            color=style.COLORS[role],
            label=label,
        )
    axis.axhline(0, color=style.COLORS["convex"], ls="--", label="convex program")
    axis.set_yscale("symlog", linthresh=1e-4)
    lowest = min(float(np.min(above(arrays, kind))) for kind in LOCAL)
    axis.set_ylim(bottom=min(2 * lowest, -1e-4))
    axis.legend(loc="best")
    _along(
        axis,
        title="(e) Diabetes: local searches",
        ylabel="objective over the path's, less 1",
    )


def _plot_gaps(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    for name, label, role in (
        ("table", "diabetes, over all networks", "network"),
        ("sine", "sine, exhaustive", "convex"),
    ):
        gaps = np.atleast_2d(arrays[f"{name}_gap"])
        _band(axis, share(arrays, name), gaps, label, style.COLORS[role])
    axis.set_yscale("log")
    axis.legend(loc="best")
    _along(axis, title="(f) What is proven", ylabel="relative duality gap")
