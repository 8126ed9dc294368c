"""The command `plot`: pictures of what a saved network does on a table."""

from __future__ import annotations

import argparse
import io
from typing import Any

import matplotlib.style
import numpy as np
from cycler import cycler
from matplotlib.figure import Figure

from cvxjax.command_line.errors import InputError
from cvxjax.command_line.model_file import Model, load_model
from cvxjax.command_line.predict import features_of
from cvxjax.command_line.printing import DONE, show
from cvxjax.command_line.results import score_of
from cvxjax.command_line.tables import read_table
from cvxjax.command_line.task import check_out, reading_flags
from cvxjax.saving.files import atomic, check_writable

_BLUE, _ORANGE, _GREY = "#0072B2", "#D55E00", "#7F7F7F"  # Okabe & Ito
_STYLE: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.prop_cycle": cycler(color=[_BLUE, _ORANGE]),
    "axes.spines.right": False,
    "axes.spines.top": False,
    "figure.constrained_layout.use": True,
    "grid.color": "#DDDDDD",
    "legend.frameon": False,
    "savefig.dpi": 200,
}
_MOST_NEURONS, _MOST_FEATURES, _MOST_CLASSES = 20, 30, 30


def run_plot(chosen: argparse.Namespace) -> int:
    """Draws the fit, the residuals, the path or the neurons."""
    check_writable(chosen.out, (".png", ".pdf", ".svg"))
    check_out(chosen.out, chosen.data, chosen.model)
    model = load_model(chosen.model)
    table = read_table(chosen.data, reading_flags(chosen, model))
    X, at, _ = features_of(model, table)
    if at is None and chosen.kind != "neurons":
        raise InputError(
            f"{chosen.data}: want the label {model.labels.name} to draw --kind "
            f"{chosen.kind}"
        )
    known = np.ones(len(X), bool) if at is None else ~table.missing[:, at]
    y = np.zeros(0) if at is None else model.labels.of(table.rows(known), at)
    same = len(model.rows) == len(X)
    trained = model.rows[known] if same else np.zeros(int(known.sum()), bool)
    fitted = model.fitted[model.at(chosen.beta)]
    draw = {
        "fit": _draw_fit,
        "residuals": _draw_residuals,
        "path": _draw_path,
        "neurons": _draw_neurons,
    }[chosen.kind]
    with matplotlib.style.context(["default", _STYLE]):
        figure = draw(model, fitted, X[known], y, trained)
        picture = io.BytesIO()
        figure.savefig(picture, format=chosen.out.suffix[1:])
    with atomic(chosen.out) as file:
        file.write(picture.getvalue())
    show(f"{chosen.kind}: {chosen.out}")
    return DONE


def _title(model: Model, fitted: Any, X: np.ndarray, y: np.ndarray) -> str:
    return f"{score_of(fitted, X, y)} on {len(y):,} rows, {fitted.n_neurons_} neurons"


def _groups(trained: np.ndarray) -> list[tuple[str, np.ndarray, str]]:
    """Rows of the fit and others, with their colours."""
    if not trained.any():
        return [("rows", ~trained, _BLUE)]
    groups = [("rows of the fit", trained, _BLUE), ("other rows", ~trained, _ORANGE)]
    return [group for group in groups if group[1].any()]


def _draw_fit(
    model: Model, fitted: Any, X: np.ndarray, y: np.ndarray, trained: np.ndarray
) -> Figure:
    """The curve of one feature, predictions beside labels, or a confusion matrix."""
    if model.labels.classes is not None:
        return _draw_confusion(model, fitted, X, y)
    figure = Figure(figsize=(5.2, 4.2))
    axes = figure.subplots()
    curve = X.shape[1] == 1
    across = X[:, 0] if curve else fitted.predict(X)
    for name, rows, color in _groups(trained):
        label = f"{name}, {score_of(fitted, X[rows], y[rows])}"
        axes.plot(across[rows], y[rows], ".", color=color, label=label, alpha=0.7)
    if curve:
        grid = np.linspace(X.min(), X.max(), 500)[:, None]
        axes.plot(grid[:, 0], fitted.predict(grid), "k-", label="network")
        axes.set_xlabel(model.features.names[0])
    else:
        ends = [min(across.min(), y.min()), max(across.max(), y.max())]
        axes.plot(ends, ends, "--", color=_GREY, label="equal")
        axes.set_xlabel(f"predicted {model.labels.name}")
    axes.set_ylabel(model.labels.name)
    axes.set_title(f"{fitted.n_neurons_} neurons")
    axes.legend()
    return figure


