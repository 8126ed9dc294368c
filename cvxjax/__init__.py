"""Neural-network training as convex optimization, with certificates."""

# isort: off
from cvxjax.command_line import early_interrupts

early_interrupts.watch_start()
# isort: on

import importlib
from typing import Any

from cvxjax import arrangements, data, networks, programs, recovery, solvers
from cvxjax.certificates import certify
from cvxjax.recovery import from_gated as decomposition
from cvxjax.solution import Certificate, Scope, Solution, SolverError, Status
from cvxjax.solve import solve, solve_path
from cvxjax.terms import losses
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

# Public modules that lie in rooms, imported when they are first asked for.
_ROOMS = {
    "checkpoints": "saving",
    "communication": "devices",
    "cones": "terms",
    "estimators": "",
    "preemption": "saving",
    "processes": "devices",
    "regularisers": "terms",
    "runtime": "devices",
    "sharding": "devices",
    "spectra": "terms",
    "stages": "",
}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(
        ".".join(filter(None, (__name__, _ROOMS[name], name)))
    )


def __dir__() -> list[str]:
    return sorted({*globals(), *_ROOMS})
