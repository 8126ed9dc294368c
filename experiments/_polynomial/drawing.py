"""How the polynomial network is drawn: accuracies and objective against seconds."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from experiments._frame import style
from experiments._parts import images

_CURVES = (
    ("polynomial_sgd", "same network, SGD", "sgd", "-"),
    ("polynomial_adam", "same network, Adam", "sgd", "--"),
    ("relu_sgd", "ReLU network, SGD", "baseline", "-"),
    ("relu_adam", "ReLU network, Adam", "baseline", "--"),
)

_HIGHEST = 1e4  # times the optimum; runs that diverge leave the panel


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(1, 3, width=13.5, height=4.4)
    for side, title in enumerate(("(a) Training accuracy", "(b) Test accuracy")):
        _plot_accuracy(axes[side], arrays, side)
        axes[side].set(ylabel="share of images", title=title)
    _plot_objective(axes[2], arrays)
    for axis in axes:
        axis.set(xscale="log", xlabel="seconds")
    axes[2].legend(*axes[0].get_legend_handles_labels(), loc="upper right")
    n, K, h = arrays["shape"]
    a, b, c = arrays["coefficients"]
    names = " and ".join(arrays["names"])
    rates = ", ".join(
        f"{name.replace('same network', 'polynomial').replace(' network', '')} "
        f"{arrays[f'{key}_rate']:g}{' / n' if key.endswith('sgd') else ''}"
        for key, name, *_ in _CURVES
    )
    style.caption(
        figure,
        f"{images.source(str(arrays['data']))}, {names}, {n} training and "
        f"{arrays['num_test']} test images, {K} patches of {h} numbers, global average "
        f"pooling, activation {a:g} t^2 + {b:g} t + {c:g}, squared loss, beta = "
        f"{arrays['beta']:g}. Convex: certified gap {arrays['gap']:.0e} (scope: all "
        "networks of this activation, of any width; about the training objective, not "
        f"accuracy); seconds from patches to the network, compiled before "
        f"({arrays['cold_seconds']:.2g} s with compilation). SGD (momentum) and Adam: "
        f"{arrays['width']} filters, batches of {arrays['batch_size']}, "
        f"{arrays['steps']} steps, float32, cosine decay; a line for each of "
        f"{len(arrays['relu_sgd_objective'])} starts, which run together, a share of "
        "the time each, without compilation and without judging; each at the learning "
        f"rate that ends lowest ({rates}). The ReLU network has weight decay beta, "
        "another objective.",
    )
    return figure


def _plot_accuracy(axis: Any, arrays: dict[str, np.ndarray], side: int) -> None:
    for key, name, role, dashes in _CURVES:
        seconds, curves = arrays[f"{key}_seconds"], arrays[f"{key}_accuracy"][side]
        style.curves(axis, seconds, curves, name, dashes, color=style.COLORS[role])
    value = arrays["accuracy"][side]
    _mark(axis, arrays["seconds"], value, "convex program, certified")
    lasts = [arrays[f"{key}_accuracy"][side, :, -1].min() for key, *_ in _CURVES]
    lowest = min(*lasts, value)
    axis.set_ylim(max(0.0, lowest - 1.5 * (1 - lowest) - 0.02), 1.0)


def _plot_objective(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    for key, name, role, dashes in _CURVES[:2]:
        seconds, curves = arrays[f"{key}_seconds"], arrays[f"{key}_objective"]
        style.curves(axis, seconds, curves, name, dashes, color=style.COLORS[role])
    _mark(axis, arrays["seconds"], arrays["objective"], "convex program, certified")
    axis.set(yscale="log", ylabel="objective", title="(c) Training objective")
    axis.set_ylim(top=min(axis.get_ylim()[1], _HIGHEST * arrays["objective"]))


def _mark(axis: Any, seconds: Any, value: Any, name: str) -> None:
    color = style.COLORS["convex"]
    axis.axhline(value, color=color, ls=":", lw=1)
    axis.plot(
        seconds, value, "*", ms=12, color=color, label=name, clip_on=False, zorder=3
    )
