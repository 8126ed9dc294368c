"""One algorithm per file; `loop` drives them all."""

from cvxjax.solvers.blocks.active_set_newton import ActiveSetNewton
from cvxjax.solvers.blocks.admm import Admm
from cvxjax.solvers.blocks.fista import Fista
from cvxjax.solvers.blocks.interior_point import InteriorPoint
from cvxjax.solvers.blocks.semismooth_newton import SemismoothNewton
from cvxjax.solvers.blocks.working_set import WorkingSet
from cvxjax.solvers.columns.column_generation import ColumnGeneration
from cvxjax.solvers.minibatches.stochastic import Stochastic
from cvxjax.solvers.neurons.burer_monteiro import BurerMonteiro
from cvxjax.solvers.neurons.copositive import CopositiveRelaxation
from cvxjax.solvers.neurons.frank_wolfe import FrankWolfe
from cvxjax.solvers.pairs.low_rank_semidefinite import LowRankSemidefinite
from cvxjax.solvers.pairs.semidefinite import Semidefinite
from cvxjax.solvers.pairs.semidefinite_interior_point import SemidefiniteInteriorPoint

__all__ = [
    "ActiveSetNewton",
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
