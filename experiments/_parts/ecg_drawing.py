"""How the ECG experiment is drawn: predictions, errors and objectives over time."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from experiments._frame import style

NAMES = {"pywavelets": "PyWavelets' ECG", "mitbih": "MIT-BIH record 208"}
_LOCAL = {"adam": "sgd", "lbfgs": "baseline", "sgd": "bound"}  # colours


def of(arrays: dict[str, np.ndarray], name: str) -> dict[str, Any]:
    """The arrays of one recording, without its name."""
    start = f"{name}_"
    return {k.removeprefix(start): v for k, v in arrays.items() if k.startswith(start)}


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    names = [str(name) for name in arrays["recordings"]]
    figure, axes = style.figure(
        2 * len(names),
        2,
        width=11,
        height=6.2 * len(names),
        width_ratios=[1.5, 1],
        squeeze=False,
    )
    texts = []
    for row, name in enumerate(names):
        found, part = of(arrays, name), axes[2 * row : 2 * row + 2]
        letters = "abcdefgh"[4 * row : 4 * row + 4]
        _plot_signal(part[:, 0], found, letters[:2], NAMES[name])
        _plot_errors(part[0, 1], found, letters[2])
        _plot_objective(part[1, 1], found, letters[3])
        texts.append(
            f"{NAMES[name]}: {found['num_train']} training windows of "
            f"{found['window']} whitened samples, then {len(found['y_test'])} test "
            f"windows; objective {found['objective']:.5g}, bound over all networks "
            f"{found['bound']:.5g}."
        )
    first = of(arrays, names[0])
    starts = len(first["adam_curves"])
    style.caption(
        figure,
        "\n".join(texts)
        + "\nThe convex program is over all activation patterns; a search finds those "
        "of the network, and the bound is proven. Local searches of the same objective "
        f"have {starts} starts each and the width and rate that end lowest; a start's "
        "time is its share of those that run together. No time contains compilation. "
        "beta is chosen on the last part of the training windows. AR: least squares.",
    )
    return figure


def _plot_signal(axes: Any, found: dict[str, Any], letters: str, name: str) -> None:
    y, index = found["y_test"], np.arange(len(found["y_test"]))
    convex, linear = found["convex_prediction"], found["linear_prediction"]
    top, bottom = axes
    top.plot(index, y, color=style.COLORS["truth"], lw=4, alpha=0.3, label="ECG")
    blue, muted = style.COLORS["convex"], style.COLORS["muted"]
    top.plot(index, convex, color=blue, lw=1.1, label="convex ReLU network")
    top.set(
        title=f"({letters[0]}) {name}: one-step predictions of the test part",
        ylabel="normalised signal",
        xlim=(0, len(y) - 1),
    )
    top.legend(loc="best", ncols=2)
    bottom.plot(index, linear - y, color=muted, lw=1.1, label="AR (linear)")
    bottom.plot(index, convex - y, color=blue, lw=1.1, label="convex ReLU network")
    bottom.set(
        title=f"({letters[1]}) Prediction errors",
        xlabel="test sample",
        ylabel="prediction - signal",
        xlim=(0, len(y) - 1),
    )
    bottom.legend(loc="best", ncols=2)


def _plot_errors(axis: Any, found: dict[str, Any], letter: str) -> None:
    rows = [
        ("AR (linear)", "linear", "muted"),
        ("convex ReLU", "convex", "convex"),
        ("Adam", "adam", _LOCAL["adam"]),
        ("L-BFGS", "lbfgs", _LOCAL["lbfgs"]),
        ("SGD", "sgd", _LOCAL["sgd"]),
        (f"Adam,\nbeta {found['own_beta']:g}", "own", _LOCAL["adam"]),
    ]
    if found["own_beta"] == found["beta"]:
        rows.pop()
    for place, (_, name, role) in enumerate(rows):
        color = style.COLORS[role]
        train = np.atleast_1d(found[f"{name}_train"])
        held = np.atleast_1d(found[f"{name}_held"])
        spread = np.linspace(-0.12, 0.12, len(held)) if len(held) > 1 else [0]
        axis.plot(train, place + np.asarray(spread), "o", mfc="none", color=color)
        axis.plot(held, place + np.asarray(spread), "o", color=color)
    axis.set(
        title=f"({letter}) Relative error, beta {found['beta']:g}, every start",
        xlabel="||prediction - signal|| / ||signal - mean||",
        ylim=(len(rows) - 0.5, -0.5),
    )
    axis.set_xlim(left=0)
    axis.set_yticks(range(len(rows)), [label for label, *_ in rows])
    muted = style.COLORS["muted"]
    handles = [
        Line2D([], [], ls="", marker="o", mfc="none", color=muted, label="training"),
        Line2D([], [], ls="", marker="o", color=muted, label="test"),
    ]
    axis.legend(handles=handles, loc="upper left")


def _plot_objective(axis: Any, found: dict[str, Any], letter: str) -> None:
    for kind, role in _LOCAL.items():
        values, seconds = found[f"{kind}_curves"][:, 1:], found[f"{kind}_times"][:, 1:]
        label = str(found[f"{kind}_label"])
        for index, (value, when) in enumerate(zip(values, seconds, strict=True)):
            axis.plot(
                when,
                value,
                lw=1,
                color=style.COLORS[role],
                label=None if index else label,
            )
    seconds, values = found["progress"].T
    known = values < values[0]  # than the zero network, which is reported at first
    axis.plot(
        seconds[known],
        values[known],
        "o-",
        ms=3,
        color=style.COLORS["convex"],
        label="convex program",
    )
    axis.axhline(
        found["bound"],
        color=style.COLORS["truth"],
        ls="--",
        lw=1,
        label="no network is below",
    )
    axis.set(
        title=f"({letter}) Training objective, beta {found['beta']:g}",
        xlabel="seconds",
        ylabel="objective",
        xscale="log",
        yscale="log",
    )
    axis.set_ylim(0.9 * float(found["bound"]), 6 * float(found["objective"]))
    style.plain_ticks(axis.yaxis)
    axis.legend(loc="upper right")
