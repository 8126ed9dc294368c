"""A smaller case that fails in the same way, and the code that shows it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator

import numpy as np

from tests.fuzz.cases import Case, program_code
from tests.fuzz.oracles import Finding, examine

_DIGITS = (1, 2, 3, 6)
_OF_PAIRS = ("contradiction", "false INFEASIBLE")  # take every solver of the case


def fails(case: Case, finding: Finding, limit: float) -> Finding | None:
    """What fails in the same way, if anything does."""
    paired = finding.kind in _OF_PAIRS
    outcome = examine(case, limit=limit, with_reference=paired)
    for found in outcome.findings:
        if found.kind == finding.kind and (paired or found.solver == finding.solver):
            return found
    return None


def shrink(
    case: Case, finding: Finding, *, seconds: float, limit: float
) -> tuple[Case, Finding]:
    """Greedily, for that long: rounder numbers, fewer rows, columns and patterns."""
    end = time.monotonic() + seconds
    if finding.kind not in _OF_PAIRS and finding.solver:
        solver = None if finding.solver == "default" else finding.solver
        case = dataclasses.replace(case, solvers=(solver,))
    moved = True
    while moved and time.monotonic() < end:
        moved = False
        for move in (_rounder, _fewer):
            for smaller in move(case):
                if time.monotonic() >= end:
                    return case, finding
                found = fails(smaller, finding, limit)
                if found is not None:
                    case, finding, moved = smaller, found, True
                    break
    return case, finding


def _rounded(array: np.ndarray, digits: int) -> np.ndarray:
    if array.dtype.kind == "i":
        return array
    flat = [float(f"{x:.{digits - 1}e}") for x in array.ravel().tolist()]
    return np.asarray(flat, array.dtype).reshape(array.shape)


def _changed(case: Case, **arrays: np.ndarray) -> Iterator[Case]:
    if any(not np.array_equal(getattr(case, k), v) for k, v in arrays.items()):
        yield dataclasses.replace(case, **arrays)  # type: ignore[arg-type]


def _rounder(case: Case) -> Iterator[Case]:
    for digits in _DIGITS[:2]:
        beta = float(f"{case.beta:.{digits - 1}e}")
        if beta != case.beta and beta > 0:
            yield dataclasses.replace(case, beta=beta)
    for name in ("X", "y", "gates", "weights"):
        array = getattr(case, name)
        if array is None:
            continue
        for digits in _DIGITS:
            if not np.array_equal(_rounded(array, digits), array):
                yield from _changed(case, **{name: _rounded(array, digits)})
                break  # rounder ones come first; more digits only if none fails
        for digits in _DIGITS[1:]:
            yield from _changed(case, **{name: _rounded(array, digits)})


def _fewer(case: Case) -> Iterator[Case]:
    if case.blocks is not None:
        yield dataclasses.replace(case, blocks=None)
    n = len(case.X)
    for i in range(n if n > 1 else 0):
        keep = np.arange(n) != i
        weights = None if case.weights is None else case.weights[keep]
        yield dataclasses.replace(case, X=case.X[keep], y=case.y[keep], weights=weights)
    d = case.X.shape[-1]
    for j in range(d if d > 1 and case.X.ndim == 2 else 0):
        keep = np.arange(d) != j
        gates = None if case.gates is None else case.gates[:, keep]
        yield dataclasses.replace(case, X=case.X[:, keep], gates=gates)
    if case.gates is not None and len(case.gates) > 1:
        for i in range(len(case.gates)):
            yield dataclasses.replace(case, gates=np.delete(case.gates, i, axis=0))
    drop: Callable[[np.ndarray], np.ndarray] = lambda X: np.where(  # noqa: E731
        np.arange(d) == int(np.argmin(np.max(np.abs(X.reshape(-1, d)), axis=0))), 0, X
    )
    yield from _changed(case, X=drop(case.X).astype(case.X.dtype))


def snippet(case: Case, finding: Finding) -> str:
    """A program that shows the failure, to run as it is."""
    lines = [
        f"# {case.name}  {finding.kind}, {finding.solver or 'no solver'}: "
        f"{finding.detail}",
        "import jax",
        "",
        'jax.config.update("jax_enable_x64", True)',
        "import numpy as np",
        "import cvxjax as cj",
        "",
        program_code(case),
    ]
    if case.blocks is not None:
        lines.append(f"# the fuzzer repeats its patterns up to {case.blocks} blocks")
    for name in case.solvers if case.complete else ():
        solver = "" if name is None else f", cj.solvers.{name}()"
        lines += [
            f"solution = cj.solve(program{solver})",
            "status = cj.Status(int(solution.status)).name",
            "print(status, solution.objective, solution.dual_bound)",
            "print(cj.certify(program, solution))",
        ]
        if finding.kind == "other network":
            lines += [
                "z = program.network().apply("
                "program.recover(solution.params), program.inputs)",
                "print(z - program.forward(solution.params))",
            ]
    return "\n".join(lines)
