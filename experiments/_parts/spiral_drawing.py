"""The figure of the spirals: solvers, gradient descent, regions; then with a bias."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from experiments._frame import style
from experiments._parts import spiral_bias

_CLASSES = [style.COLORS[role] for role in ("convex", "sgd", "network")]
_FLOOR = 1e-5  # an excess below it is drawn there


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    betas = arrays["betas"]
    figure, axes = style.figure(
        len(betas) + 1, 3, width=12.5, height=3.7 * (len(betas) + 1), squeeze=False
    )
    for k, beta in enumerate(betas):
        _plot_rounds(axes[k, 0], arrays, k)
        _plot_widths(axes[k, 1], arrays, k)
        _plot_regions(
            axes[k, 2],
            arrays,
            arrays["regions"][k],
            f"{arrays['neurons'][k]} neurons, {arrays['accuracy'][k]:.0%} right",
        )
        axes[k, 0].set_ylabel(f"no bias, beta = {beta:g}\n\nrelative gap, certified")
    spiral_bias.plot_curves(axes[-1, 0], arrays)
    spiral_bias.plot_shares(axes[-1, 1], arrays)
    _plot_regions(
        axes[-1, 2],
        arrays,
        arrays["bias_regions"],
        f"(f) Best found: {arrays['bias_neurons']} neurons, "
        f"{arrays['bias_correct']:.0%} right",
    )
    axes[0, 0].set_title("(a) Two solvers")
    axes[0, 0].legend(loc="lower left")
    axes[0, 1].set_title("(b) Gradient descent")
    axes[0, 2].set_title(f"(c) Optimum: {axes[0, 2].get_title()}")
    style.caption(
        figure,
        f"{len(arrays['X'])} points of three classes, one-hot labels, squared loss; "
        f"without a bias {arrays['patterns'][0]} activation patterns, all of them, so "
        "that the "
        f"certificates cover networks of any width: gaps "
        f"{', '.join(f'{gap:.0e}' for gap in arrays['gap'])} by Frank-Wolfe, "
        f"{', '.join(f'{gap:.0e}' for gap in arrays['relaxed_gap'])} by the copositive "
        f"relaxation. Gradient descent: full batch, step {arrays['learning_rate']:g}, "
        f"{arrays['descent_steps']:,} steps. "
        f"Excess at most {_FLOOR:g} is drawn there. Colours in (c), (f): the class "
        "with the largest output; without biases regions are cones. (d)-(f): a column "
        f"of ones, {arrays['bias_patterns']:,} patterns; Adam, then BurerMonteiro from "
        "the best start; the bound over all networks is "
        f"{1 - arrays['bias_bound'] / arrays['bias_objective']:.0%} lower, so that "
        "global optimality is not proven.",
    )
    return figure


def _plot_rounds(axis: Any, arrays: dict[str, np.ndarray], k: int) -> None:
    for name, role, label in (
        ("rounds", "convex", "Frank-Wolfe"),
        ("steps", "bound", "copositive relaxation"),
    ):
        lines = arrays[name][arrays[f"{name}_of"] == k]
        color = style.COLORS[role]
        gap = np.maximum(lines[:, 3], 1e-10)
        axis.plot(lines[:, 4], gap, "o-", ms=3, color=color, label=label)
    times = np.concatenate([arrays["rounds"][:, 4], arrays["steps"][:, 4]])
    axis.set(
        xscale="log",
        yscale="log",
        xlim=(times.min() / 2, times.max() * 2),
        xlabel="seconds, compilation included",
    )
    axis.xaxis.set_minor_formatter(NullFormatter())


def _plot_widths(axis: Any, arrays: dict[str, np.ndarray], k: int) -> None:
    widths, found = arrays["widths"], arrays["found"][k]
    excess = np.maximum(found / arrays["optimum"][k] - 1, _FLOOR)
    every = np.broadcast_to(widths[:, None], found.shape)
    axis.plot(every.ravel(), excess.ravel(), "o", color=style.COLORS["sgd"], alpha=0.6)
    axis.set(
        xscale="log",
        yscale="log",
        ylim=(_FLOOR / 2, 2),
        xlabel="neurons",
        ylabel="excess over the optimum, relative",
    )
    axis.set_xticks(widths, [str(width) for width in widths])
    axis.xaxis.set_minor_locator(NullLocator())


def _plot_regions(
    axis: Any, arrays: dict[str, np.ndarray], regions: np.ndarray, title: str
) -> None:
    colors = ListedColormap(_CLASSES)
    axis.imshow(
        regions,
        origin="lower",
        extent=(-0.6, 0.6, -0.6, 0.6),
        cmap=colors,
        vmin=0,
        vmax=2,
        alpha=0.35,
        interpolation="nearest",
    )
    for label, marker in enumerate("o^s"):
        points = arrays["X"][arrays["labels"] == label]
        axis.plot(
            *points.T, marker, color=_CLASSES[label], mec="black", mew=0.5, ls="none"
        )
    axis.grid(False)
    axis.set(
        title=title,
        xlabel="first feature",
        ylabel="second feature",
    )
