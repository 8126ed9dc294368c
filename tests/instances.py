"""A small instance of every program, and the solvers that take it.

Contract tests run over all of them. A new architecture adds its instances to
`PROGRAMS`, under names that begin with its stem, and its stem to `REFERENCES`; a new
solver adds one entry to `SOLVERS`.
"""

from __future__ import annotations

import collections
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import cvxjax as cj
from tests import block_references as blocks
from tests import references
from tests import spectral_references as spectra
from tests import vector_references as vectors

REAL_LABELS = ("squared", "huber", "pinball", "interpolation")
SIGN_LABELS = ("logistic", "hinge", "squared_hinge", "hard_margin")
CONSTRAINTS = ("interpolation", "hard_margin")
KINDS = (
    "sum_pool",
    "average_pool",
    "max_pool",
    "linear",
    "circular",
    "circular_relu",
)
SMOOTH = ("squared", "huber", "logistic", "squared_hinge", "softmax")
WEIGHTED = "weighted "


def loss_of(name: str, n: int) -> Any:
    """A loss by its name, of n samples if that begins with "weighted"."""
    if name.startswith(WEIGHTED):
        inner = loss_of(name.removeprefix(WEIGHTED), n)
        return cj.losses.weighted(inner, np.linspace(0.5, 2, n))
    if name == "pinball":
        return cj.losses.pinball(0.3)
    return getattr(cj.losses, name)()


def has_real_labels(loss: str) -> bool:
    return loss.removeprefix(WEIGHTED) in REAL_LABELS


