"""Files of weights as `solve` saved them before version 2 of the format.

They hold one network of one output, without an intercept, for data whose first line was
a header if none of its cells was a number.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from cvxjax.arrangements import Patterns
from cvxjax.arrangements.arguments import NAMED_LOSSES
from cvxjax.command_line.errors import InputError
from cvxjax.command_line.model_file import fingerprint
from cvxjax.command_line.tables import ReadingFlags, read_npz, read_table, refusing
from cvxjax.estimators.layers import Layers
from cvxjax.programs.two_layer import TwoLayerProgram, make_two_layer
from cvxjax.solution import Scope, Solution
from cvxjax.terms import losses

_LOSSES = tuple(name for name in NAMED_LOSSES if name != "softmax")  # of one output


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a file became X and y."""

    label: str | None = None  # column name or index (.csv), or key (.npz)
    positive: str | None = None  # the label that became +1, all others -1
    bias: bool = True  # a column of ones was appended
    standardize: bool = False
    float32: bool = False


def read_features(path: Path, reading: Reading) -> tuple[np.ndarray, np.ndarray | None]:
    """Features [n, d] without the column of ones, and labels as text, if there are any.

    Raises:
      InputError: the file is missing or corrupt.
    """
    if path.suffix.lower() == ".npz":
        with refusing(path):
            arrays = read_npz(path)
            return arrays["X"].astype(float), arrays.get(reading.label or "y")
    flags = ReadingFlags(sep=",", decimal=".", header="no", index_col="none")
    table = read_table(path, flags)
    names, text = table.names, table.text
    if all(_number(cell) is None for cell in text[0]):
        names, text = list(text[0]), text[1:]
    table = dataclasses.replace(table, names=names)
    at = len(names) - 1 if reading.label is None else table.find(reading.label)
    with refusing(path):
        X = np.delete(text, at, axis=1).astype(float)
        return X, text[:, at].astype(str)


def _read(path: Path, reading: Reading) -> tuple[np.ndarray, np.ndarray]:
    """X [n, d] and y [n] as they entered the program."""
    X, labels = read_features(path, reading)
    if labels is None:
        raise InputError(f"{path}: no labels")
    with refusing(path):
        y = _numbers_of(labels, reading.positive)
    if reading.standardize:
        mean, scale = X.mean(axis=0), X.std(axis=0)
        scale[scale <= 1e-12 * np.abs(mean)] = 1
        X = (X - mean) / scale
    if reading.bias:
        X = np.column_stack([X, np.ones(len(X))])
    dtype = np.float32 if reading.float32 else np.float64
    return X.astype(dtype), y.astype(dtype)


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers_of(labels: np.ndarray, positive: str | None) -> np.ndarray:
    """Labels as floats; with `positive`, +1 where they equal it and -1 elsewhere."""
    if positive is None:
        return labels.astype(float)
    chosen = labels.astype(str) == positive
    if (value := _number(positive)) is not None:
        numbers = [_number(cell) for cell in labels.astype(str)]
        chosen |= np.array([number == value for number in numbers])
    return np.where(chosen, 1.0, -1.0)


@dataclasses.dataclass(frozen=True)
class OldWeights:
    """A network of one output, and how its data were read."""

    layers: Layers
    reading: Reading
    mean: np.ndarray  # [d]
    scale: np.ndarray  # [d]

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """Predictions [n] for features [n, d] without the column of ones."""
        d = X.shape[1]
        if d + self.reading.bias != len(self.layers.first):
            raise InputError(
                f"want {len(self.layers.first) - self.reading.bias} features, as in "
                f"the fit; got {d}"
            )
        X = (X - self.mean[:d]) / self.scale[:d]
        if self.reading.bias:
            X = np.column_stack([X, np.ones(len(X))])
        return self.layers.outputs(X)[:, 0]


def load_old(path: Path) -> OldWeights:
    """The network of a file.

    Raises:
      InputError: the file is missing or corrupt.
    """
    with refusing(path):
        saved = read_npz(path)
    reading = _reading(path, saved)
    with refusing(path):
        return OldWeights(_layers(saved), reading, saved["mean"], saved["scale"])


