"""Which solver `solve` picks: that of the first row of a table that fits.

A row fits if its solver takes the program (`refusals.refusal`) and its condition holds.
A new form adds rows; nothing else changes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from cvxjax.bounds.exact import is_exact
from cvxjax.forms.contracts import Blocks
from cvxjax.interfaces import Program
from cvxjax.solution import Status
from cvxjax.solvers import loop
from cvxjax.solvers.blocks.active_set_newton import ActiveSetNewton
from cvxjax.solvers.blocks.admm import Admm
from cvxjax.solvers.blocks.fista import Fista
from cvxjax.solvers.blocks.interior_point import InteriorPoint
from cvxjax.solvers.blocks.semismooth_newton import SemismoothNewton
from cvxjax.solvers.blocks.working_set import WorkingSet
from cvxjax.solvers.columns.column_generation import ColumnGeneration
from cvxjax.solvers.neurons.burer_monteiro import BurerMonteiro
from cvxjax.solvers.neurons.copositive import CopositiveRelaxation
from cvxjax.solvers.neurons.frank_wolfe import FrankWolfe
from cvxjax.solvers.pairs.low_rank_semidefinite import LowRankSemidefinite
from cvxjax.solvers.pairs.semidefinite import Semidefinite
from cvxjax.solvers.pairs.semidefinite_interior_point import SemidefiniteInteriorPoint
from cvxjax.solvers.refusals import refusal
from cvxjax.solvers.standard_form import is_distorted

_SMALL = 1_000_000  # multipliers, up to which InteriorPoint is a matter of seconds
_MANY = 1_000  # blocks, beyond which few are active
_ROUGH = 1e-3  # gap from which Newton's method takes over
_SPARSE = 0.02  # of the beta from which on zero is optimal: few blocks are active above
_SPARSE_GATES = 0.005  # likewise, of gates without cones
_FEW_SAMPLES = 1_000  # up to which Admm's matrices take no time
_TINY = 30_000  # multipliers, up to which InteriorPoint takes no time
_FAR = 1e3  # times the tolerance: the gap of a solver that failed


def is_small(program: Any) -> bool:
    """Whether InteriorPoint is a matter of seconds."""
    return isinstance(program, Blocks) and _multipliers(program) <= _SMALL


def _multipliers(program: Any) -> int:
    return int(np.prod(program.shape[:2])) * len(program.y)


class Facts:
    """What the conditions of rows depend on, computed when first needed."""

    def __init__(self, program: Any) -> None:
        self.program = program

    @functools.cached_property
    def exact(self) -> bool:
        """Whether X is of rank three or less, where maxima over neurons are exact."""
        return is_exact(np.asarray(self.program.X))

    @functools.cached_property
    def distorted(self) -> bool:
        """Whether the data are badly conditioned."""
        return is_distorted(self.program)

    @property
    def known_distortion(self) -> bool | None:
        """`distorted` if it has been computed, else None."""
        return self.__dict__.get("distorted")

    @property
    def fits_dense(self) -> bool:
        """Whether there is room for a matrix [n, n]."""
        return len(self.program.y) <= Admm().dense_samples

    @property
    def small(self) -> bool:
        return self.fits_dense and is_small(self.program)

    @property
    def quadratic(self) -> bool:
        return self.program.loss.quadratic

    @property
    def coned(self) -> bool:
        return self.fits_dense and self.program.cones is not None

    @functools.cached_property
    def share(self) -> float:
        """Beta over the least one from which on zero is optimal."""
        highest = float(loop.price_range(self.program)[0])
        return float(self.program.beta) / highest if highest > 0 else np.inf

    @property
    def sparse(self) -> bool:
        """Whether beta is so large that few blocks are active."""
        return self.share >= _SPARSE

    @property
    def sparse_gates(self) -> bool:
        """Whether few gates are active, and so many samples that this counts."""
        if self.quadratic:
            large = len(self.program.y) > _FEW_SAMPLES
        else:
            large = _multipliers(self.program) > _TINY
        whole = len(self.program.X.devices()) == 1
        return large and whole and self.share >= _SPARSE_GATES and not self.distorted

    @property
    def many(self) -> bool:
        return self.program.shape[0] * self.program.shape[1] > _MANY


class Row(NamedTuple):
    """A solver, and the condition for it among the programs that it takes."""

    why: str
    solver: Callable[[], Any]
    when: Callable[[Facts], bool]


def _always(_: Facts) -> bool:
    return True


TABLE = (
    Row(
        "all patterns, one output",
        ColumnGeneration,
        lambda facts: facts.program.all_patterns,
    ),
    Row(
        "all patterns, several outputs",
        BurerMonteiro,
        lambda facts: facts.program.all_patterns,
    ),
    Row("small pairs of a curved loss", SemidefiniteInteriorPoint, _always),
    Row("pairs", Semidefinite, _always),
    Row("large pairs", LowRankSemidefinite, _always),
    Row(
        "neurons of rank four to six",
        CopositiveRelaxation,
        lambda facts: not facts.exact,
    ),
    Row("neurons", FrankWolfe, _always),
    Row(
        "gates, a smooth loss, few of them active",
        ActiveSetNewton,
        lambda facts: facts.sparse_gates,
    ),
    Row(
        "small, another loss than squared",
        InteriorPoint,
        lambda facts: facts.small and not facts.quadratic,
    ),
    Row(
        "small, badly conditioned data",
        InteriorPoint,
        lambda facts: facts.small and facts.distorted,
    ),
    Row(
        "large cones, a smooth loss",
        lambda: SemismoothNewton(inner=Admm(tol=_ROUGH)),
        lambda facts: facts.coned and not facts.quadratic,
    ),
    Row(
        "cones, squared loss, few active blocks",
        SemismoothNewton,
        lambda facts: facts.coned and facts.sparse,
    ),
    Row(
        "cones, at most a thousand blocks",
        InteriorPoint,
        lambda facts: facts.coned and not facts.many,
    ),
    Row(
        "cones of many blocks",
        WorkingSet,
        lambda facts: facts.coned and refusal(InteriorPoint(), facts.program) is None,
    ),
    Row("blocks", Admm, _always),
    Row("trees of arrays", Fista, _always),
)


# Tried where the first choice fails. Their steps are others, and so are their faults.
SECOND = SemismoothNewton, Admm


def is_poor(solution: Any, tol: float) -> bool:
    """Whether a solver ended so far from its tolerance that another should try."""
    ended = Status(int(solution.status)) in (Status.STALLED, Status.MAX_ITERATIONS)
    return ended and not float(solution.gap) <= _FAR * tol


def second_choices(program: Any, first: Any) -> list[Any]:
    """Other solvers for a program so small that they take little time."""
    if not isinstance(program, Blocks) or _multipliers(program) > _TINY:
        return []
    others = [kind() for kind in SECOND if not isinstance(first, kind)]
    return [solver for solver in others if refusal(solver, program) is None]


def chosen(facts: Facts) -> Any:
    """The solver of the first row that fits; ValueError where none does."""
    for row in TABLE:
        solver = row.solver()
        if refusal(solver, facts.program) is None and row.when(facts):
            return solver
    kind = type(facts.program).__name__
    raise ValueError(f"want a program of a form that a solver takes; got {kind}")


def default_solver(program: Program) -> Any:
    """The fast solver for a program of this form, size, loss and beta: see `TABLE`."""
    return chosen(Facts(program))
