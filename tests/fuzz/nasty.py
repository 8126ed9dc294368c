"""Data as nobody would draw them twice: parallel rows, years, columns 1e-12 apart."""

from __future__ import annotations

import numpy as np

Generator = np.random.Generator

_OFFSETS = (1.0, 7.0, 1013.25, 2024.0, 1e6, 20240101.0, 1.7e9, 1e9)
_PLAIN = 0.15  # of all data are left as they were drawn


def exponent(rng: Generator, most: float) -> float:
    """10^u, u uniform in [-most, most]; a power of two as often."""
    u = rng.uniform(-most, most)
    return float(10**u if rng.random() < 0.5 else 2.0 ** round(3.3 * u))


def draw_matrix(rng: Generator, n: int, d: int, dtype: type) -> np.ndarray:
    """X [n, d] with up to four faults; int64 now and then."""
    kind = rng.choice(["normal", "uniform", "integers", "time"], p=[0.5, 0.2, 0.2, 0.1])
    X = {
        "normal": lambda: rng.standard_normal((n, d)),
        "uniform": lambda: rng.uniform(0, 1, (n, d)),
        "integers": lambda: rng.integers(-3, 4, (n, d)).astype(float),
        "time": lambda: np.add.outer(np.arange(n), 0.3 * np.arange(d) ** 2) - n / 3,
    }[kind]()
    if rng.random() >= _PLAIN:
        most = 12.0 if dtype is np.float64 else 4.0
        for _ in range(rng.integers(1, 5)):
            X = _FAULTS[rng.integers(len(_FAULTS))](rng, X, most)
    if rng.random() < 0.05 and np.max(np.abs(X)) < 1e9:
        return np.round(X).astype(np.int64)
    return X.astype(dtype)


def draw_tensor(rng: Generator, shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """The same of [n, d] or patches [n, K, h]."""
    rows = int(np.prod(shape[:-1]))
    return draw_matrix(rng, rows, shape[-1], dtype).reshape(shape)


def _duplicate_row(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    i, j = rng.integers(len(X), size=2)
    X[i] = X[j]
    return X


def _parallel_row(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    i, j = rng.integers(len(X), size=2)
    X[i] = rng.choice([-1.0, 2.0, -0.5, 3.0, exponent(rng, most)]) * X[j]
    return X


def _zero_row(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    X[rng.integers(len(X))] = 0
    return X


def _scaled_row(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    X[rng.integers(len(X))] *= exponent(rng, most)
    return X


def _bias(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    X[:, -1] = 1
    return X


def _constant_column(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    X[:, rng.integers(X.shape[1])] = rng.choice([*_OFFSETS, 0.0, exponent(rng, most)])
    return X


def _offset_column(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    X[:, rng.integers(X.shape[1])] += rng.choice(_OFFSETS)
    return X


def _near_column(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    i, j = rng.integers(X.shape[1], size=2)
    size = 10 ** -rng.uniform(6, 14) * np.max(np.abs(X[:, j]))
    X[:, i] = X[:, j] + size * rng.standard_normal(len(X))
    return X


def _dependent_column(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    X[:, rng.integers(X.shape[1])] = X @ np.round(rng.standard_normal(X.shape[1]), 1)
    return X


def _scaled_column(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    X = X.copy()
    X[:, rng.integers(X.shape[1])] *= exponent(rng, most)
    return X


def _scaled(rng: Generator, X: np.ndarray, most: float) -> np.ndarray:
    return X * exponent(rng, most)


_FAULTS = (
    _duplicate_row,
    _parallel_row,
    _zero_row,
    _scaled_row,
    _bias,
    _bias,
    _constant_column,
    _offset_column,
    _offset_column,
    _near_column,
    _dependent_column,
    _scaled_column,
    _scaled_column,
    _scaled,
)


def draw_labels(rng: Generator, X: np.ndarray, signs: bool, dtype: type) -> np.ndarray:
    """y [n]: noise, a neuron's outputs, one value or one side; -1 and 1 for `signs`."""
    n, rows = len(X), X.reshape(len(X), -1).astype(float)
    kind = rng.choice(["noise", "neuron", "side", "constant", "outlier", "integers"])
    y = rng.standard_normal(n)
    if kind == "neuron":
        size = np.max(np.abs(rows), initial=0) or 1
        u = rows / size @ rng.standard_normal(rows.shape[1])
        y = np.maximum(u, 0) + 0.01 * y - (0.3 if signs else 0)
    elif kind == "side":
        y = np.abs(y) * rng.choice([-1, 1])
    elif kind == "constant":
        y = np.full(n, rng.choice([-1.0, 1.0, 0.25]))
    elif kind == "outlier":
        y[rng.integers(n)] *= 1e3
    elif kind == "integers":
        y = rng.integers(-2, 3, n).astype(float)
    if signs:
        return np.where(y >= 0, 1, -1).astype(dtype)
    if rng.random() < 0.5:
        y = y * exponent(rng, 12.0 if dtype is np.float64 else 4.0)
    return y.astype(dtype)
