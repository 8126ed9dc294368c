"""The ranges of the solvers' numeric options, by name."""

from __future__ import annotations

from typing import Any

import numpy as np

from cvxjax.algebra.arrays import is_number

_COUNTS = (  # integers >= 1
    "batch_size",
    "check_every",
    "cycle",
    "max_iters",
    "num_neurons",
    "power_steps",
    "projection_steps",
    "rounds",
    "scouting",
    "starts",
)
_NATURAL = ("corrections", "dense_samples", "memory", "refinements", "seed")
_RANGES = {  # of real numbers, and whether the lower end is inside
    "bound_seconds": (0, np.inf, True),
    "cone_weight": (0, np.inf, False),
    "learning_rate": (0, np.inf, False),
    "momentum": (0, 1, True),
    "relaxation": (1, 2, True),
    "rho": (0, np.inf, False),
    "start": (0, np.inf, False),
    "tol": (0, np.inf, False),
}


def check_options(solver: Any) -> None:
    """Raises ValueError where an option of the solver is out of its range.

    Whatever a solver has by default is in its range, None among them.
    """
    for name in _COUNTS + _NATURAL:
        value, least = getattr(solver, name, None), int(name in _COUNTS)
        if callable(value) or value is getattr(type(solver), name, None):
            continue
        whole = isinstance(value, int | np.integer) and not isinstance(value, bool)
        if not whole or value < least:
            raise ValueError(f"want {name}, an integer >= {least}; got {value!r}")
    for name, (low, high, closed) in _RANGES.items():
        value: Any = getattr(solver, name, None)
        if callable(value) or value is getattr(type(solver), name, None):
            continue
        over = is_number(value) and (low < value or (closed and low == value))
        if not (over and value < high):
            raise ValueError(f"want {_range(name, low, high, closed)}; got {value}")


def _range(name: str, low: float, high: float, closed: bool) -> str:
    if high == np.inf:
        return f"{name} {'>=' if closed else '>'} {low}"
    return f"{low} {'<=' if closed else '<'} {name} < {high}"