def _draw_confusion(model: Model, fitted: Any, X: np.ndarray, y: np.ndarray) -> Figure:
    classes = model.labels.classes or ()
    count = len(classes)
    if count > _MOST_CLASSES:
        raise InputError(f"want at most {_MOST_CLASSES} classes to draw; got {count}")
    found = np.zeros((count, count), int)
    np.add.at(found, (y.astype(int), fitted.predict(X).astype(int)), 1)
    side = max(4.0, 1.5 + 0.6 * count)
    figure = Figure(figsize=(side, side))
    axes = figure.subplots()
    axes.grid(False)
    share = found / np.maximum(found.sum(axis=1, keepdims=True), 1)
    axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for i in range(count):
        for j in range(count):
            color = "white" if share[i, j] > 0.5 else "black"
            axes.text(j, i, f"{found[i, j]:,}", ha="center", va="center", color=color)
    turned = 0 if max(map(len, classes)) * count < 25 else 90
    axes.set_xticks(range(count), classes, rotation=turned)
    axes.set_yticks(range(count), classes)
    axes.set_xlabel(f"predicted {model.labels.name}")
    axes.set_ylabel(model.labels.name)
    axes.set_title(_title(model, fitted, X, y), fontsize=10)
    return figure


def _draw_residuals(
    model: Model, fitted: Any, X: np.ndarray, y: np.ndarray, trained: np.ndarray
) -> Figure:
    if model.labels.classes is not None:
        raise InputError("want --kind fit for a label of classes; got residuals")
    figure = Figure(figsize=(5.2, 4.2))
    axes = figure.subplots()
    found = fitted.predict(X)
    for name, rows, color in _groups(trained):
        error = y[rows] - found[rows]
        label = f"{name}, root mean square {np.sqrt(np.mean(error**2)):.3g}"
        axes.plot(found[rows], error, ".", color=color, label=label, alpha=0.7)
    axes.axhline(0, color=_GREY, linestyle="--")
    axes.set_xlabel(f"predicted {model.labels.name}")
    axes.set_ylabel(f"{model.labels.name} less its prediction")
    axes.set_title(f"{fitted.n_neurons_} neurons")
    axes.legend()
    return figure


def _draw_path(
    model: Model, _: Any, X: np.ndarray, y: np.ndarray, trained: np.ndarray
) -> Figure:
    if len(model.fitted) < 2:
        raise InputError("want networks of several betas to draw a path; got one")
    figure = Figure(figsize=(5.2, 5.6))
    upper, lower = figure.subplots(2, sharex=True)
    betas = [one.beta for one in model.fitted]
    for name, rows, color in _groups(trained):
        scores = [one.score(X[rows], y[rows]) for one in model.fitted]
        upper.plot(betas, scores, "o-", color=color, label=name)
    upper.set_ylabel("accuracy" if model.labels.classes is not None else "$R^2$")
    upper.legend()
    lower.plot(betas, [one.n_neurons_ for one in model.fitted], "s-", color="black")
    lower.set_ylabel("neurons")
    relative = model.fitted[0].relative_beta
    of = "weight decay beta, of beta_max" if relative else "weight decay beta"
    lower.set_xlabel(of)
    lower.set_xscale("log")
    return figure


def _draw_neurons(
    model: Model, fitted: Any, X: np.ndarray, _: np.ndarray, __: np.ndarray
) -> Figure:
    """The neurons of the largest share in the outputs, and their weights."""
    layers = fitted.layers_
    if not layers.width:
        raise InputError("the network has no neurons: its weights are zero")
    names = [*model.features.names, *(["1"] if fitted.scaling_.ones else [])]
    hidden = layers.hidden(fitted.scaling_.apply(X))
    share = np.mean(np.abs(hidden), axis=0) * np.sum(np.abs(layers.second), axis=1)
    order = np.argsort(-share)[:_MOST_NEURONS]
    unit = layers.first / np.linalg.norm(layers.first, axis=0)
    features = np.argsort(-np.max(np.abs(unit[:, order]), axis=1))[:_MOST_FEATURES]
    features = np.sort(features)
    figure = Figure(figsize=(3.5 + 0.28 * len(features), 1.8 + 0.26 * len(order)))
    left, right = figure.subplots(1, 2, width_ratios=[1, max(1, len(features) / 8)])
    places = np.arange(len(order))
    signs = layers.second[order, np.argmax(np.abs(layers.second[order]), axis=1)]
    left.barh(places, share[order], color=np.where(signs > 0, _BLUE, _ORANGE))
    left.set_yticks(places, [str(k + 1) for k in places])
    left.set_ylim(len(order) - 0.5, -0.5)
    left.set_ylabel("neuron")
    left.set_xlabel("mean size of its\ncontribution")
    to = "" if layers.second.shape[1] == 1 else "\nto its largest class"
    left.set_title(f"blue adds,\norange takes away{to}", fontsize=9)
    right.grid(False)
    image = right.imshow(
        unit[np.ix_(features, order)].T, cmap="BrBG", vmin=-1, vmax=1, aspect="auto"
    )
    right.set_xticks(range(len(features)), [names[j] for j in features], rotation=90)
    right.set_yticks([])
    scaled = "standardised features" if fitted.standardize else "features"
    right.set_title(f"direction of its weights,\n{scaled}", fontsize=9)
    figure.colorbar(image, ax=right, shrink=0.8)
    return figure
