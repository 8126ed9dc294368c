"""Kinds of programs, each of one shape, so that its cases share what is compiled."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from cvxjax.networks.convolutional import KINDS

RESIDUALS = ("squared", "huber", "pinball", "interpolation")
MARGINS = ("logistic", "hinge", "squared_hinge", "hard_margin")
_ROOMS = (  # n, d and where patterns come from
    (8, 2, "all"),
    (6, 3, "all"),
    (8, 2, "sampled"),
    (8, 2, "gates"),
    (5, 1, "all"),
    (1, 3, "all"),
)


@dataclasses.dataclass(frozen=True)
class Family:
    """What all cases of one kind have in common."""

    constructor: str
    shape: tuple[int, ...]  # of X, or of patches
    options: tuple[tuple[str, Any], ...] = ()
    loss: str | None = None
    weighted: bool = False
    patterns: str | None = None
    outputs: int | None = None
    dtype: type = np.float64
    common: int = 1  # how many blocks of cases a round has
    intercept: bool = False  # whether a constant is added to the predictions

    @property
    def label(self) -> str:
        """Of one line in the table of counts."""
        options = dict(self.options)
        kind = options.get("kind") or options.get("order") or ""
        gated = "gated" if options.get("gated") else ""
        parts = [self.constructor, kind, gated, "weighted" * self.weighted, self.loss]
        parts.append("intercept" if self.intercept else None)
        parts.append("float32" if self.dtype is np.float32 else None)
        return " ".join(p for p in parts if p)


def families() -> list[Family]:
    """All, in an order that does not change."""
    return [*_two_layer(), *_several_outputs(), *_convolutional(), *_others()]


def _two_layer() -> list[Family]:
    found = []
    for gated, loss in itertools.product((False, True), RESIDUALS + MARGINS):
        options = (("gated", True),) if gated else ()
        rooms = _ROOMS[:4] if gated else _ROOMS
        if loss not in ("squared", "hinge"):
            rooms = (rooms[0], rooms[3])
        found += [
            Family("two_layer", (n, d), options, loss, patterns=patterns)
            for n, d, patterns in rooms
        ]
        if loss in ("squared", "logistic", "hinge", "interpolation"):
            single = Family("two_layer", (8, 2), options, loss, patterns="all")
            found.append(dataclasses.replace(single, dtype=np.float32))
        if loss in ("squared", "hinge"):
            heavy = Family("two_layer", (8, 2), options, loss, True, "all")
            found.append(heavy)
        if loss in ("squared", "pinball", "logistic", "hinge"):
            free = Family("two_layer", (8, 2), options, loss, patterns="all")
            found.append(dataclasses.replace(free, intercept=True))
    return found


def _several_outputs() -> list[Family]:
    found = []
    for gated, loss in itertools.product((False, True), ("squared", "softmax")):
        options = (("gated", True),) if gated else ()
        for shape, patterns in (((5, 2), "all"), ((6, 3), "sampled")):
            found.append(
                Family(
                    "vector_output", shape, options, loss, False, patterns, outputs=2
                )
            )
    return found


def _convolutional() -> list[Family]:
    shapes = {True: (5, 4), False: (4, 3, 2)}
    return [
        Family("convolutional", shapes[k.startswith("circular")], (("kind", k),))
        for k in KINDS
    ]


def _others() -> list[Family]:
    norms = [
        Family(
            "batch_norm",
            (6, 2),
            (("order", order), ("centre", centre), ("shift", shift)),
            outputs=outputs,
        )
        for order, centre, shift, outputs in (
            ("before", True, True, None),
            ("before", False, True, None),
            ("before", True, False, None),
            ("before", True, True, 2),
            ("after", True, True, None),
            ("after", False, False, None),
            ("after", True, False, None),
        )
    ]
    norms.append(dataclasses.replace(norms[0], dtype=np.float32))
    polynomials = [
        Family("polynomial", (8, 3), (("coefficients", coefficients),), loss)
        for coefficients, loss in (
            ((0.09, 0.5, 0.47), "squared"),
            ((0.0, 0.0, 1.0), "squared"),
            ((1.0, 0.0, 0.0), "logistic"),
            ((-1.0, 0.0, 0.3), "squared_hinge"),
            ((0.0, 1.0, 0.5), "huber"),
            ((0.09, 0.5, 0.47), "hinge"),
        )
    ]
    pooled = (("coefficients", (0.09, 0.5, 0.47)), ("patches", True), ("pool", 2))
    polynomials.append(Family("polynomial", (8, 4, 2), pooled, "squared"))
    two = Family("polynomial", (8, 3), polynomials[0].options, "squared", outputs=2)
    signs = [
        Family("quantized", (8, 3), loss=loss)
        for loss in ("squared", "logistic", "hinge")
    ]
    return [*norms, *polynomials, two, *signs]
