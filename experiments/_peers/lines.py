"""The curves of the benchmark: a solver, and its settings from loose to tight."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

Settings = Mapping[str, Any]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """One curve. A looser setting is hardly slower, so one that fails ends the line."""

    name: str
    peer: str  # of session.ADAPTERS
    relu: tuple[Settings, ...] = ()  # loose to tight; none: it does not take cones
    gated: tuple[Settings, ...] = ()

    @property
    def ours(self) -> bool:
        """Whether it is cvxjax, which compiles."""
        return self.peer == "cvxjax"

    def settings(self, gated: bool) -> tuple[Settings, ...]:
        return self.gated if gated else self.relu


def _tolerances(*tols: float, **fixed: Any) -> tuple[Settings, ...]:
    return tuple({"tol": tol, **fixed} for tol in tols)


def _ours(
    name: str, solver: str | None = None, *, cones: bool = True, gated: bool = True
) -> Line:
    """A solver of `cvxjax.solvers` by name; None: what one gets without a name."""
    chosen = {} if solver is None else {"solver": solver}
    settings = _tolerances(1e-3, 1e-4, 1e-6, 1e-9, **chosen)
    return Line(
        name=name,
        peer="cvxjax",
        relu=settings if cones else (),
        gated=settings if gated else (),
    )


_POINT = {
    "solver": "Admm",
    "dtype": "float32",
    "tol": 1e-4,
    "rho": 10.0,
    "relaxation": 1.85,
    "cycle": 25,
    "check_every": 500,
}


LINES = {
    line.name: line
    for line in (
        _ours("cvxjax"),
        _ours("interior-point", "InteriorPoint"),
        _ours("working-set", "WorkingSet"),
        _ours("semismooth Newton", "SemismoothNewton", gated=False),
        _ours("ADMM", "Admm"),
        Line(  # a point soon, by its number of steps as others by their tolerance
            name="ADMM to a point",
            peer="cvxjax",
            relu=tuple({"max_iters": k, **_POINT} for k in (500, 1000, 2500)),
        ),
        _ours("FISTA", "Fista", cones=False),
        Line(
            name="adelie",
            peer="adelie",
            relu=_tolerances(1e-6, 1e-7, 3e-8, 1e-8, 3e-9, 1e-9, path=10, threads=2),
            gated=_tolerances(1e-8, 1e-10, 1e-11, 1e-12, 1e-13, path=10, threads=2),
        ),
        Line(
            name="pyscnn",
            peer="pyscnn",
            relu=tuple({"tol": t, "constraint_tol": t} for t in (1e-4, 1e-5, 1e-6)),
            gated=_tolerances(1e-6, 1e-8, 1e-10),
        ),
        Line(
            name="Clarabel",
            peer="clarabel",
            relu=_tolerances(1e-4, 1e-8, solver="CLARABEL"),
            gated=_tolerances(1e-4, 1e-8, solver="CLARABEL"),
        ),
        Line(
            name="SCS",
            peer="scs",
            relu=_tolerances(1e-5, solver="SCS", seconds=30),  # 1e-3 takes as long
            gated=_tolerances(1e-3, 1e-5, solver="SCS", seconds=30),
        ),
    )
}
"""Every curve by its name. A new setting is one more entry here."""


def _only(name: str, *tols: float) -> Line:
    """The line with fewer settings for problems with cones."""
    line = LINES[name]
    kept = tuple(settings for settings in line.relu if settings["tol"] in tols)
    return dataclasses.replace(line, relu=kept)


PROFILED = {
    line.name: line
    for line in (
        _only("cvxjax", 1e-3, 1e-4),
        _only("adelie", 1e-7, 1e-8, 1e-9),
        LINES["Clarabel"],
        LINES["pyscnn"],
    )
}
"""Lines of suites of many problems, with the settings that reach moderate levels."""
