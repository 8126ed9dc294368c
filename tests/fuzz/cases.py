"""One case: the arguments of a constructor, the program they make, and their code."""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import cvxjax as cj


@dataclasses.dataclass(frozen=True)
class Case:
    """What `build` hands to `cj.programs.make_<constructor>`."""

    name: str  # SEED:NUMBER
    family: str
    constructor: str
    X: np.ndarray
    y: np.ndarray
    beta: float
    options: dict[str, Any]
    loss: str | None = None  # its code, such as "cj.losses.huber(0.1)"
    weights: np.ndarray | None = None  # [n], of the samples
    intercept: bool = False  # added to the predictions, best
    patterns: str | None = None  # "all", "sampled" or "gates"; None: the constructor's
    gates: np.ndarray | None = None  # [P, d], of "gates"
    draws: int = 0  # of "sampled"
    blocks: int | None = None  # to which patterns are padded; None: none added
    solvers: tuple[str | None, ...] = (None,)  # None: the default
    complete: bool = False  # beta and solvers are drawn

    @property
    def applies_flax(self) -> bool:
        """Whether Flax evaluates the network as well, which compiles: one in twenty."""
        return int(self.name.split(":")[1]) % 20 == 0

    @property
    def loss_code(self) -> str | None:
        if self.intercept:
            return f"cj.losses.with_intercept({self.loss})"
        if self.weights is None:
            return self.loss
        return f"cj.losses.weighted({self.loss}, {array_code(self.weights)})"


def patterns_code(case: Case) -> str | None:
    """The expression of the patterns, in terms of X."""
    if case.patterns == "all":
        return "cj.arrangements.enumerate_patterns(X)"
    if case.patterns == "sampled":
        key = "jax.random.key(0)"
        return f"cj.arrangements.sample_patterns({key}, X, num={case.draws})"
    if case.patterns == "gates":
        return f"cj.arrangements.from_gates(X, {array_code(case.gates)})"
    return None


def array_code(array: Any) -> str:
    """An expression that is the array, bit for bit."""
    array = np.asarray(array)
    body = repr(array.tolist()).replace("nan", "np.nan").replace("inf", "np.inf")
    dtype = "" if array.dtype in (np.float64, np.int64) else f", np.{array.dtype}"
    return f"np.array({body}{dtype})"


def program_code(case: Case) -> str:
    """Lines that assign X, y and program."""
    lines = [f"X = {array_code(case.X)}", f"y = {array_code(case.y)}"]
    arguments = ["X", "y"]
    patterns = patterns_code(case)
    if patterns is not None:
        lines.append(f"patterns = {patterns}")
        arguments.append("patterns=patterns")
    arguments.append(f"beta={case.beta!r}")
    if case.loss_code is not None:
        arguments.append(f"loss={case.loss_code}")
    arguments += [f"{name}={value!r}" for name, value in case.options.items()]
    if "patches" in case.options:
        arguments = [x for x in arguments if not x.startswith("patches=")]
        arguments[0] = "None"
        arguments.append("patches=X")
    call = f"cj.programs.make_{case.constructor}({', '.join(arguments)})"
    return "\n".join([*lines, f"program = {call}"])


def build(case: Case, beta: float | None = None) -> Any:
    """The program, its patterns repeated until there are `case.blocks`."""
    known = {"cj": cj, "np": np, "jax": jax, "X": case.X}
    options = dict(case.options)
    if case.loss is not None:
        options["loss"] = eval(case.loss, known)
        if case.weights is not None:
            weighted: Any = getattr(cj.losses, "weighted")  # noqa: B009
            options["loss"] = weighted(options["loss"], case.weights)
        if case.intercept:
            options["loss"] = cj.losses.with_intercept(options["loss"])
    code = patterns_code(case)
    if code is not None:
        options["patterns"] = eval(code, known)
    first = case.X
    if "patches" in options:
        first, options["patches"] = None, case.X
    make: Any = cj.programs.REGISTRY[case.constructor]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # patterns left out, thin cells
        program = make(
            first, case.y, beta=case.beta if beta is None else beta, **options
        )
    return program if case.blocks is None else _padded(program, case.blocks)


_OF_BLOCKS = {
    "masks": ("masks", "gates"),
    "features": ("masks", "gates", "features", "unmix", "active"),
}


def _padded(program: Any, blocks: int) -> Any:
    """Repeats patterns, so that programs of few shapes share what is compiled."""
    axis = next((x for x in ("features", "masks") if x in vars(program)), None)
    if axis is None:
        return program
    count = len(getattr(program, axis))
    if count >= blocks or getattr(program, "kind", "") in ("linear", "circular"):
        return program
    index = np.arange(blocks) % count
    repeated = {
        name: jnp.asarray(np.asarray(getattr(program, name))[index])
        for name in _OF_BLOCKS[axis]
        if name in vars(program)
    }
    if program.cones is not None:
        repeated["cones"] = program.cones.select(jnp.asarray(index))
    return program.replace(**repeated)
