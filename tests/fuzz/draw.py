"""Case k of seed S, which does not depend on the cases before it."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from cvxjax.arrangements.patterns import count_bound
from cvxjax.solvers.choice import default_solver
from cvxjax.solvers.refusals import refusal
from tests import instances
from tests.fuzz import nasty
from tests.fuzz.cases import Case, build
from tests.fuzz.families import MARGINS, Family, families

BLOCK = 12  # cases in a row of one family, with the same solvers
_LEAST = 12.0  # beta goes down to 10^-12 of where zero is optimal
_GATES = 6  # patterns of neurons on kinks

Generator = np.random.Generator


@functools.cache
def _all() -> list[Family]:
    return families()


def place_of(seed: int, number: int) -> int:
    """Of its family: each once in a round, in the order of the seed and the round."""
    turn, place = divmod(number // BLOCK, len(_all()))
    order = np.random.default_rng((seed, turn)).permutation(len(_all()))
    return int(order[place])


def family_of(seed: int, number: int) -> Family:
    return _all()[place_of(seed, number)]


def draw(seed: int, number: int) -> Case:
    """The case, beta included; building it may raise."""
    family = family_of(seed, number)
    rng = np.random.default_rng((seed, number, 1))
    X = nasty.draw_tensor(rng, family.shape, family.dtype)
    y = _labels(rng, family, X)
    n = len(X)
    case = Case(
        name=f"{seed}:{number}",
        family=family.label,
        constructor=family.constructor,
        X=X,
        y=y,
        beta=1.0,
        options=dict(family.options),
        loss=_loss(rng, family, y),
        weights=10 ** rng.uniform(-3, 3, n) if family.weighted else None,
        intercept=family.intercept,
        patterns=family.patterns,
        gates=_kinks(rng, X) if family.patterns == "gates" else None,
        draws=5,
        blocks=_blocks(family),
    )
    return case


def with_beta(case: Case, program: Any) -> Case:
    """The case at a beta of its own, from 10^-12 of beta_max to above it."""
    seed, number = (int(x) for x in case.name.split(":"))
    rng = np.random.default_rng((seed, number, 2))
    highest = float(program.beta_max())
    if not (np.isfinite(highest) and highest > 0):
        sizes = [np.max(np.abs(a.astype(float)), initial=0) or 1 for a in _data(case)]
        highest = sizes[0] * sizes[1]
    share = {
        "usual": lambda: 10 ** rng.uniform(-3, 0),
        "small": lambda: 10 ** rng.uniform(-_LEAST, -3),
        "edge": lambda: rng.choice([0.99, 1 - 1e-6, 1.0, 1 + 1e-9]),
        "above": lambda: 10 ** rng.uniform(0, 3),
    }[rng.choice(["usual", "small", "edge", "above"], p=[0.6, 0.25, 0.1, 0.05])]()
    beta = float(case.y.dtype.type(share * highest))
    return dataclasses.replace(case, beta=beta if beta > 0 else 1.0)


def with_solvers(case: Case, program: Any) -> Case:
    """The default solver, and one of those that take the program, the block's."""
    seed, number = (int(x) for x in case.name.split(":"))
    rng = np.random.default_rng((seed, number // BLOCK, 3))
    order = rng.permutation(sorted(instances.SOLVERS))
    usual = type(default_solver(program)).__name__
    for name in order:
        solver = type(instances.SOLVERS[name].solver)()
        if name != usual and refusal(solver, program) is None:
            return dataclasses.replace(case, solvers=(None, str(name)))
    return case


def complete(case: Case) -> Case:
    """With beta and solvers; raises what the constructor raises."""
    program = build(case)
    case = with_solvers(with_beta(case, program), program)
    return dataclasses.replace(case, complete=True)


def _data(case: Case) -> tuple[np.ndarray, np.ndarray]:
    return case.X, case.y


def _labels(rng: Generator, family: Family, X: np.ndarray) -> np.ndarray:
    signs = family.loss in MARGINS
    if family.outputs is None:
        return nasty.draw_labels(rng, X, signs, family.dtype)
    if family.loss == "softmax":
        return np.eye(family.outputs)[rng.integers(family.outputs, size=len(X))]
    columns = [
        nasty.draw_labels(rng, X, signs, family.dtype) for _ in range(family.outputs)
    ]
    return np.stack(columns, axis=1)


def _loss(rng: Generator, family: Family, y: np.ndarray) -> str | None:
    size = float(np.median(np.abs(y))) or 1.0
    if family.loss == "huber":
        return f"cj.losses.huber({size * float(10 ** rng.uniform(-2, 1))!r})"
    if family.loss == "pinball":
        return f"cj.losses.pinball({float(rng.choice([0.05, 0.5, 0.9]))!r})"
    return None if family.loss is None else f"cj.losses.{family.loss}()"


def _kinks(rng: Generator, X: np.ndarray) -> np.ndarray:
    """Gates of trained neurons: on d - 1 rows' hyperplanes to 1e-9 or rounding."""
    rows = X.astype(float)
    gates = []
    for _ in range(_GATES):
        chosen = rows[rng.choice(len(rows), size=X.shape[1] - 1)]
        size = np.linalg.norm(chosen, axis=1, keepdims=True)
        chosen = chosen / np.where(size > 0, size, 1)
        gate = np.linalg.svd(chosen, full_matrices=True)[2][-1]
        noise = rng.choice([0.0, 1e-9, 1e-6]) * rng.standard_normal(X.shape[1])
        gates.append(gate + noise)
    return np.asarray(gates)


def _blocks(family: Family) -> int | None:
    shape, options = family.shape, dict(family.options)
    if family.constructor in ("two_layer", "vector_output"):
        return count_bound(*shape)
    if family.constructor == "batch_norm":
        n, d = shape
        before = options["order"] == "before"
        return count_bound(n, d + int(before and options["shift"]))
    if family.constructor == "convolutional":
        rows = int(np.prod(shape[:-1]))
        pairs = rows * (shape[1] + 1) // 2
        most = pairs if options["kind"] == "max_pool" else rows
        return count_bound(most, shape[-1])
    return None
