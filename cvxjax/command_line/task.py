"""From the flags to data and an estimator."""

from __future__ import annotations

import argparse
import dataclasses
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import cvxjax as cj
from cvxjax import estimators
from cvxjax.command_line.errors import InputError
from cvxjax.command_line.features import Features, decide_features, written_as
from cvxjax.command_line.labels import Labels, decide_labels
from cvxjax.command_line.tables import ReadingFlags, Table, read_table

if TYPE_CHECKING:
    from cvxjax.command_line.model_file import Model

_REGRESSION = ("squared", "huber", "pinball")
_CLASSIFICATION = ("logistic", "hinge", "squared_hinge", "squared")


@dataclasses.dataclass(frozen=True)
class Data:
    """A table as it is trained on."""

    X: np.ndarray  # [n, d], the rows that are kept
    y: np.ndarray  # [n], numbers or the numbers of classes
    rows: np.ndarray  # [rows of the table], which are kept
    features: Features
    labels: Labels
    label_at: int  # position in the table
    mark: str  # of decimals
    notes: list[str]  # how everything was read, a line each


_REMEMBERED = ("sep", "decimal", "header", "index_col", "drop", "label")


def reading_flags(
    chosen: argparse.Namespace, model: Model | None = None
) -> ReadingFlags:
    """The flags that say how a file is read, else those of a model's fit."""
    given: dict[str, Any] = {name: getattr(chosen, name, None) for name in _REMEMBERED}
    known: tuple[str, ...] = ()
    if model is not None:
        fit = model.reading
        given = {k: fit.get(k) if v is None else v for k, v in given.items()}
        given["label"] = model.labels.name
        if model.features.headed and given["header"] != "no":
            known = tuple(column.name for column in model.features.columns)
            given["drop"] = chosen.drop  # other columns are left out anyway
    drop = names_of(given.pop("drop"))
    return ReadingFlags(drop=drop, known=known, **given)


def reading_of(chosen: argparse.Namespace, mark: str) -> dict[str, str | None]:
    """The flags of a fit and the decimal mark that it found, for its file."""
    given = {name: getattr(chosen, name, None) for name in _REMEMBERED}
    return given | {"decimal": mark}


def names_of(text: str | None) -> tuple[str, ...]:
    """Names with commas between them."""
    return tuple(name.strip() for name in (text or "").split(",") if name.strip())


def read_data(chosen: argparse.Namespace) -> Data:
    """Reads the table, and decides what its columns are.

    Raises:
      InputError: it cannot be read, or cannot be trained on.
    """
    table = read_table(chosen.data, reading_flags(chosen))
    notes = list(table.notes)
    at = _label_of(table, chosen)
    rows = ~table.missing[:, at]
    if not rows.all():
        lacking = int(np.sum(~rows))
        if chosen.missing == "refuse" or not rows.any():
            raise InputError(
                f"{chosen.data}: {lacking:,} rows without a label in {table.names[at]}"
            )
        how = written_as(table.text[~rows, at])
        notes.append(f"rows without a label left out: {lacking:,}{how}")
    mark, table = table.mark, table.rows(rows)
    classify = getattr(chosen, "classify", None)
    positive = chosen.positive
    if classify is False and positive is not None:
        raise InputError("want --positive without --regress")
    labels, said = decide_labels(table, at, classify=classify, positive=positive)
    notes += said
    others = table.take([j for j in range(len(table.names)) if j != at])
    categorical = names_of(chosen.categorical)
    features, kept, said = decide_features(
        others, categorical=categorical, missing=chosen.missing
    )
    notes += said
    rows = rows.copy()
    rows[np.flatnonzero(rows)[~kept]] = False
    X = features.of(others.rows(kept))
    y = labels.of(table.rows(kept), at)
    if labels.classes is not None and len(set(y)) < len(labels.classes):
        raise InputError("a class has no row without missing values (--missing mean)")
    return Data(X, y, rows, features, labels, at, mark, notes)


def _label_of(table: Table, chosen: argparse.Namespace) -> int:
    if str(chosen.data).lower().endswith(".npz"):
        name = chosen.label or "y"
        if name not in table.names:
            raise InputError(f"{chosen.data}: want an array {name} of labels; got none")
        return table.names.index(name)
    if len(table.names) < 2:
        raise InputError(f"{chosen.data}: want two columns or more; got one (--sep)")
    at = len(table.names) - 1 if chosen.label is None else table.find(chosen.label)
    if table.missing[:, at].all():
        raise InputError(f"{chosen.data}: the label {table.names[at]} is empty")
    return at


