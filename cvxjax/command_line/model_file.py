"""The file that `fit`, `cv` and `path` save: networks, and what proves them good.

It holds, in an .npz archive without pickles: how a table becomes features and labels;
the networks, one for each beta; and for each of their parts, one for each class that is
told from the rest, the solution and its dual vector, from which `certify` computes the
bounds anew. Nothing that the solver said of itself is believed.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import numpy as np

from cvxjax import estimators
from cvxjax.command_line.errors import InputError
from cvxjax.command_line.features import Features
from cvxjax.command_line.labels import Labels
from cvxjax.command_line.parts import Part, read_parts
from cvxjax.command_line.tables import read_npz, refusing
from cvxjax.estimators.layers import Layers
from cvxjax.estimators.samples import Scaling
from cvxjax.saving.files import write_arrays
from cvxjax.solution import Status

FORMAT = 2
_CLASSES = ("ReLURegressor", "ReLUClassifier")


@dataclasses.dataclass(frozen=True)
class Model:
    """What a file holds."""

    features: Features
    labels: Labels
    label_at: int  # position of the label in the table
    reading: dict[str, str | None]  # flags and decimal mark of the fit
    rows: np.ndarray  # [n], which rows of the table were trained on
    data: str  # a fingerprint of their features and labels
    fitted: tuple[Any, ...]  # estimators, one for each beta, without programs
    parts: tuple[tuple[Part, ...], ...]  # of each beta, those of each class

    def at(self, beta: float | None) -> int:
        """The network whose beta is nearest, by default the last one."""
        betas = np.array([one.beta for one in self.fitted])
        return len(betas) - 1 if beta is None else int(np.argmin(abs(betas - beta)))


def fingerprint(X: Any, y: Any) -> str:
    """A hash of samples as they enter a program."""
    digest = hashlib.sha256(repr((np.shape(X), np.dtype(X.dtype))).encode())
    for array in (X, y):
        digest.update(np.ascontiguousarray(np.asarray(array) + 0.0).tobytes())
    return digest.hexdigest()


def save_model(
    path: Path,
    fitted: Sequence[Any],
    *,
    features: Features,
    labels: Labels,
    label_at: int,
    reading: Mapping[str, str | None],
    rows: np.ndarray,
    data: str,
    more: Mapping[str, Any] | None = None,
) -> None:
    """Writes one .npz file, whole or not at all.

    Args:
      path: of the file.
      fitted: estimators, one for each beta.
      features, labels, label_at, reading, rows, data: as in `Model`.
      more: arrays that are kept beside, for people who read the file.
    """
    arrays: dict[str, Any] = dict(more or {})
    told = []
    for k, model in enumerate(fitted):
        params = model.get_params(deep=False)
        params["solver"] = params["verbose"] = params["random_state"] = None
        params = {name: params[name] for name in _plain_params(params)}
        if labels.classes is not None:
            params["multi_class"] = model.multi_class_
        told.append(
            {
                "params": params,
                "ones": model.scaling_.ones,
                "statuses": [Status(status).name for status in model.statuses_],
                "beta": np.asarray(model.beta_).tolist(),
                "beta_max": np.asarray(model.beta_max_).tolist(),
            }
        )
        name = _prefix(k, len(fitted))
        arrays[f"{name}mean"] = model.scaling_.mean
        arrays[f"{name}scale"] = model.scaling_.scale
        arrays[f"{name}first/kernel"] = model.layers_.first
        arrays[f"{name}second/kernel"] = model.layers_.second
        arrays[f"{name}intercept"] = model.intercept_
        if model.layers_.gates is not None:
            arrays[f"{name}network_gates"] = model.layers_.gates
        kept = model.programs_, model.solutions_, model._constants, model._bases
        for j, of_part in enumerate(zip(*kept, strict=True)):
            part = Part.of(*of_part)
            for key, value in vars(part).items():
                if value is not None:
                    arrays[f"{_prefix(k, len(fitted))}part{j}/{key}"] = value
    arrays["rows"] = rows
    arrays["model"] = json.dumps(
        {
            "format": FORMAT,
            "estimator": type(fitted[0]).__name__.removesuffix("CV"),
            "features": features.as_json(),
            "labels": labels.as_json(),
            "label_at": label_at,
            "reading": dict(reading),
            "data": data,
            "fitted": told,
        }
    )
    write_arrays(path, arrays)


def _prefix(k: int, count: int) -> str:
    return "" if count == 1 else f"beta{k}/"


def _plain_params(params: Mapping[str, Any]) -> list[str]:
    """The parameters that the plain estimators share and JSON can say."""
    left_out = {"betas", "cv", "one_standard_error", "scoring", "n_jobs"}
    return [name for name in params if name not in left_out]


def is_model(saved: Mapping[str, np.ndarray]) -> bool:
    """Whether a file is of this format, and not of weights saved before it."""
    return "model" in saved


def load_model(path: Path) -> Model:
    """Reads a file that `save_model` wrote.

    Raises:
      InputError: it is missing or corrupt.
    """
    with refusing(path):
        saved = read_npz(path)
    if not is_model(saved):
        raise InputError(f"{path}: want a file saved by fit --out")
    with refusing(path):
        return _model(saved)


def _model(saved: Mapping[str, np.ndarray]) -> Model:
    told = json.loads(str(saved["model"]))
    if told["format"] != FORMAT:
        raise ValueError(f"want format {FORMAT}; got {told['format']}")
    labels, features = (
        Labels.from_json(told["labels"]),
        Features.from_json(told["features"]),
    )
    kind = _CLASSES[labels.classes is not None]
    if told["estimator"] != kind:
        raise ValueError(f"want a {kind}; got {told['estimator']}")
    count = len(told["fitted"])
    if not count or not features.columns or saved["rows"].ndim != 1:
        raise ValueError("no networks, columns or rows")
    fitted, parts = [], []
    for k, one in enumerate(told["fitted"]):
        name = _prefix(k, count)
        model = getattr(estimators, kind)(**one["params"])
        model._check_parameters()
        model._check_loss()
        model.layers_ = Layers(
            _numbers(saved, f"{name}first/kernel", 2),
            _numbers(saved, f"{name}second/kernel", 2),
            _numbers(saved, f"{name}network_gates", 2)
            if f"{name}network_gates" in saved
            else None,
        )
        model.scaling_ = Scaling(
            mean=_numbers(saved, f"{name}mean", 1),
            scale=_numbers(saved, f"{name}scale", 1),
            ones=bool(one["ones"]),
        )
        model.intercept_ = _numbers(saved, f"{name}intercept", 1)
        model.n_features_in_ = len(model.scaling_.mean)
        model.n_neurons_ = model.layers_.width
        model.statuses_ = [Status[status] for status in one["statuses"]]
        model.beta_, model.beta_max_ = map(np.array, (one["beta"], one["beta_max"]))
        d, m = model.layers_.first.shape
        outputs = 1 if labels.classes is None else max(1, len(labels.classes))
        outputs = 1 if outputs == 2 else outputs
        if model.n_features_in_ != len(features.names):
            raise ValueError("a network of another number of features")
        if len(model.intercept_) != outputs or np.any(model.scaling_.scale == 0):
            raise ValueError("a network of another number of outputs, or scale zero")
        if d != model.n_features_in_ + model.scaling_.ones or (
            model.layers_.second.shape != (m, len(model.intercept_))
        ):
            raise ValueError("layers of different sizes")
        if labels.classes is None:
            model._column = False
        else:
            model.classes_ = np.arange(len(labels.classes))
            model.multi_class_ = model.multi_class
        fitted.append(model)
        parts.append(read_parts(saved, name))
    return Model(
        features,
        labels,
        int(told["label_at"]),
        {str(k): v if v is None else str(v) for k, v in told["reading"].items()},
        saved["rows"].astype(bool),
        str(told["data"]),
        tuple(fitted),
        tuple(parts),
    )


def _numbers(saved: Mapping[str, np.ndarray], key: str, ndim: int) -> np.ndarray:
    array = saved[key]
    if array.ndim != ndim or array.dtype.kind not in "bf":
        raise ValueError(f"{key}: want numbers in {ndim} dimensions")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"{key} has infinite or NaN entries")
    return array.astype(float)


def prepared_for(model: Any, X: np.ndarray, y: np.ndarray) -> list[Any]:
    """What an estimator trains for these samples; one `Prepared` for each part.

    Its scaling becomes that of these samples.

    Args:
      model: an estimator.
      X: [n, d].
      y: [n], numbers, or the numbers of classes.
    """
    with jax.enable_x64(model.dtype == "float64"):
        return model._prepared(X, y, None)
