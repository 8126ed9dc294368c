"""How SGD on convex programs is drawn beside SGD on the network."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments._convex_sgd.claims import last, of_kinds
from experiments._frame import style
from experiments._parts import images

_LOOKS = {
    "gaussian": ("other", "convex, Gaussian gates"),
    "convolutional": ("convex", "convex, filters as gates"),
    "cones": ("baseline", "convex, cones of every class"),
    "sgd": ("sgd", "SGD on the ReLU network"),
}
_WIDTHS = (2.2, 1.2, 0.6)  # of lines, from the first learning rate on
_PANELS = (
    ("train_accuracy", "network_train_accuracy", "training accuracy"),
    ("test_accuracy", "network_test_accuracy", "test accuracy"),
    ("objective", "network_objective", "objective per row"),
)
_AXES = (("seconds", "training time (s)"), ("epoch", "epochs"))


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(2, 3, width=14.5, height=7.4, sharey="col")
    for line, (x, x_label) in enumerate(_AXES):
        for column, (y, network, y_label) in enumerate(_PANELS):
            axis = axes[line, column]
            _plot_curves(axis, arrays, x, y, network)
            letter = "abcdef"[3 * line + column]
            axis.set(xscale="log", xlabel=x_label, ylabel=y_label)
            axis.set_title(f"({letter})", loc="left")
            style.plain_ticks(axis.xaxis, (1, 2, 5))
    for axis in axes[:, 2]:
        axis.set_yscale("log")
        style.plain_ticks(axis.yaxis, (1, 1.5, 2, 3, 4, 5, 7))
    figure.legend(
        handles=_handles(arrays), loc="outside right upper", title="learning rates"
    )
    n, d = arrays["shape"]
    figure.suptitle(
        f"{images.source(str(arrays['data']))}, n = {n:,}, d = {d:,}, "
        f"{arrays['num_classes']} classes, {arrays['num_patterns']:,} patterns, "
        f"{arrays['num_neurons']:,} neurons, {arrays['device']}"
    )
    style.caption(figure, _caption(arrays))
    return figure


def _plot_curves(
    axis: Any, arrays: dict[str, np.ndarray], x: str, y: str, network: str
) -> None:
    for kind, (role, _) in _LOOKS.items():
        for place, row in enumerate(of_kinds(arrays, kind)):
            made = np.isfinite(arrays["objective"][row]) & (arrays["epoch"][row] > 0)
            where, color = arrays[x][row][made], style.COLORS[role]
            axis.plot(where, arrays[y][row][made], color=color, lw=_width(place))
            if kind != "sgd" and place == 0:
                axis.plot(where, arrays[network][row][made], "--", color=color, lw=1.2)


def _width(place: int) -> float:
    return _WIDTHS[min(place, len(_WIDTHS) - 1)]


def _handles(arrays: dict[str, np.ndarray]) -> list[Line2D]:
    """A line for each curve, and one for all dashed ones."""
    made = []
    for kind, (role, text) in _LOOKS.items():
        for place, row in enumerate(of_kinds(arrays, kind)):
            label = f"{text}, {arrays['rate'][row]:g}"
            color = style.COLORS[role]
            made.append(Line2D([], [], color=color, lw=_width(place), label=label))
    label = "ReLU network with the\nweights of that colour's\nfirst curve"
    return [*made, Line2D([], [], ls="--", lw=1.2, color="black", label=label)]


def _caption(arrays: dict[str, np.ndarray]) -> str:
    convex, network = (
        of_kinds(arrays, *_LOOKS.keys() - {"sgd"}),
        of_kinds(arrays, "sgd"),
    )
    wrong, shares = last(arrays, "violation"), arrays["utilisation"]
    violations = ", ".join(f"{arrays['curve'][k]} {wrong[k]:.0%}" for k in convex)
    zero = np.nanmax(last(arrays, "zero_blocks")[convex])
    steps = "proximal steps" if arrays["proximal"] else "subgradients of the norms"
    return (
        "SGD with momentum on the convex program over sampled gates, weights [2, P, "
        f"classes, d], {steps}, and on the non-convex two-layer ReLU network; learning "
        "rates in the legend; the same batches of "
        f"{arrays['batch_size']}, float32, weight decay {arrays['beta']:g} per row. "
        "Solid: what is trained. The convex model is a network of fixed gates: only "
        "where its weights are in their cones is it the ReLU network with the same "
        "weights (dashed). Share of sum |x w| on the wrong side of the cones at the "
        f"end: {violations}. Blocks that are exactly zero at the end: at most "
        f"{zero:.1%}. Time: training steps alone, without compilation "
        f"({arrays['compile_seconds']:.1f} s in all), evaluation and checkpoints. "
        f"Model FLOP utilisation {np.min(shares[convex]):.0%} to "
        f"{np.max(shares[convex]):.0%} (convex), {np.min(shares[network]):.0%} to "
        f"{np.max(shares[network]):.0%} (network), of a GEMM with "
        f"{arrays['peak_flops'] / 1e9:.0f} GFLOP/s."
    )
