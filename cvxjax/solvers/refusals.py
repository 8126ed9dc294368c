"""Which programs a solver takes, and why it refuses others.

A solver's class has `takes`, the form, losses and norms that it is made for, and
`limits(program)` for limits of sizes and options. `refusal` checks both.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from cvxjax.forms.contracts import (
    Blocks,
    Gated,
    Linear,
    Neurons,
    Pairs,
    Patterned,
    Vectors,
)
from cvxjax.interfaces import Gauge, NeuronProgram, Proximal

_WORDS: dict[type, str] = {
    Linear: "ones with linear predictions",
    Blocks: "blocks with linear predictions (response and cones)",
    Vectors: "blocks that are vectors",
    Patterned: "vectors over activation patterns",
    Gated: "blocks with gates (two-layer programs)",
    Neurons: "neurons of any number (vector outputs with cones)",
    Pairs: "pairs of PSD matrices (polynomial and quantized networks)",
    NeuronProgram: "ReLU neurons of one output each",
    Gauge: "dual norm",
    Proximal: "proximal map",
}


class Takes(NamedTuple):
    """What a solver is made for; by default all losses, cones and norms of a form."""

    form: type  # a contract of `forms.contracts` or `interfaces`
    cones: bool | None = None  # whether there must be cones, or must be none
    smooth: bool = False  # only losses with a Lipschitz gradient
    constraints: bool = True  # also losses that are constraints
    coupled: bool = False  # also losses that couple the samples
    losses: tuple[str, ...] | None = None  # only these, weighted or not
    regulariser: type = Gauge  # a contract of `interfaces`
    norms: tuple[str, ...] | None = None  # only regularisers of these norms
    float64: bool = False


def refusal(solver: Any, program: Any) -> str | None:
    """Why this solver cannot take this program, or None if it can."""
    takes, name = solver.takes, type(solver).__name__
    if not isinstance(program, takes.form):
        return f"its parameters are not {_WORDS.get(takes.form, takes.form.__name__)}"
    if program.all_patterns and not solver.leaves_patterns:
        return "it lists few of its patterns, and this solver finds no others"
    if takes.cones is False and program.cones is not None:
        return f"the program has cone constraints ({name} takes gated programs)"
    if takes.cones and program.cones is None:
        return f"the program is gated ({name} takes programs with cones)"
    loss = program.loss
    if takes.smooth and loss.smoothness is None:
        return f"the {loss.name} loss is not smooth"
    if not takes.constraints and loss.constraint is not None:
        return f"few blocks may not meet the constraint of {loss.name}"
    if loss.coupled and not takes.coupled:
        return f"the samples of the {loss.name} loss are coupled"
    wanted = takes.losses
    if wanted is not None and loss.name.removeprefix("weighted ") not in wanted:
        return f"its loss is {loss.name} ({name} takes {', '.join(wanted)})"
    if not isinstance(program.regulariser, takes.regulariser):
        return f"its regulariser has no {_WORDS[takes.regulariser]}"
    if takes.norms is not None and program.regulariser.norm not in takes.norms:
        return f"its regulariser is no {takes.norms[0]} norm"
    if takes.float64 and program.X.dtype != np.float64:
        return f"the data are {program.X.dtype} ({name} takes float64)"
    return solver.limits(program)


def first_fitting(program: Any, *solvers: Any) -> Any:
    """The first of these solvers that takes the program, or else the last one."""
    return next((s for s in solvers if refusal(s, program) is None), solvers[-1])


def inner_refusal(inner: Any, program: Any) -> str | None:
    """Why a solver cannot run inside another on this program; None: it can."""
    if inner is None:
        return None
    if inner.leaves_patterns:
        return "its inner solver leaves the program's patterns"
    return refusal(inner, program)
