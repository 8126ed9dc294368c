"""One algorithm per file; `loop` drives them all."""

from cvxjax.solvers.admm import Admm
from cvxjax.solvers.fista import Fista

__all__ = ["Admm", "Fista"]
