"""Networks from their variables in NumPy's longest floats, apart from Flax and JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

Array = np.ndarray
Params = dict[str, Any]


def outputs_of(program: Any, variables: Any) -> Array:
    """f(X), [n] or [n, c]."""
    return _MODELS[type(program.network()).__name__](program, variables)


def penalty_of(program: Any, variables: Any) -> float:
    """What beta multiplies in the network's objective."""
    network, params = program.network(), variables["params"]
    name = type(network).__name__
    second = _long(params["second"]["kernel"])
    if name == "Polynomial":
        return float(np.sum(np.abs(second)))
    if name == "BatchNorm":
        squares = np.sum(second**2) + np.sum(_long(params["scale"]) ** 2)
        if network.shift:
            squares += np.sum(_long(params["shift"]) ** 2)
        return float(squares / 2)
    squares = np.sum(_long(params["first"]["kernel"]) ** 2, axis=0)
    if name == "Convolutional" and network.kind == "circular_relu":
        squares = squares * np.sum(_long(params["middle"]) ** 2, axis=0)
    return float((np.sum(squares) + np.sum(second**2)) / 2)


def _long(array: Any) -> Array:
    return np.asarray(array).astype(np.longdouble)


def _kernels(variables: Any) -> tuple[Array, Array]:
    params = variables["params"]
    return _long(params["first"]["kernel"]), _long(params["second"]["kernel"])


def _two_layer(program: Any, variables: Any) -> Array:
    first, second = _kernels(variables)
    f = np.maximum(_long(program.X) @ first, 0) @ second
    return f[:, 0] if np.ndim(program.y) == 1 else f


def _gated(program: Any, variables: Any) -> Array:
    """Gates decide in the data's own precision, as the network's do."""
    first, second = _kernels(variables)
    X, gates = np.asarray(program.X), np.asarray(variables["gates"]["gates"])
    f = np.where(X @ gates.T >= 0, _long(X) @ first, 0) @ second
    return f[:, 0] if np.ndim(program.y) == 1 else f


def _convolutional(program: Any, variables: Any) -> Array:
    first, second = _kernels(variables)
    X, kind = _long(program.X), program.network().kind
    if X.ndim == 2:
        X = np.stack([np.roll(X, -k, axis=1) for k in range(X.shape[1])], axis=1)
    hidden = X @ first  # [n, K, m]
    if kind == "circular_relu":
        middle = _long(variables["params"]["middle"])
        hidden = np.maximum(np.sum(hidden * middle, axis=1), 0)
    elif kind in ("linear", "circular"):
        hidden = hidden.reshape(len(X), -1)
    else:
        hidden = np.maximum(hidden, 0)
        hidden = hidden.max(axis=1) if kind == "max_pool" else hidden.sum(axis=1)
        hidden = hidden / X.shape[1] if kind == "average_pool" else hidden
    return (hidden @ second)[:, 0]


def _batch_norm(program: Any, variables: Any) -> Array:
    """With the statistics of the data, whatever those of the variables are."""
    network, params = program.network(), variables["params"]
    first, second = _kernels(variables)
    hidden = _long(program.inputs) @ first
    if network.order == "after":
        hidden = np.maximum(hidden, 0)
    if network.centre:
        hidden = hidden - hidden.mean(axis=0)
    sizes = np.sqrt(np.sum(hidden**2, axis=0))
    hidden = hidden / np.where(sizes > 0, sizes, 1) * _long(params["scale"])
    if network.shift:
        hidden = hidden + _long(params["shift"]) / np.sqrt(_long(len(hidden)))
    if network.order == "before":
        hidden = np.maximum(hidden, 0)
    f = hidden @ second
    return f[:, 0] if np.ndim(program.y) == 1 else f


def _polynomial(program: Any, variables: Any) -> Array:
    first, second = _kernels(variables)
    (a, b, c), pool = program.coefficients, program.network().pool
    X = _long(program.X)
    patches = X[:, None] if X.ndim == 2 else X
    n, K, _ = patches.shape
    pool = K if pool is None else pool
    sizes = np.sqrt(np.sum(first**2, axis=0))
    t = patches @ (first / np.where(sizes > 0, sizes, 1))
    hidden = (a * t + b) * t + c
    hidden = hidden.reshape(n, K // pool, pool, -1).mean(axis=2).reshape(n, -1)
    f = hidden @ second
    return f[:, 0] if np.ndim(program.y) == 1 else f


_MODELS: dict[str, Callable[[Any, Any], Array]] = {
    "TwoLayer": _two_layer,
    "VectorOutput": _two_layer,
    "GatedTwoLayer": _gated,
    "GatedVectorOutput": _gated,
    "Convolutional": _convolutional,
    "BatchNorm": _batch_norm,
    "Polynomial": _polynomial,
}
