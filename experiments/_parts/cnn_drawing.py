"""How the convolutional experiment is drawn: objectives, accuracies, filters."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from experiments._frame import style
from experiments._parts import images

LOCAL = {  # labels and colours of the local searches
    "adam": ("Adam", "sgd"),
    "lbfgs": ("L-BFGS", "baseline"),
    "sgd": ("SGD", "bound"),
}


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(1, 3, width=13.5, height=4.4)
    _plot_objectives(axes[0], arrays)
    _plot_accuracies(axes[1], arrays)
    _plot_filters(axes[2], arrays)
    n, K, h = arrays["shape"]
    names = " and ".join(arrays["names"])
    starts = len(arrays["sgd_curves"])
    style.caption(
        figure,
        f"{images.source(str(arrays['data']))}, {names}, {n} training and "
        f"{arrays['num_test']} test images, {K} patches of {h} numbers, average "
        f"pooling, squared loss, beta = {arrays['beta']:g}. The convex program is over "
        f"all filters, which a search finds: {arrays['convex']:.4f}; proven bound over "
        f"all filters {arrays['bound']:.4f}. Over {arrays['num_patterns']} patterns of "
        f"random filters the certified gap is {arrays['sampled_gap']:.0e}. Local "
        f"searches: {starts} starts each, with the number of filters and rate that end "
        "lowest; a start's time is its share of those that run together. No time "
        "contains compilation.",
    )
    return figure


def _plot_objectives(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    for kind, (_, role) in LOCAL.items():
        pairs = zip(arrays[f"{kind}_times"], arrays[f"{kind}_curves"], strict=True)
        for index, (seconds, values) in enumerate(pairs):
            label = None if index else str(arrays[f"{kind}_label"])
            color = style.COLORS[role]
            axis.plot(seconds[1:], values[1:], lw=1, color=color, label=label)
    seconds, values = arrays["progress"].T
    known = values < arrays["zero"]  # the zero network is reported at first
    axis.plot(
        seconds[known],
        values[known],
        "o-",
        ms=3,
        color=style.COLORS["convex"],
        label="convex program",
    )
    axis.axhline(arrays["convex"], color=style.COLORS["convex"], ls="--", lw=1)
    axis.plot(
        arrays["sampled_seconds"][1],
        arrays["sampled"],
        "s",
        color=style.COLORS["other"],
        label=f"convex, {arrays['num_patterns']} random patterns",
    )
    axis.plot(
        seconds[-1],
        arrays["convex_network"],
        "*",
        ms=12,
        color=style.COLORS["network"],
        label="recovered network",
    )
    axis.set(xscale="log", yscale="log", xlabel="seconds", ylabel="objective")
    axis.set_title("(a) Training objective")
    lows = [np.min(arrays[f"{kind}_last"]) for kind in LOCAL]
    axis.set_ylim(0.99 * min(arrays["convex"], *lows), 2 * arrays["sampled"])
    style.plain_ticks(axis.yaxis)
    axis.legend(loc="upper right")


def _plot_accuracies(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    rows = [
        ("convex,\nrandom filters", arrays["sampled_accuracy"][1:], "other"),
        ("convex,\nall filters", arrays["convex_accuracy"][1:], "convex"),
    ]
    rows += [
        (label, arrays[f"{kind}_accuracy"], role)
        for kind, (label, role) in LOCAL.items()
    ]
    for place, (_, values, role) in enumerate(rows):
        spread = np.linspace(-0.1, 0.1, len(values)) if len(values) > 1 else [0]
        axis.plot(values, place + np.asarray(spread), "o", color=style.COLORS[role])
    axis.set_yticks(range(len(rows)), [label for label, *_ in rows])
    axis.xaxis.set_major_locator(MaxNLocator(5))
    axis.set(xlabel="test accuracy, every start", ylim=(len(rows) - 0.5, -0.5))
    axis.set_title("(b) Test accuracy")


def _plot_filters(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    """The filters with the largest weights, those of each class on a side."""
    size, kernel, second = int(arrays["size"]), arrays["filters"], arrays["second"]
    order = np.argsort(-np.abs(second))
    for side, left in ((-1, 0.0), (1, 1.1)):
        chosen = order[side * second[order] > 0][:12]
        pictures = kernel.T[chosen].reshape(len(chosen), size, size, -1)
        canvas = images.tiles(pictures, columns=3)
        axis.imshow(canvas, extent=(left, left + 1, 0, 4 / 3), interpolation="nearest")
        name = arrays["names"][(1 + side) // 2]
        axis.text(left + 0.5, -0.02, name, ha="center", va="top")
    axis.set(xlim=(-0.05, 2.15), ylim=(-0.15, 1.4))
    axis.axis("off")
    axis.set_title("(c) Filters with the largest weights")
