"""One algorithm per file; `loop` drives them all."""

from cvxjax.solvers.admm import Admm
from cvxjax.solvers.fista import Fista
from cvxjax.solvers.interior_point import InteriorPoint

__all__ = ["Admm", "Fista", "InteriorPoint"]