def _layers(saved: Mapping[str, np.ndarray]) -> Layers:
    gates = np.asarray(saved["gates"], float) if bool(saved["gated"]) else None
    layers = Layers(
        np.asarray(saved["first/kernel"], float),
        np.asarray(saved["second/kernel"], float),
        gates,
    )
    return layers.take(np.any(layers.first != 0, axis=0) & (layers.second[:, 0] != 0))


def load_to_certify(
    path: Path, data_path: Path
) -> tuple[TwoLayerProgram, Solution, Layers]:
    """The program, rebuilt from the data, and the solution and network that were saved.

    The file's scope is not believed: it is EXHAUSTIVE only if the data, enumerated
    again, have no pattern that the file does not list.

    Args:
      path: of the weights.
      data_path: of the data that were solved.

    Raises:
      InputError: a file is missing or corrupt, or the weights are of other data.
    """
    with refusing(path):
        saved = read_npz(path)
    reading = _reading(path, saved)
    X, y = _read(data_path, reading)
    if str(saved["data"]) != fingerprint(X, y):
        raise InputError(f"{path}: these weights belong to other data than {data_path}")
    try:
        return _rebuild(saved, X, y)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{path}: corrupt: {error}") from None


def _reading(path: Path, saved: dict[str, np.ndarray]) -> Reading:
    """The saved `Reading`; InputError unless the file has all that is needed."""
    wanted = [
        *("first/kernel", "second/kernel", "params", "dual", "masks", "gates", "beta"),
        *("loss", "gated", "scope", "reading", "data", "mean", "scale"),
    ]
    if missing := [key for key in wanted if key not in saved]:
        raise InputError(
            f"{path}: want a file saved by fit --out; {', '.join(missing)} missing"
        )
    try:
        return Reading(**json.loads(str(saved["reading"])))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: corrupt: reading: {error}") from None


def _rebuild(
    saved: dict[str, np.ndarray], X: np.ndarray, y: np.ndarray
) -> tuple[TwoLayerProgram, Solution, Layers]:
    """Program, solution and network from the arrays of a file, which are checked."""
    gated, (n, d) = bool(saved["gated"]), X.shape
    masks, gates = saved["masks"].astype(bool), saved["gates"]
    P, m = len(masks), saved["second/kernel"].size
    shapes = {
        "params": (2, P, d),
        "dual": (n,),
        "multipliers": (2, P, n),
        "masks": (P, n),
        "gates": (P, d),
        "beta": (),
        "first/kernel": (d, P if gated else m),
        "second/kernel": (P if gated else m, 1),
    }
    for key, shape in shapes.items():
        array = saved.get(key, np.zeros(shape))
        if array.shape != shape or array.dtype.kind not in "bf":
            raise ValueError(f"{key}: want numbers {shape}; got {array.shape}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{key} has infinite or NaN entries")
    quantile = saved.get("quantile")
    claimed = Scope(str(saved["scope"]))  # which make_two_layer verifies
    scope = claimed if claimed is Scope.EXHAUSTIVE else Scope.SAMPLED
    patterns = Patterns(masks=jnp.asarray(masks), gates=jnp.asarray(gates), scope=scope)
    program = make_two_layer(
        X,
        y,
        patterns,
        beta=float(saved["beta"]),
        loss=_loss_of(
            str(saved["loss"]), None if quantile is None else float(quantile)
        ),
        gated=gated,
    )
    if program.shape != saved["params"].shape:
        raise ValueError("a pattern without interior")
    if bool(saved.get("all_patterns", False)):
        program = program.replace(all_patterns=True)
    # What the solver said of its solution is not saved, since nothing proves it.
    params, dual = (jnp.asarray(saved[name]) for name in ("params", "dual"))
    multipliers = saved.get("multipliers")
    solution = Solution.of(program, params, dual, multipliers=multipliers)
    return program, solution, _layers(saved)


def _loss_of(name: str, quantile: float | None = None) -> Any:
    """The loss of this name.

    Args:
      name: one of `_LOSSES`.
      quantile: in (0, 1), for pinball alone.

    Raises:
      ValueError: for another name, or a quantile that does not fit.
    """
    if name not in _LOSSES:
        raise ValueError(f"want a loss among {', '.join(_LOSSES)}; got {name!r}")
    if quantile is None:
        return getattr(losses, name)()
    if name != "pinball":
        raise ValueError(f"want a quantile for the pinball loss alone; got {name}")
    return losses.pinball(quantile)
