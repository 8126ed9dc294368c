"""Neural-network training as convex optimization, with certificates."""

# isort: off
from cvxjax.command_line import early_interrupts

early_interrupts.watch_start()
# isort: on

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvxjax import arrangements, data, networks, programs, recovery, solvers
    from cvxjax.certificates import certify
    from cvxjax.recovery import from_gated as decomposition
    from cvxjax.solution import Certificate, Scope, Solution, SolverError, Status
    from cvxjax.solving import solve, solve_path
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

# JAX takes a second to import, so everything is imported when it is first asked for:
# `cvxjax --help` asks for nothing. By the module in which a name lies:
_NAMES = {
    "certificates": ["certify"],
    "solution": ["Certificate", "Scope", "Solution", "SolverError", "Status"],
    "solving": ["solve", "solve_path"],
    "verdicts": ["CertificateError"],
}
_FIRST = [*_NAMES, "arrangements", "data", "networks", "programs", "solvers"]
_MODULE_OF = {name: module for module, names in _NAMES.items() for name in names}

# Modules by their public names.
_MODULES = {
    "arrangements": "arrangements",
    "checkpoints": "saving.checkpoints",
    "communication": "devices.communication",
    "cones": "terms.cones",
    "data": "data",
    "decomposition": "recovery.from_gated",
    "estimators": "estimators",
    "losses": "terms.losses",
    "networks": "networks",
    "preemption": "saving.preemption",
    "processes": "devices.processes",
    "programs": "programs",
    "recovery": "recovery",
    "regularisers": "terms.regularisers",
    "runtime": "devices.runtime",
    "sharding": "devices.sharding",
    "solvers": "solvers",
    "spectra": "terms.spectra",
    "stages": "stages",
}


def __getattr__(name: str) -> Any:
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    for module in _FIRST:  # together, so that their rooms are there too
        importlib.import_module(f"{__name__}.{module}")
    if name in _MODULES:
        found = importlib.import_module(f"{__name__}.{_MODULES[name]}")
    elif name in _MODULE_OF:
        module = importlib.import_module(f"{__name__}.{_MODULE_OF[name]}")
        found = getattr(module, name)
    elif name in globals():  # a room
        return globals()[name]
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
