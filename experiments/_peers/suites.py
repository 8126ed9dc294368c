"""The problems of the benchmark, by suite: named, seeded, the same everywhere.

problem1: planted network, n = 500, d = 20, 200 patterns, beta 1, 5 and 0.2. gated: the
same data without cones, and n = 2000, d = 100, 500 patterns. grid: sizes from n = 100,
d = 5, 50 patterns to n = 2000, d = 100 or 1000 patterns, beta 0.5, 0.1 and 0.01 of
the one from which on zero is optimal. uci: the tables with the fewest entries,
standardised, a column of ones, 200 sampled patterns, beta 0.3, 0.1 and 0.01 of that.
"""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Iterator
from pathlib import Path

import jax
import numpy as np

import cvxjax as cj
from experiments._peers.judge import make_program
from experiments._peers.problem import Problem

GRID = (
    (100, 5, 50),
    (100, 20, 200),
    (500, 5, 200),
    (500, 20, 1000),
    (500, 100, 200),
    (1000, 20, 500),
    (2000, 20, 200),
    (1000, 50, 200),
)
"""(n, d, P). One judgement of 2000, 100, 2000 takes minutes, and so it is left out."""

_GRID_FRACTIONS = (0.5, 0.1, 0.01)
_UCI_FRACTIONS = (0.3, 0.1, 0.01)
_UCI_PATTERNS = 200
SUITES = ("tiny", "problem1", "gated", "grid", "uci")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """One problem and its name, of letters, digits and . = - only."""

    suite: str
    name: str
    problem: Problem


def planted(n: int, d: int, P: int, *, beta: float, gated: bool = False) -> Problem:
    """Ten planted neurons, noise 0.1, and P Gaussian gates, all from seed 0."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d))
    W, a = rng.standard_normal((d, 10)), rng.standard_normal(10)
    y = np.maximum(X @ W, 0) @ a + 0.1 * rng.standard_normal(n)
    patterns = cj.arrangements.from_gates(X, rng.standard_normal((d, P)).T)
    return _problem(X, y / y.std(), patterns, beta=beta, gated=gated)


def make_cases(
    suite: str, *, num_tables: int = 24, data_dir: str | Path | None = None
) -> Iterator[Case]:
    """The problems of one suite, each made when its turn comes.

    Args:
      suite: of `SUITES`.
      num_tables: of the suite uci.
      data_dir: of the suite uci, as in `cvxjax.data.tables`.

    Raises:
      ValueError: there is no such suite.
      FileNotFoundError: the tables are not there.
    """
    if suite == "tiny":
        for gated in (False, True):
            problem = planted(30, 3, 10, beta=0.5, gated=gated)
            yield Case(suite=suite, name=f"tiny-{_kind(gated)}", problem=problem)
    elif suite == "problem1":
        for beta in (1.0, 5.0, 0.2):
            problem = planted(500, 20, 200, beta=beta)
            yield Case(suite=suite, name=f"problem1-beta={beta:g}", problem=problem)
    elif suite == "gated":
        for n, d, P in ((500, 20, 200), (2000, 100, 500)):
            problem = planted(n, d, P, beta=1.0, gated=True)
            yield Case(suite=suite, name=f"gated-{n}-{d}-{P}", problem=problem)
    elif suite == "grid":
        for n, d, P in GRID:
            yield from _fractions(
                suite, f"{n}-{d}-{P}", planted(n, d, P, beta=1.0), _GRID_FRACTIONS
            )
    elif suite == "uci":
        for table in smallest_tables(num_tables):
            problem = from_table(table, data_dir)
            yield from _fractions(suite, table, problem, _UCI_FRACTIONS)
    else:
        raise ValueError(f"want suites of {', '.join(SUITES)}; got {suite!r}")


def smallest_tables(num: int) -> list[str]:
    """Names of the `num` tables with the fewest rows x features, by name."""
    sizes = cj.data.tables.UCI_SIZES
    return sorted(sorted(sizes, key=lambda name: np.prod(sizes[name]))[:num])


def standardised(raw: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns of mean 0 and deviation 1, and one of ones; the labels as they are."""
    deviation = raw.std(axis=0)
    scaled = (raw - raw.mean(axis=0)) / np.where(deviation > 0, deviation, 1)
    return np.column_stack([scaled, np.ones(len(y))]), y


def from_table(name: str, data_dir: str | Path | None = None) -> Problem:
    """Standardised columns and a column of ones; labels -1 and +1; beta is 1."""
    X, y = standardised(*cj.data.tables.load_uci(name, data_dir))
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "found .* distinct patterns")
        patterns = cj.arrangements.sample_patterns(
            jax.random.key(0), X, num=_UCI_PATTERNS
        )
    return _problem(X, y, patterns, beta=1.0, gated=False)


def _fractions(
    suite: str, name: str, problem: Problem, fractions: tuple[float, ...]
) -> Iterator[Case]:
    """The problem at these fractions of the beta from which on zero is optimal."""
    largest = make_program(problem).beta_max()
    for fraction in fractions:
        yield Case(
            suite=suite,
            name=f"{name}-{fraction:g}",
            problem=dataclasses.replace(problem, beta=fraction * largest),
        )


def _problem(
    X: np.ndarray,
    y: np.ndarray,
    patterns: cj.arrangements.Patterns,
    *,
    beta: float,
    gated: bool,
) -> Problem:
    return Problem(
        X=X,
        y=y,
        masks=np.asarray(patterns.masks),
        gates=np.asarray(patterns.gates, np.float64),
        beta=beta,
        gated=gated,
    )


def _kind(gated: bool) -> str:
    return "gated" if gated else "relu"
