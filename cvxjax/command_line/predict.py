"""The commands `predict` and `certify`: what a saved file says of a table."""

from __future__ import annotations

import argparse
import csv
import io
import sys
from pathlib import Path
from typing import Any

import jax
import numpy as np

import cvxjax as cj
from cvxjax.command_line.errors import InputError
from cvxjax.command_line.model_file import (
    Model,
    fingerprint,
    is_model,
    load_model,
    prepared_for,
)
from cvxjax.command_line.old_weights import load_old, load_to_certify, read_features
from cvxjax.command_line.printing import DONE, NOT_CERTIFIED, noting, row, say, show
from cvxjax.command_line.results import (
    Shown,
    beta_words,
    objectives,
    score_of,
    show_parts,
    show_problem,
    shown_parts,
)
from cvxjax.command_line.tables import Table, read_npz, read_table, refusing
from cvxjax.command_line.task import check_out, reading_flags
from cvxjax.saving.files import atomic, check_writable

_CORRUPT = ValueError, TypeError, IndexError, AttributeError


def run_predict(chosen: argparse.Namespace) -> int:
    """Writes predictions for every row of a table, and their score if it has labels."""
    check_writable(chosen.out, (".csv", ".tsv", ".txt"))
    check_out(chosen.out, chosen.data, chosen.model)
    if not _is_new(chosen.model):
        return _predict_by_old(chosen)
    model = load_model(chosen.model)
    table = read_table(chosen.data, reading_flags(chosen, model))
    X, at, notes = features_of(model, table)
    fitted = model.fitted[model.at(chosen.beta)]
    names, columns = _predictions(fitted, model, X)
    lines = _as_csv(names, columns)
    scored = None
    if at is not None:
        known = ~table.missing[:, at]
        if known.any():
            y = model.labels.of(table.rows(known), at)
            scored = score_of(fitted, X[known], y), int(np.sum(known))
    _write(chosen.out, lines)
    tell = say if chosen.out is None else show
    for note in [*table.notes, *notes]:
        tell(note)
    if len(model.fitted) > 1 or chosen.beta is not None:
        tell(f"network: that of beta {fitted.beta:g} (--beta)")
    if scored is not None:
        tell(f"score: {scored[0]} on {scored[1]:,} rows with a label")
    if chosen.out is not None:
        show(f"{len(X):,} predictions: {chosen.out}")
    return DONE


def features_of(model: Model, table: Table) -> tuple[np.ndarray, int | None, list[str]]:
    """Features [n, d] of a table, the position of its labels, and notes."""
    notes: list[str] = []
    names = model.labels.name
    at = None
    if table.headed and model.features.headed:
        at = table.names.index(names) if names in table.names else None
    elif len(table.names) == len(model.features.columns) + 1:
        at = model.label_at
        notes.append(f"label: column {at}, as in the fit")
    others = table.take([j for j in range(len(table.names)) if j != at])
    return model.features.of(others, notes), at, notes


def _predictions(
    fitted: Any, model: Model, X: np.ndarray
) -> tuple[list[str], list[np.ndarray]]:
    """The columns of the answer, by their names."""
    found = fitted.predict(X)
    if model.labels.classes is None:
        return ["prediction"], [found]
    classes = np.array(model.labels.classes, object)
    names, columns = ["prediction"], [classes[found]]
    if fitted.loss == "logistic":
        shares = fitted.predict_proba(X)
        names += [f"p_{name}" for name in classes]
        columns += list(shares.T)
    return names, columns


