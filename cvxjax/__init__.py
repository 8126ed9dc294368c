"""Neural-network training as convex optimization, with certificates."""

# isort: off
from cvxjax import early_interrupts

early_interrupts.watch_start()
# isort: on

from cvxjax import (
    arrangements,
    data,
    decomposition,
    losses,
    networks,
    programs,
    recovery,
    solvers,
)
from cvxjax.certificates import certify
from cvxjax.solution import Certificate, Scope, Solution, SolverError, Status
from cvxjax.solve import solve, solve_path
from cvxjax.verdicts import CertificateError

__version__ = "0.1.0"

__all__ = [
    "Certificate",
    "CertificateError",
    "Scope",
    "Solution",
    "SolverError",
    "Status",
    "arrangements",
    "certify",
    "data",
    "decomposition",
    "losses",
    "networks",
    "programs",
    "recovery",
    "solve",
    "solve_path",
    "solvers",
]
