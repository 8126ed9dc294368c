"""How the convolutional experiment is drawn: objectives, accuracies, filters."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

from experiments._frame import style
from experiments._parts import images


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(1, 3, width=13.5, height=4.2)
    _plot_objectives(axes[0], arrays)
    _plot_accuracies(axes[1], arrays)
    _plot_filters(axes[2], arrays)
    n, K, h = arrays["shape"]
    names = " and ".join(arrays["names"])
    every = arrays["every_bound"]
    bound = (
        f", {every:.3f} over the networks of all filters (a relaxation)"
        if np.isfinite(every)
        else ""
    )
    style.caption(
        figure,
        f"{images.source(str(arrays['data']))}, {names}, {n} training and "
        f"{arrays['num_test']} test images, {K} patches of {h} numbers, average "
        f"pooling, squared loss, beta = {arrays['beta']:g}. Column generation: "
        f"certified gap {arrays['grown_gap']:.0e} over the patterns at its end (scope: "
        f"sampled; no search finds a filter that improves); lower bound "
        f"{arrays['grown'] * (1 - arrays['grown_gap']):.3f}{bound}. SGD: "
        f"{arrays['num_neurons']} filters, momentum, {len(arrays['sgd'])} starts that "
        "run together, a share of the time each. Seconds of column generation include "
        "compilation; the others do not.",
    )
    return figure


def _plot_objectives(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    seconds, sgd = arrays["sgd_seconds"][1:], arrays["sgd"][:, 1:]
    label = f"SGD, {len(sgd)} starts"
    style.curves(axis, seconds, sgd, label, color=style.COLORS["sgd"])
    rounds = arrays["rounds"]
    axis.plot(
        rounds[:, 0],
        rounds[:, 2],
        "o-",
        ms=3,
        color=style.COLORS["convex"],
        label="column generation",
    )
    axis.axhline(arrays["grown"], color=style.COLORS["convex"], ls="--", lw=1)
    axis.plot(
        arrays["sampled_seconds"][1],
        arrays["sampled"],
        "s",
        color=style.COLORS["convex"],
        label=f"{arrays['num_patterns']} random patterns, cvxjax",
    )
    if np.isfinite(arrays["cvxpy"]):
        axis.plot(
            arrays["cvxpy_seconds"],
            arrays["cvxpy"],
            "D",
            color=style.COLORS["baseline"],
            label="the same, CVXPY with Clarabel",
        )
    axis.plot(
        rounds[-1, 0],
        arrays["grown_network"],
        "*",
        ms=12,
        color=style.COLORS["network"],
        label="recovered network",
    )
    axis.set(xscale="log", yscale="log", xlabel="seconds", ylabel="objective")
    axis.set_title("(a) Training objective")
    axis.set_ylim(top=3 * arrays["zero"])  # room for the legend
    axis.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.yaxis.set_minor_formatter(NullFormatter())
    axis.legend(loc="upper right")


def _plot_accuracies(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    for curve in arrays["sgd_accuracy"]:
        axis.plot(arrays["sgd_seconds"][1:], curve[1:], color=style.COLORS["sgd"], lw=1)
    for name, marker, role in (("sampled", "s", "convex"), ("grown", "*", "network")):
        seconds = np.atleast_1d(arrays[f"{name}_seconds"])[-1]
        value = arrays[f"{name}_accuracy"][1]
        axis.plot(seconds, value, marker, ms=8, color=style.COLORS[role])
        axis.axhline(value, color=style.COLORS[role], ls="--", lw=1)
    lowest = np.floor(20 * arrays["sgd_accuracy"][:, -1].min() - 0.5) / 20
    axis.set(xscale="log", xlabel="seconds", ylabel="test accuracy", ylim=(lowest, 1.0))
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