def _as_csv(names: list[str], columns: list[np.ndarray]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(names)
    for values in zip(*columns, strict=True):
        writer.writerow([v if isinstance(v, str) else f"{v:.10g}" for v in values])
    return text.getvalue()


def _write(out: Path | None, lines: str) -> None:
    """Writes predictions to a file, whole or not at all, or to stdout."""
    if out is not None:
        if out.suffix == ".tsv":
            rows = csv.reader(io.StringIO(lines))
            lines = "".join("\t".join(cells) + "\n" for cells in rows)
        with atomic(out) as file:
            file.write(lines.encode())
        return
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        sys.stdout.write(lines)
        sys.stdout.flush()
    except BrokenPipeError:
        show("")  # what reads it has enough
    except OSError as error:
        show("")  # nothing is left to write when the process ends
        why = error.strerror or error
        raise InputError(f"cannot print the predictions: {why}") from None


def run_certify(chosen: argparse.Namespace) -> int:
    """Certifies saved networks on the data of their fit, without a solver."""
    tol = chosen.tol
    if tol is not None and not tol >= 0:
        raise InputError(f"want tol >= 0; got {tol}")
    data, path = chosen.data, chosen.model
    if _is_file_of_ours(data) and not _is_file_of_ours(path):
        data, path = path, data
    row("weights", path)
    if not _is_new(path):
        return _certify_old(path, data, tol)
    model = load_model(path)
    table = read_table(data, reading_flags(chosen, model))
    X, at, _ = features_of(model, table)
    if at is None or len(X) != len(model.rows):
        raise InputError(f"{path}: these weights belong to other data than {data}")
    kept = model.rows
    y = model.labels.of(table.rows(kept), at)
    if fingerprint(X[kept], y) != model.data:
        raise InputError(f"{path}: these weights belong to other data than {data}")
    worst = -np.inf
    for fitted, parts in zip(model.fitted, model.parts, strict=True):
        with jax.enable_x64(fitted.dtype == "float64"), noting():
            shown = _certified(path, data, fitted, parts, model, X[kept], y, tol)
        show_problem(shown[0], beta_words(fitted))
        show_parts(shown)
        worst = max(worst, *(max(p.gap, p.certificate.gap) for p in shown))
    return _verdict(worst, tol)


def _certified(
    path: Path,
    data: Path,
    fitted: Any,
    parts: Any,
    model: Model,
    X: np.ndarray,
    y: np.ndarray,
    tol: float | None,
) -> list[Shown]:
    """The programs of one network, each with a certificate made now."""
    saved = fitted.scaling_
    prepared = prepared_for(fitted, X, y)
    tasks = [one.task for one in prepared]
    if len(tasks) != len(parts):
        raise InputError(f"{path}: corrupt: {len(parts)} parts, want {len(tasks)}")
    if not saved.is_close(fitted.scaling_):
        raise InputError(f"{path}: its scaling is not that of {data}")
    shifts = np.concatenate([one.shift for one in prepared])
    constants = fitted.intercept_ - shifts
    moved, solved, certificates = [], [], []
    for task, part in zip(tasks, parts, strict=True):
        try:
            task = part.task_of(task)
            program, solution = part.rebuilt(task)
            certificate = cj.certify(program, solution, tol=tol)
        except (*_CORRUPT, cj.CertificateError) as error:
            raise InputError(f"{path}: corrupt: {error}") from None
        moved.append(task)
        solved.append((program, solution))
        certificates.append(certificate.times(task.weight))
    fitted.beta_ = np.array(
        [float(p.beta) * t.weight for (p, _), t in zip(solved, tasks, strict=True)]
    )
    units = [task.weight for task in tasks]
    values = objectives(fitted.layers_, constants, moved, solved)
    bases = [task.basis for task in moved]
    return shown_parts(
        fitted.layers_, model.labels, solved, certificates, units, values, bases
    )


def _verdict(worst: float, tol: float | None) -> int:
    if not np.isfinite(worst) or (tol is not None and worst > tol):
        above = f", above {tol:g}" if tol is not None else ""
        say(f"not certified: the gap is {worst:.1e}{above}")
        return NOT_CERTIFIED
    return DONE


def _is_file_of_ours(path: Path) -> bool:
    """Whether it is an archive of ours, and no table."""
    if path.suffix != ".npz" or not path.is_file():
        return False
    with refusing(path):
        return "first/kernel" in (saved := read_npz(path)) or is_model(saved)


def _is_new(path: Path) -> bool:
    with refusing(path):
        return is_model(read_npz(path))


def _predict_by_old(chosen: argparse.Namespace) -> int:
    old = load_old(chosen.model)
    X, _ = read_features(chosen.data, old.reading)
    found = old.outputs(X)
    _write(chosen.out, _as_csv(["prediction"], [found]))
    if chosen.out is not None:
        show(f"{len(found):,} predictions: {chosen.out}")
    return DONE


def _certify_old(path: Path, data: Path, tol: float | None) -> int:
    with noting():
        program, solution, layers = load_to_certify(path, data)
        certificate = cj.certify(program, solution, tol=tol)
    labels: Any = None
    (shown,) = shown_parts(layers, labels, [(program, solution)], [certificate], [1.0])
    show_problem(shown, f"beta {float(program.beta):g}")
    show_parts([shown])
    return _verdict(max(shown.gap, certificate.gap), tol)
