"""The commands `fit`, `cv` and `path`: train, save, then print."""

from __future__ import annotations

import argparse
import contextlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import cross_val_score, train_test_split

from cvxjax.command_line.early_interrupts import INTERRUPTED, interruptible
from cvxjax.command_line.errors import InputError
from cvxjax.command_line.model_file import fingerprint, save_model
from cvxjax.command_line.printing import (
    DONE,
    NOT_CERTIFIED,
    Stopwatch,
    progress,
    row,
    say,
    show,
    show_notes,
)
from cvxjax.command_line.results import (
    parts_of,
    show_fit,
    show_score,
    status_of,
    why_not_certified,
)
from cvxjax.command_line.task import (
    Data,
    betas_of,
    check_out,
    make_estimator,
    read_data,
    reading_of,
)
from cvxjax.saving.files import check_writable
from cvxjax.solution import Status

_LEAST = 1e-3  # of beta_max, where a path ends


def run_fit(chosen: argparse.Namespace) -> int:
    """Trains one network, saves it, and prints its bounds and scores."""
    data = _read(chosen)
    train, test = _held_out(chosen, data)
    if chosen.cv is not None and not 2 <= chosen.cv <= len(data.y):
        raise InputError(f"want --cv, 2 folds to {len(data.y)}; got {chosen.cv}")
    folds, failure = None, None
    with _training(chosen) as (report, clock):
        model = make_estimator(chosen, data.labels, report=report)
        interrupted = _fit(model, data.X[train], data.y[train])
        if hasattr(model, "layers_"):
            failure = _save(chosen, [model], data, train)
        if chosen.cv is not None and not interrupted:
            folds, interrupted = _folds(model, data, chosen.cv)
    if not hasattr(model, "layers_"):
        say("interrupted: there is no network yet")
        return INTERRUPTED
    _show_model(chosen, data, model)
    show_score(model, data, train, test)
    if folds is not None:
        error = np.std(folds, ddof=1) / np.sqrt(len(folds))
        name = "accuracy" if data.labels.classes is not None else "R^2"
        row("cross-validated", f"{name} {np.mean(folds):.3f} +- {error:.3f} of "
            f"{len(folds)} folds")  # fmt: skip
    return _end(chosen, [model], clock, failure, interrupted)


def run_cv(chosen: argparse.Namespace) -> int:
    """Chooses beta by cross-validation, trains with it, saves and prints."""
    data = _read(chosen)
    everything = np.arange(len(data.y))
    folds = 5 if chosen.folds is None else chosen.folds
    if not 2 <= folds <= len(data.y):
        raise InputError(f"want --folds, 2 to {len(data.y)}; got {folds}")
    with _training(chosen) as (report, clock):
        model = make_estimator(chosen, data.labels)
        model.verbose = report
        if chosen.n_jobs not in (None, 1):
            model.verbose = False  # other processes cannot report to this one
        interrupted = _fit(model, data.X, data.y)
    if not hasattr(model, "layers_") or not hasattr(model, "best_beta_"):
        say("interrupted: there is no network yet")
        return INTERRUPTED
    path, model.beta = model.path_, model.best_beta_  # the plain estimator's
    failure = _save(chosen, [model], data, everything, path)
    _show_model(chosen, data, model)
    name = "accuracy" if data.labels.classes is not None else "R^2"
    show(f"        beta   {name:>8} of {len(path['scores'])} folds, standard error")
    for k, beta in enumerate(path["betas"]):
        mark = "  chosen" if beta == model.best_beta_ else ""
        show(
            f"{beta:12.4g}   {path['mean_score'][k]:8.3f}  "
            f"{path['standard_error'][k]:8.3f}{mark}"
        )
    show_score(model, data, everything, None)
    reached = int(np.sum(~np.isnan(path["mean_score"])))
    code = _end(chosen, [model], clock, failure, interrupted)
    if reached < len(path["betas"]) and code in (DONE, NOT_CERTIFIED):
        say(f"the time limit came at {reached} of {len(path['betas'])} betas")
        return NOT_CERTIFIED
    return code


def run_path(chosen: argparse.Namespace) -> int:
    """Trains a network for each beta, prints a row for each, and saves all."""
    data = _read(chosen)
    train, test = _held_out(chosen, data)
    betas = betas_of(chosen)
    if isinstance(betas, int):
        betas = np.geomspace(1, _LEAST, betas + 1)[1:]
    fitted: list[Any] = []
    interrupted = False
    name = "accuracy" if data.labels.classes is not None else "R^2"
    tested = f"  test {name}" if test is not None else ""
    show_notes(chosen.data, data.notes)
    show(
        "        beta        objective  certified gap  neurons "
        f"{name:>9}{tested}  status"
    )
    with _training(chosen) as (report, clock):
        model = make_estimator(chosen, data.labels, report=report)
        path = model.fit_path(data.X[train], data.y[train], list(betas))
        try:
            for found in path:
                fitted.append(found)
                _show_row(found, data, train, test)
        except KeyboardInterrupt:
            interrupted = True
    if not fitted:
        say("interrupted: there is no network yet")
        return INTERRUPTED
    more = {
        "betas": [found.beta for found in fitted],
        "objective": [sum(c.primal for c in found.certificates_) for found in fitted],
        "lower_bound": [sum(c.dual for c in found.certificates_) for found in fitted],
        "neurons": [found.n_neurons_ for found in fitted],
    }
    failure = _save(chosen, fitted, data, train, more)
    if failure is None and len(fitted) < len(betas) and not interrupted:
        say(f"the time limit came at {len(fitted)} of {len(betas)} betas")
        _end(chosen, fitted, clock, failure, False)
        return NOT_CERTIFIED
    return _end(chosen, fitted, clock, failure, interrupted)


