"""The command `info`: what a table holds, before anything is trained."""

from __future__ import annotations

import argparse
import importlib.metadata
import platform

import jax
import numpy as np

from cvxjax.arrangements.patterns import count_bound, find_lines
from cvxjax.bounds.ascent import highest_found
from cvxjax.command_line.printing import DONE, row, show_notes
from cvxjax.command_line.task import Data, loss_name, read_data
from cvxjax.estimators.samples import Scaling, merged
from cvxjax.terms import losses

_CLIMBED = 12  # ascents of each sign, of which a table needs few
_PACKAGES = "cvxjax", "jax", "flax", "numpy"


def run_info(chosen: argparse.Namespace) -> int:
    """Prints how the table is read, its rank, its patterns, beta_max, versions."""
    data = read_data(chosen)
    show_notes(chosen.data, data.notes)
    ones = np.ones(len(data.y))
    X, y, weights = merged(data.X, data.y, ones)
    scaling = Scaling.of(X, weights, standardize=chosen.standardize, ones=chosen.bias)
    inputs = scaling.apply(X)
    count, rank = find_lines(inputs).directions.shape
    distinct = f", {len(X):,} of them distinct" if len(X) < len(data.y) else ""
    row("samples n", f"{len(data.y):,}{distinct}")
    form = "standardised" if chosen.standardize else "as they are"
    row("features d", f"{data.X.shape[1]:,}, {form}")
    row("rank", f"{rank}{' with the column of ones' if chosen.bias else ''}")
    row("directions", f"{count:,} distinct among the samples")
    row("pattern bound", _count(max(1, count_bound(count, rank))))
    name = loss_name(chosen, data.labels)
    highest = _highest(chosen, data, inputs, y, weights, name)
    text = f"{max(highest):.6g}"
    if len(highest) > 1:
        text = f"{min(highest):.6g} to {max(highest):.6g}, by class"
    row("beta_max", f"{text} ({name} loss; the largest price that a search finds)")
    row("devices", f"{jax.device_count()} x {jax.devices()[0].device_kind}")
    text = ", ".join(f"{at} {importlib.metadata.version(at)}" for at in _PACKAGES)
    row("versions", f"{text}, python {platform.python_version()}")
    return DONE


def _highest(
    chosen: argparse.Namespace,
    data: Data,
    inputs: np.ndarray,
    y: np.ndarray,
    weights: np.ndarray,
    name: str,
) -> list[float]:
    """The least beta for which zero is optimal, for each network; by a search."""
    classes = data.labels.classes
    labels = [y]
    if classes is not None:
        codes = range(len(classes)) if len(classes) > 2 else [1]
        labels = [np.where(y == code, 1.0, -1.0) for code in codes]
    loss = losses.pinball(chosen.quantile or 0.5)
    if name != "pinball":
        loss = getattr(losses, name)()
    loss = losses.weighted(loss, weights)
    if chosen.intercept:
        loss = losses.with_intercept(loss)
    zero = np.zeros(len(y))
    slopes = [-loss.gradient(zero, own) for own in labels]
    return [highest_found(inputs, slope, climbed=_CLIMBED) for slope in slopes]


def _count(number: int) -> str:
    """A number in full, or its power of ten where it has more than twelve digits."""
    return f"{number:,}" if number < 10**12 else f"10^{len(str(number)) - 1}"
