"""Which names of cvxjax are public, and so must have an entry among the API pages."""

from __future__ import annotations

import importlib
import inspect
import types
from typing import Any

import cvxjax

MODULES = {
    "cvxjax.arrangements",
    "cvxjax.data.batches",
    "cvxjax.data.download",
    "cvxjax.data.images",
    "cvxjax.data.signals",
    "cvxjax.data.synthetic",
    "cvxjax.data.tables",
    "cvxjax.devices.communication",
    "cvxjax.devices.processes",
    "cvxjax.devices.runtime",
    "cvxjax.devices.sharding",
    "cvxjax.estimators",
    "cvxjax.interfaces",
    "cvxjax.networks",
    "cvxjax.programs",
    "cvxjax.recovery",
    "cvxjax.recovery.from_gated",
    "cvxjax.saving.checkpoints",
    "cvxjax.saving.preemption",
    "cvxjax.solvers",
    "cvxjax.solvers.base",
    "cvxjax.solvers.minibatches.minibatch",
    "cvxjax.solvers.minibatches.spread",
    "cvxjax.stages",
    "cvxjax.terms.cones",
    "cvxjax.terms.losses",
    "cvxjax.terms.regularisers",
    "cvxjax.terms.spectra",
}
"""Modules all of whose public names are documented, beside cvxjax itself."""


def names_of(module: types.ModuleType) -> list[str]:
    """`__all__`, or else the classes and functions that the module defines."""
    listed = getattr(module, "__all__", None)
    if listed is not None:
        return sorted(listed)
    return sorted(
        name
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isclass(thing) or inspect.isroutine(thing))
        and thing.__module__ == module.__name__
    )


def reached() -> set[str]:
    """The full names of modules that a user reaches as attributes of cvxjax."""
    named = [*cvxjax.__all__, *cvxjax._MODULES]
    things: dict[str, Any] = {name: getattr(cvxjax, name) for name in named}
    modules = {m.__name__ for m in things.values() if inspect.ismodule(m)}
    return {*modules, *(f"cvxjax.data.{name}" for name in cvxjax.data.__all__)}


def public_names() -> list[str]:
    """Every public name, in full: that of the module that offers it, a dot, its own."""
    found = [f"cvxjax.{name}" for name in cvxjax.__all__]
    modules = sorted(MODULES | reached())
    for name in modules:
        found += [f"{name}.{own}" for own in names_of(importlib.import_module(name))]
    return sorted(name for name in found if not inspect.ismodule(thing_of(name)))


def canonical_names() -> set[str]:
    """Public names as API pages have them: `losses.hinge` by the room it lies in."""
    return set(public_names())


def thing_of(name: str) -> Any:
    """What a full name stands for."""
    module, _, own = name.rpartition(".")
    return getattr(importlib.import_module(module), own)