def make_estimator(
    chosen: argparse.Namespace, labels: Labels, *, report: Any = None
) -> Any:
    """The estimator that the flags describe.

    Raises:
      InputError: flags that do not fit each other or the labels.
    """
    classes, loss = labels.classes is not None, loss_name(chosen, labels)
    options: dict[str, Any] = {
        "loss": loss,
        "relative_beta": not chosen.absolute_beta,
        "fit_intercept": chosen.intercept,
        "hidden_bias": chosen.bias,
        "standardize": chosen.standardize,
        "gated": chosen.gated,
        "patterns": _patterns(chosen.patterns),
        "solver": _solver(chosen),
        "max_neurons": chosen.max_neurons,
        "time_limit": getattr(chosen, "time_limit", None),
        "dtype": "float32" if chosen.float32 else "float64",
        "random_state": chosen.seed,
        "verbose": report if report is not None else False,
    }
    if chosen.tol is not None:
        options["tol"] = chosen.tol
    if classes:
        options["multi_class"] = "softmax" if chosen.softmax else "auto"
        options["class_weight"] = "balanced" if chosen.balanced else None
    elif chosen.softmax or chosen.balanced:
        raise InputError("want --softmax and --balanced for a label of classes alone")
    if chosen.quantile is not None:
        options["quantile"] = chosen.quantile
    if hasattr(chosen, "one_standard_error"):  # the command `cv`
        options["betas"] = betas_of(chosen)
        options["cv"] = chosen.folds
        options["one_standard_error"] = chosen.one_standard_error
        options["n_jobs"] = chosen.n_jobs
        kind: Any = estimators.ReLURegressorCV
        return (estimators.ReLUClassifierCV if classes else kind)(**options)
    kind = estimators.ReLUClassifier if classes else estimators.ReLURegressor
    return kind(getattr(chosen, "beta", None) or 0.05, **options)


def loss_name(chosen: argparse.Namespace, labels: Labels) -> str:
    """The loss that the flags ask for.

    Raises:
      InputError: it does not fit the labels.
    """
    known = _REGRESSION if labels.classes is None else _CLASSIFICATION
    loss = chosen.loss or known[0]
    if loss not in known:
        kind, flag = "classes", "--regress takes numbers"
        if labels.classes is None:
            kind, flag = "numbers", "--classify takes classes"
        raise InputError(
            f"want --loss {', '.join(known)} for a label of {kind}; got {loss} ({flag})"
        )
    if chosen.quantile is not None and loss != "pinball":
        raise InputError(f"want --quantile with --loss pinball; got {loss}")
    return loss


def betas_of(chosen: argparse.Namespace) -> Any:
    """The betas of a path, descending, or how many."""
    if chosen.betas is not None:
        return sorted(chosen.betas, reverse=True)
    num = 10 if chosen.num_betas is None else chosen.num_betas
    if num < 1:
        raise InputError(f"want num_betas >= 1; got {num}")
    if chosen.absolute_beta:
        raise InputError("want --betas with --absolute_beta")
    return num


def _patterns(wanted: str | None) -> int | str | None:
    if wanted in (None, "auto"):
        return None
    if wanted == "enumerate":
        return "all"
    if not re.fullmatch(r"[1-9][0-9]*", wanted):
        raise InputError(f"want --patterns enumerate or a NUMBER >= 1; got {wanted}")
    return int(wanted)


def _solver(chosen: argparse.Namespace) -> Any:
    """The solver by its name, with its number of steps."""
    if chosen.solver is None:
        if chosen.max_iters is not None:
            raise InputError("want --solver with --max_iters")
        return None
    if chosen.solver not in cj.solvers.__all__:
        raise InputError(
            f"want --solver, one of {', '.join(cj.solvers.__all__)}; got "
            f"{chosen.solver}"
        )
    solver = getattr(cj.solvers, chosen.solver)()
    if chosen.max_iters is None:
        return solver
    return solver.replace(max_iters=chosen.max_iters)


def check_out(out: Path | None, *inputs: Path) -> None:
    """InputError if the output would overwrite an input."""
    for path in inputs:
        if out is not None and out.exists() and path.exists() and out.samefile(path):
            raise InputError(f"want --out, another file than {path}, which is read")