def draw_data(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian X [n, d] and y [n]."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


def two_layer(
    X: np.ndarray | None = None,
    *,
    loss: str = "squared",
    gated: bool = False,
    patterns: Callable[[np.ndarray], Any] = cj.arrangements.enumerate_patterns,
    beta: float = 0.1,
    dtype: Any = np.float64,
) -> Any:
    """X default Gaussian [8, 2]; y Gaussian, or its signs; every pattern."""
    y = draw_data(8, 2)[1]
    X = (draw_data(8, 2)[0] if X is None else X).astype(dtype)
    y = (y if has_real_labels(loss) else np.sign(y)).astype(dtype)[: len(X)]
    made = loss_of(loss, len(y))
    return cj.programs.make_two_layer(
        X, y, patterns(X), beta=beta, loss=made, gated=gated
    )


def sampled(X: np.ndarray) -> Any:
    return cj.arrangements.sample_patterns(jax.random.key(1), X, num=5)


def repeated(X: np.ndarray, most: int | None = None) -> Any:
    """Every pattern, repeated until there are as many as [n, d] may have.

    Programs of one shape then share their compiled solver.
    """
    patterns = cj.arrangements.enumerate_patterns(X)
    most = cj.arrangements.count_bound(*X.shape) if most is None else most
    index = jnp.arange(most) % len(patterns.masks)
    return patterns.replace(
        masks=patterns.masks[index],
        gates=patterns.gates[index],
        scope=patterns.scope,
    )


def all_inactive(X: np.ndarray) -> Any:
    """The one gate -1, on which rows of positive numbers are all inactive."""
    return cj.arrangements.from_gates(X, -np.ones((1, X.shape[1])))


def duplicate_rows(X: np.ndarray | None = None) -> np.ndarray:
    X = draw_data(8, 2)[0] if X is None else X
    X[3], X[4], X[5] = X[0], 2 * X[1], -X[2]
    return X


def zero_rows(X: np.ndarray | None = None) -> np.ndarray:
    X = draw_data(8, 2)[0] if X is None else X
    X[[0, 5]] = 0
    return X


def rank_two() -> np.ndarray:
    return draw_data(8, 2)[0] @ np.array([[1.0, 2.0, -1.0], [0.0, 1.0, 1.0]])


def convolutional(kind: str, seed: int = 6) -> Any:
    """Gaussian patches [4, 3, 2], or signals [5, 4]; y Gaussian; every pattern."""
    rng = np.random.default_rng(seed)
    shape = (5, 4) if kind.startswith("circular") else (4, 3, 2)
    inputs, y = rng.standard_normal(shape), rng.standard_normal(shape[0])
    return cj.programs.make_convolutional(inputs, y, beta=0.1, kind=kind)


def batch_norm(order: str, centre: bool, shift: bool) -> Any:
    """Gaussian X [6, 2] and y; every pattern, some of one active sample or none."""
    X, y = draw_data(6, 2, seed=4)
    return cj.programs.make_batch_norm(
        X, y, beta=0.1, order=order, centre=centre, shift=shift
    )


def vector_output(gated: bool, loss: str = "squared") -> Any:
    """Gaussian X [5, 2] and Y [5, 2], or two classes; every pattern."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((5, 2)), rng.standard_normal((5, 2))
    Y = Y if has_real_labels(loss) else np.asarray([0, 1, 1, 0, 1])
    made = loss_of(loss, len(Y))
    return cj.programs.make_vector_output(X, Y, beta=0.15, loss=made, gated=gated)


def polynomial(
    loss: str = "squared",
    *,
    coefficients: tuple[float, float, float] = (0.09, 0.5, 0.47),
    outputs: int | None = None,
    pool: int | None = None,
) -> Any:
    """Gaussian X [8, 3] or patches [8, 4, 2]; y Gaussian, or its signs."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((8, 3)), rng.standard_normal((8, outputs or 1))
    y = y if has_real_labels(loss) else np.sign(y)
    shape = {} if pool is None else {"patches": rng.standard_normal((8, 4, 2))}
    return cj.programs.make_polynomial(
        X,
        y[:, 0] if outputs is None else y,
        beta=0.1,
        coefficients=coefficients,
        loss=loss_of(loss, len(y)),
        pool=pool,
        **shape,
    )


def quantized(loss: str = "squared") -> Any:
    """Gaussian X [8, 3]; y Gaussian, or its signs."""
    rng = np.random.default_rng(3)
    X, y = rng.standard_normal((8, 3)), rng.standard_normal(8)
    y = y if loss in REAL_LABELS else np.sign(y)
    return cj.programs.make_quantized(X, y, beta=0.1, loss=getattr(cj.losses, loss)())


PROGRAMS: dict[str, Callable[..., Any]] = {
    **{
        f"two_layer/{loss}": functools.partial(two_layer, loss=loss)
        for loss in (*REAL_LABELS, *SIGN_LABELS, "weighted squared")
    },
    **{
        f"two_layer/gated/{loss}": functools.partial(two_layer, loss=loss, gated=True)
        for loss in ("squared", "logistic", "hinge", "interpolation")
    },
    "two_layer/three features": functools.partial(two_layer, draw_data(6, 3)[0]),
    "two_layer/sampled": functools.partial(two_layer, patterns=sampled),
    "two_layer/duplicate rows": functools.partial(
        two_layer, duplicate_rows(), patterns=repeated
    ),
    "two_layer/zero rows": functools.partial(two_layer, zero_rows(), patterns=repeated),
    "two_layer/rank two": functools.partial(two_layer, rank_two()),
    "two_layer/one feature": functools.partial(two_layer, draw_data(5, 1)[0]),
    "two_layer/one sample": functools.partial(two_layer, draw_data(1, 3)[0]),
    "two_layer/all inactive": functools.partial(
        two_layer, np.abs(draw_data(8, 2)[0]), patterns=all_inactive
    ),
    "two_layer/zero data": functools.partial(two_layer, np.zeros((8, 2))),
    "two_layer/gated/duplicate rows": functools.partial(
        two_layer, duplicate_rows(), patterns=repeated, gated=True
    ),
    "two_layer/gated/all inactive": functools.partial(
        two_layer, np.abs(draw_data(8, 2)[0]), patterns=all_inactive, gated=True
    ),
    **{
        f"convolutional/{kind}": functools.partial(convolutional, kind)
        for kind in KINDS
    },
    **{
        f"batch_norm/{order}/centre {centre}, shift {shift}": functools.partial(
            batch_norm, order, centre, shift
        )
        for order, centre, shift in (
            ("before", True, True),
            ("after", False, False),
            ("after", True, False),
            ("after", True, True),
        )
    },
    "vector_output/relu": functools.partial(vector_output, False),
    "vector_output/gated": functools.partial(vector_output, True),
    "vector_output/softmax": functools.partial(vector_output, False, "softmax"),
    "vector_output/gated/weighted softmax": functools.partial(
        vector_output, True, "weighted softmax"
    ),
    **{
        f"polynomial/{loss}": functools.partial(polynomial, loss)
        for loss in (
            "squared",
            "huber",
            "logistic",
            "hinge",
            "squared_hinge",
            "weighted pinball",
        )
    },
    "polynomial/quadratic": functools.partial(polynomial, coefficients=(1, 0, 0)),
    "polynomial/even": functools.partial(polynomial, coefficients=(-1, 0, 0.3)),
    "polynomial/linear": functools.partial(polynomial, coefficients=(0, 1, 0.5)),
    "polynomial/two outputs": functools.partial(polynomial, outputs=2),
    "polynomial/pooled": functools.partial(polynomial, pool=2),
    **{
        f"quantized/{loss}": functools.partial(quantized, loss)
        for loss in ("squared", "logistic", "hinge")
    },
}

SPECTRAL = [name for name in PROGRAMS if name.startswith(("polynomial", "quantized"))]
"""Programs over pairs of PSD matrices."""

NEURONS = ("vector_output/relu", "vector_output/softmax")

LINEAR = [name for name in PROGRAMS if name not in NEURONS]
"""Programs whose predictions are linear in their parameters; others have neurons."""

BLOCKS = [name for name in LINEAR if name not in SPECTRAL]
"""Programs of blocks with norms, between cones or free."""

EXACT = [name for name in PROGRAMS if not name.startswith("quantized")]
"""Programs that have the networks' optimum; the others relax them."""


class Reference(NamedTuple):
    """Answers to a program from outside the library."""

    optimum: Callable[[Any], float]
    polar: Callable[[Any, np.ndarray], float]
    matrix: Callable[[Any], np.ndarray]
    violation: Callable[[Any, np.ndarray], float]
    penalty: Callable[[Any, np.ndarray], float] = blocks.group_penalty


_SPECTRAL = Reference(
    optimum=spectra.optimum,
    polar=spectra.polar,
    matrix=spectra.matrix,
    violation=spectra.violation,
    penalty=spectra.penalty,
)

REFERENCES: dict[str, Reference] = {
    "two_layer": Reference(
        optimum=references.two_layer_optimum,
        polar=references.two_layer_polar,
        matrix=references.two_layer_matrix,
        violation=references.two_layer_violation,
    ),
    "convolutional": Reference(
        optimum=blocks.convolutional_optimum,
        polar=blocks.convolutional_polar,
        matrix=blocks.convolutional_matrix,
        violation=blocks.convolutional_violation,
        penalty=blocks.convolutional_penalty,
    ),
    "batch_norm": Reference(
        optimum=blocks.norm_optimum,
        polar=blocks.norm_polar,
        matrix=blocks.norm_matrix,
        violation=blocks.norm_violation,
    ),
    "vector_output": Reference(
        optimum=vectors.optimum,
        polar=vectors.polar,
        matrix=vectors.matrix,
        violation=vectors.violation,
        penalty=vectors.penalty,
    ),
    "polynomial": _SPECTRAL,
    "quantized": _SPECTRAL,
}


class SolverCase(NamedTuple):
    solver: Any
    takes: Callable[[str], bool]  # of names in PROGRAMS
    leaves: tuple[str, ...] = ()  # those it does not solve as they are: it goes on to
    # better patterns, or ends near the optimum only


def _of_patterns(name: str) -> bool:
    """Programs whose blocks are neurons, whatever rows these see."""
    pools = ("convolutional/sum_pool", "convolutional/average_pool")
    return name.startswith(("two_layer", "batch_norm/before", *pools))


def _losses(name: str) -> list[str]:
    known = (*REAL_LABELS, *SIGN_LABELS, "softmax")
    return [tag for tag in name.split("/") if tag.removeprefix(WEIGHTED) in known]


def _is_smooth(name: str) -> bool:
    return all(loss.removeprefix(WEIGHTED) in SMOOTH for loss in _losses(name))


def _without_cones(name: str) -> bool:
    free = ("convolutional/linear", "convolutional/circular")
    return "gated" in name.split("/") or name in free


def _smooth_without_cones(name: str) -> bool:
    return _without_cones(name) and _is_smooth(name)


def _with_groups(name: str) -> bool:
    other = ("convolutional/linear", "convolutional/circular_relu")
    return not name.startswith("vector_output") and name not in (*SPECTRAL, *other)


def _smooth(name: str) -> bool:
    return _of_patterns(name) and _is_smooth(name)


def _smooth_spectral(name: str) -> bool:
    curved = ("squared", "logistic", "squared_hinge")
    return name in SPECTRAL and all(loss in curved for loss in _losses(name))


def _without_constraints(name: str) -> bool:
    return _of_patterns(name) and not any(x in CONSTRAINTS for x in _losses(name))


def _with_groups_alone(name: str) -> bool:
    return _with_groups(name) and not set(_losses(name)) & set(CONSTRAINTS)


def _gates(name: str) -> bool:
    known = name.startswith(("two_layer", "batch_norm/before", "vector_output/gated"))
    return known and _is_smooth(name)


def _relu_without_constraints(name: str) -> bool:
    return not _without_cones(name) and _without_constraints(name)


def _smooth_gated_vectors(name: str) -> bool:
    return name.startswith("two_layer/gated") and _is_smooth(name)


SOLVERS: dict[str, SolverCase] = {
    "ActiveSetNewton": SolverCase(
        cj.solvers.ActiveSetNewton(tol=1e-9), _smooth_gated_vectors
    ),
    "Admm": SolverCase(cj.solvers.Admm(tol=1e-7), lambda name: name in BLOCKS),
    "CopositiveRelaxation": SolverCase(
        cj.solvers.CopositiveRelaxation(tol=1e-7),
        lambda name: name == "vector_output/relu",
    ),
    "Fista": SolverCase(cj.solvers.Fista(tol=1e-7), _smooth_without_cones),
    "BurerMonteiro": SolverCase(
        cj.solvers.BurerMonteiro(tol=1e-7), lambda name: name not in LINEAR
    ),
    "FrankWolfe": SolverCase(
        cj.solvers.FrankWolfe(tol=1e-7), lambda name: name not in LINEAR
    ),
    "InteriorPoint": SolverCase(cj.solvers.InteriorPoint(tol=1e-9), _with_groups),
    "ColumnGeneration": SolverCase(
        cj.solvers.ColumnGeneration(tol=1e-7),
        _relu_without_constraints,
        leaves=("two_layer/sampled", "two_layer/all inactive"),
    ),
    "LowRankSemidefinite": SolverCase(
        cj.solvers.LowRankSemidefinite(tol=1e-7),
        lambda name: name in SPECTRAL and _is_smooth(name),
    ),
    "Semidefinite": SolverCase(
        cj.solvers.Semidefinite(tol=1e-7), lambda name: name in SPECTRAL
    ),
    "SemidefiniteInteriorPoint": SolverCase(
        cj.solvers.SemidefiniteInteriorPoint(tol=1e-9), _smooth_spectral
    ),
    "SemismoothNewton": SolverCase(cj.solvers.SemismoothNewton(tol=1e-9), _smooth),
    "Stochastic": SolverCase(
        cj.solvers.Stochastic(tol=1e-7),
        _gates,
        leaves=tuple(x for x in PROGRAMS if _gates(x) and not _without_cones(x)),
    ),
    "WorkingSet": SolverCase(cj.solvers.WorkingSet(tol=1e-7), _with_groups_alone),
}

PAIRS = [
    (name, solver)
    for name in PROGRAMS
    for solver, case in SOLVERS.items()
    if case.takes(name) and name not in case.leaves
]


AROUND = "ColumnGeneration Fista LowRankSemidefinite Stochastic WorkingSet".split()
"""Solvers that leave the loss to those that they run, or take its gradient alone."""


def _facts(name: str, solver: str) -> set[tuple[str, str]]:
    """What a pair of a program and a solver covers."""
    losses = [loss.removeprefix(WEIGHTED) for loss in _losses(name)]
    if solver in AROUND:
        losses = ["smooth" if _is_smooth(name) else "kinked"]
    family = name.split("/")[0] + ("/gated" if "gated" in name.split("/") else "")
    return {
        ("program", name),
        (solver, family),
        *((solver, loss) for loss in losses or ["squared"]),
    }


def _covering() -> list[tuple[str, str]]:
    """Few pairs: every program, every solver with each loss, and with each family.

    Greedy, and among equals a pair of the solver that was taken least.
    """
    left, seen, chosen = list(PAIRS), set(), []
    while left:
        uses = collections.Counter(solver for _, solver in chosen)
        best = max(left, key=lambda pair: (len(_facts(*pair) - seen), -uses[pair[1]]))
        if not _facts(*best) - seen:
            break
        chosen.append(best)
        seen |= _facts(*best)
        left.remove(best)
    return [pair for pair in PAIRS if pair in chosen]


COVERING = _covering()
"""The pairs of the short suite; `scripts/test --full` takes all of PAIRS."""


@functools.cache
def program_of(name: str) -> Any:
    return PROGRAMS[name]()


def reference_of(name: str) -> Reference:
    return REFERENCES[name.split("/")[0]]


def point_of(program: Any, params: Any, dual: Any, multipliers: Any = None) -> Any:
    """What a solver might hand back, honest or not."""
    params, dual = jnp.asarray(params), jnp.asarray(dual)
    if multipliers is not None:
        multipliers = jnp.asarray(multipliers)
    return cj.Solution.of(program, params, dual, multipliers=multipliers)


@functools.cache
def optimum_of(name: str) -> float:
    return reference_of(name).optimum(program_of(name))


@functools.cache
def solution_of(name: str, solver: str) -> Any:
    return cj.solve(program_of(name), SOLVERS[solver].solver)


@functools.cache
def certificate_of(name: str, solver: str) -> Any:
    return cj.certify(program_of(name), solution_of(name, solver))
