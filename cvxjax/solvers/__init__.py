"""One algorithm per file; `loop` drives them all."""

from cvxjax.solvers.admm import Admm
from cvxjax.solvers.burer_monteiro import BurerMonteiro
from cvxjax.solvers.column_generation import ColumnGeneration
from cvxjax.solvers.copositive import CopositiveRelaxation
from cvxjax.solvers.fista import Fista
from cvxjax.solvers.frank_wolfe import FrankWolfe
from cvxjax.solvers.interior_point import InteriorPoint
from cvxjax.solvers.low_rank_semidefinite import LowRankSemidefinite
from cvxjax.solvers.semidefinite import Semidefinite
from cvxjax.solvers.semidefinite_interior_point import SemidefiniteInteriorPoint
from cvxjax.solvers.semismooth_newton import SemismoothNewton
from cvxjax.solvers.stochastic import Stochastic
from cvxjax.solvers.working_set import WorkingSet

__all__ = [
    "Admm",
    "BurerMonteiro",
    "ColumnGeneration",
    "CopositiveRelaxation",
    "Fista",
    "FrankWolfe",
    "InteriorPoint",
    "LowRankSemidefinite",
    "Semidefinite",
    "SemidefiniteInteriorPoint",
    "SemismoothNewton",
    "Stochastic",
    "WorkingSet",
]
