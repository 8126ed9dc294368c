"""The figure of `quantized_breast_cancer`: accuracies, objectives, planted errors."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments._frame import style

_TABLES = {
    "wisconsin": "scikit-learn's breast cancer table of Wisconsin, not the talk's,",
    "ljubljana": "The talk's table, UCI breast cancer of Ljubljana:",
}
_LOOKS: dict[str, tuple[str, str, str]] = {
    "relaxation": ("bound", "*", "relaxation's own form (no network)"),
    "drawn": ("convex", "o", "drawn from the relaxation"),
    "refitted": ("network", "D", "drawn, output weights refitted"),
    "adam": ("sgd", "-", "Adam, real weights"),
    "rounded": ("baseline", "--", "signs of Adam's weights"),
    "rounded_refitted": ("baseline", "s", "signs of Adam's weights, refitted"),
    "random": ("other", "v", "random signs, refitted"),
}
_LEAST = 1e-9  # relative excess that is drawn: below is rounding


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(2, 3, width=13.5, height=8.2)
    for side, name in enumerate(("Training", "Test")):
        _plot_accuracy(axes[0, side], arrays, side)
        axes[0, side].set_title(f"({'ab'[side]}) {name} accuracy")
        _plot_planted(axes[1, side], arrays, side)
        axes[1, side].set_title(f"({'de'[side]}) Planted network: {name.lower()} error")
    _plot_objectives(axes[0, 2], arrays)
    _legend(axes[1, 2])
    n, d, n_test = arrays["shape"]
    rows, features, neurons = arrays["planted_shape"]
    gap = max(arrays["gap"].max(), arrays["planted_gap"].max())
    kind = " principal directions" if arrays["principal"] else ""
    ones = ", a column of ones among them" if arrays["bias"] else ""
    style.caption(
        figure,
        f"(a)-(c) {_TABLES[str(arrays['data'])]} n = {n} training and {n_test} test "
        f"rows, d = {d}{kind}{ones}, m = {arrays['num_neurons']}, "
        f"beta = {arrays['beta']:g}, squared loss; {len(arrays['bound'])} random "
        "splits: medians, quartiles as bands and bars. Seconds are warm, "
        "compilation apart. (c) A point for each "
        f"split; certified gap of the relaxation at most {gap:.0e} (scope: its lower "
        "bound holds for every network of signs, of any width; not for real weights, "
        "hence no point of Adam's); below 1e-9 is drawn there. (d), (e) "
        f"{neurons} planted neurons, {rows} normal training rows, d = {features}, "
        f"{len(arrays['planted_gap'])} instances: medians, ranges; error "
        "||f - y|| / ||y||.",
    )
    return figure


def _look(name: str) -> dict[str, Any]:
    role, mark, label = _LOOKS[name]
    line = set(mark) <= {"-"}
    return {
        "color": style.COLORS[role],
        "linestyle": mark if line else "none",
        "marker": "none" if line else mark,
        "label": label,
    }


def _plot_accuracy(axis: Any, arrays: dict[str, np.ndarray], side: int) -> None:
    for name in ("adam", "rounded"):
        look = _look(name)
        seconds = np.median(arrays["adam_seconds"], axis=0)[1:]
        low, middle, high = np.quantile(
            arrays[f"{name}_records"][:, 1:, side], (0.25, 0.5, 0.75), axis=0
        )
        axis.plot(seconds, middle, **look)
        axis.fill_between(seconds, low, high, color=look["color"], alpha=0.15, lw=0)
    for name, seconds in (
        ("relaxation", arrays["solve_seconds"]),
        ("drawn", arrays["drawn_seconds"]),
        ("refitted", arrays["refitted_seconds"]),
    ):
        low, middle, high = np.quantile(
            arrays[f"{name}_accuracy"][:, side], (0.25, 0.5, 0.75)
        )
        bars = [[middle - low], [high - middle]]
        axis.errorbar(
            np.median(seconds), middle, bars, capsize=3, markersize=8, **_look(name)
        )
    axis.axhline(
        np.median(arrays["majority"][:, side]), color=style.COLORS["muted"], ls=":"
    )
    axis.set(xscale="log", xlabel="seconds", ylabel="accuracy, share of rows")


def _plot_objectives(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    names = ("drawn", "refitted", "random", "rounded", "rounded_refitted")
    for place, name in enumerate(names):
        excess = arrays[f"{name}_objective"] / arrays["bound"] - 1
        shift = np.linspace(-0.2, 0.2, len(excess))
        look = _look(name)
        look["marker"] = "x" if look["marker"] == "none" else look["marker"]
        axis.plot(
            place + shift, np.maximum(excess, _LEAST), **(look | {"linestyle": "none"})
        )
    words = ("drawn", "drawn,\nrefitted", "random,\nrefitted", "rounded")
    axis.set_xticks(range(len(names)), (*words, "rounded,\nrefitted"))
    axis.set(yscale="log", ylabel="objective / lower bound - 1")
    axis.set_title("(c) Objectives over the certified bound")


def _plot_planted(axis: Any, arrays: dict[str, np.ndarray], side: int) -> None:
    widths, trained = arrays["widths"], arrays["trained_widths"]
    for name, where, mark in (
        ("drawn", widths, "o"),
        ("refitted", widths, "D"),
        ("adam", trained, "^"),
        ("rounded", trained, "x"),
    ):
        error = arrays[f"planted_{name}"][:, :, side]
        role = _LOOKS[name][0]
        dashes = "--" if name == "rounded" else "-"
        color = style.COLORS[role]
        axis.plot(where, np.median(error, axis=0), mark + dashes, color=color)
        axis.fill_between(
            where, error.min(axis=0), error.max(axis=0), color=color, alpha=0.15, lw=0
        )
    middle = len(widths) // 2
    error = np.median(arrays["planted_drawn"][:, middle, side])
    axis.plot(
        widths,
        error * np.sqrt(widths[middle] / widths),
        ":",
        color=style.COLORS["muted"],
    )
    limit = np.median(arrays["planted_relaxation"][:, side])
    axis.axhline(limit, color=style.COLORS["bound"])
    axis.set(xscale="log", yscale="log", xlabel="neurons m", ylabel="relative error")


def _legend(axis: Any) -> None:
    """What all panels share, in place of the sixth."""
    planted = {"relaxation": {"linestyle": "-"}, "adam": {"marker": "^"}}
    planted |= {"rounded": {"marker": "x"}}
    for name in _LOOKS:
        axis.plot([], [], **(_look(name) | planted.get(name, {})))
    label = "(a), (b) the larger class; (d), (e) 1 / sqrt(m)"
    axis.plot([], [], ":", color=style.COLORS["muted"], label=label)
    axis.legend(loc="center left", fontsize=10, labelspacing=1.1)
    axis.set_axis_off()