def _read(chosen: argparse.Namespace) -> Data:
    """The data, once it is clear that results can be written."""
    check_writable(chosen.out)
    check_out(chosen.out, chosen.data)
    if not 0 <= chosen.seed < 2**32:
        raise InputError(f"want a seed from 0 to 2^32 - 1; got {chosen.seed}")
    return read_data(chosen)


@contextlib.contextmanager
def _training(chosen: argparse.Namespace) -> Iterator[tuple[Any, Stopwatch]]:
    """A report for the solver and a stopwatch; the solver's warnings are not shown."""
    tol = chosen.tol or 1e-3
    with interruptible(), warnings.catch_warnings(), Stopwatch() as clock:
        warnings.simplefilter("ignore", ConvergenceWarning)
        with progress(tol, searched=not chosen.gated) as report:
            yield report, clock


def _fit(model: Any, X: np.ndarray, y: np.ndarray) -> bool:
    """Fits the model, and returns whether it was interrupted."""
    try:
        model.fit(X, y)
    except KeyboardInterrupt:
        return True
    return False


def _held_out(
    chosen: argparse.Namespace, data: Data
) -> tuple[np.ndarray, np.ndarray | None]:
    """Positions among the kept rows: those of the fit, and those held out."""
    everything = np.arange(len(data.y))
    share = chosen.holdout
    if share is None:
        return everything, None
    if not 0 < share < 1:
        raise InputError(f"want --holdout, a share between 0 and 1; got {share:g}")
    classes = data.labels.classes is not None
    try:
        train, test = train_test_split(
            everything,
            test_size=share,
            random_state=chosen.seed,
            stratify=data.y if classes else None,
        )
    except ValueError as error:
        raise InputError(f"--holdout {share:g}: {error}") from None
    return np.sort(train), np.sort(test)


def _folds(model: Any, data: Data, count: int) -> tuple[np.ndarray | None, bool]:
    """The scores of new fits in folds, and whether they were interrupted."""
    again = clone(model)
    again.verbose = False
    try:
        return cross_val_score(again, data.X, data.y, cv=count), False
    except KeyboardInterrupt:
        return None, True


def _save(
    chosen: argparse.Namespace,
    fitted: list[Any],
    data: Data,
    train: np.ndarray,
    more: Any = None,
) -> Exception | None:
    """Writes the file, and returns what went wrong."""
    if chosen.out is None:
        return None
    rows = np.zeros(len(data.rows), bool)
    rows[np.flatnonzero(data.rows)[train]] = True
    try:
        save_model(
            chosen.out,
            fitted,
            features=data.features,
            labels=data.labels,
            label_at=data.label_at,
            reading=reading_of(chosen, data.mark),
            rows=rows,
            data=fingerprint(data.X[train], data.y[train]),
            more=more,
        )
    except (ValueError, OSError) as error:
        return error
    return None


def _show_model(chosen: argparse.Namespace, data: Data, model: Any) -> None:
    show_notes(chosen.data, data.notes)
    n, d = data.X.shape
    row("table", f"{n:,} rows, {d:,} features")
    show_fit(parts_of(model, data.labels), model)


def _show_row(
    model: Any, data: Data, train: np.ndarray, test: np.ndarray | None
) -> None:
    """A row of the table of a path."""
    certificates = model.certificates_
    objective = sum(certificate.primal for certificate in certificates)
    score = model.score(data.X[train], data.y[train])
    line = f"{model.beta:12.4g} {objective:16.8g} {model.certificate_.gap:14.1e}"
    line += f" {model.n_neurons_:8} {score:9.3f}"
    if test is not None:
        tested = model.score(data.X[test], data.y[test])
        line += f" {tested:{len('test accuracy')}.3f}"
    show(f"{line}  {status_of(model).name}")


def _end(
    chosen: argparse.Namespace,
    fitted: list[Any],
    clock: Stopwatch,
    failure: Exception | None,
    interrupted: bool,
) -> int:
    """Prints seconds and file, and decides the exit code."""
    running = clock.seconds - clock.compiling
    row("seconds", f"{running:.1f} running, {clock.compiling:.1f} compiling")
    if failure is not None:
        raise failure
    if chosen.out is not None:
        row("weights", chosen.out)
    interrupted |= any(Status.INTERRUPTED in model.statuses_ for model in fitted)
    if interrupted:
        say("interrupted: this is the best so far")
        return INTERRUPTED
    for model in fitted:
        if reason := why_not_certified(model, chosen.tol):
            say(reason)
            return NOT_CERTIFIED
    return DONE
