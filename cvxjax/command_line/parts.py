"""What a saved file holds to certify a network: one part for each convex program."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from cvxjax.arrangements.patterns import Patterns
from cvxjax.estimators.training import Task, program_of
from cvxjax.solution import Scope, Solution

_ORTHONORMAL = 1e-9  # off by more, it is no basis


@dataclasses.dataclass(frozen=True)
class Part:
    """One convex program's solution, with what it takes to certify it."""

    params: Any
    dual: np.ndarray
    multipliers: np.ndarray | None
    masks: np.ndarray | None  # [P, n], None without patterns of its own
    gates: np.ndarray | None
    every: bool  # over all patterns, of which these are those in use
    scope: str
    beta: float  # of the program, whose loss has weights of mean one
    constants: np.ndarray  # [c]
    basis: np.ndarray | None = None  # of the features, as `Task` has it

    @classmethod
    def of(
        cls, program: Any, solution: Solution, constants: np.ndarray, basis: Any
    ) -> Part:
        """From a program and its solution."""
        patterns, every = solution.patterns, bool(program.all_patterns)
        if patterns is None and not every:
            patterns = program.patterns
        return cls(
            params=np.asarray(solution.params),
            dual=np.asarray(solution.dual),
            multipliers=None
            if solution.multipliers is None
            else np.asarray(solution.multipliers),
            masks=None if patterns is None else np.asarray(patterns.masks),
            gates=None if patterns is None else np.asarray(patterns.gates),
            every=every,
            scope=program.scope.value,
            beta=float(program.beta),
            constants=np.asarray(constants, float),
            basis=basis,
        )

    def task_of(self, task: Task) -> Task:
        """The task in this part's basis, which another machine may not find again.

        Raises:
          ValueError: if it is no basis of the samples.
        """
        if (self.basis is None) != (task.basis is None):
            raise ValueError("a basis is missing, or one too many")
        if self.basis is None or task.basis is None:
            return task
        B, X = self.basis, task.X.astype(float) @ task.basis.T
        if B.shape != task.basis.shape:
            raise ValueError("a basis of another shape")
        inside = X @ B
        off = np.max(np.abs(B.T @ B - np.eye(B.shape[1])))
        lost = np.max(np.abs(inside @ B.T - X))
        if off > _ORTHONORMAL or lost > _ORTHONORMAL * np.max(np.abs(X)):
            raise ValueError("no orthonormal basis of the samples")
        return dataclasses.replace(task, X=inside.astype(task.X.dtype), basis=B)

    def rebuilt(self, task: Task) -> tuple[Any, Solution]:
        """The program of a task of `task_of`, and the solution.

        The scope is not believed: patterns are EXHAUSTIVE only if the data, enumerated
        again, have none that is not among them.

        Raises:
          ValueError: arrays do not fit each other or the data.
        """
        patterns = None
        if not 0 < self.beta < np.inf:
            raise ValueError(f"want beta > 0; got {self.beta}")
        if not self.every and (self.masks is None or self.gates is None):
            raise ValueError("masks or gates are missing")
        if self.masks is not None and self.gates is not None:
            claimed = Scope(self.scope)
            if claimed is not Scope.EXHAUSTIVE or self.every:
                claimed = Scope.SAMPLED
            patterns = Patterns(
                masks=jnp.asarray(self.masks),
                gates=jnp.asarray(self.gates),
                scope=claimed,
            )
        program = program_of(
            task,
            task.loss,
            patterns=None if self.every else patterns,
            constants=self.constants if task.y.ndim == 2 else None,
        )
        program = program.replace(beta=jnp.asarray(self.beta, program.X.dtype))
        solution = Solution.of(
            program,
            jnp.asarray(self.params),
            jnp.asarray(self.dual),
            multipliers=None
            if self.multipliers is None
            else jnp.asarray(self.multipliers),
            patterns=patterns if self.every else None,
        )
        return program, solution


def read_parts(saved: Mapping[str, np.ndarray], name: str) -> tuple[Part, ...]:
    """The parts of one network, whose arrays' names begin with `name`.

    Raises:
      ValueError: one lacks an array, or there are none.
    """
    parts = []
    while f"{name}part{len(parts)}/params" in saved:
        at = f"{name}part{len(parts)}/"
        arrays = {
            key.removeprefix(at): saved[key] for key in saved if key.startswith(at)
        }
        for key, array in arrays.items():
            if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
                raise ValueError(f"{at}{key} has infinite or NaN entries")
        parts.append(
            Part(
                params=arrays["params"],
                dual=arrays["dual"],
                multipliers=arrays.get("multipliers"),
                masks=arrays.get("masks"),
                gates=arrays.get("gates"),
                every=bool(arrays["every"]),
                scope=str(arrays["scope"]),
                beta=float(arrays["beta"]),
                constants=arrays["constants"],
                basis=arrays.get("basis"),
            )
        )
    if not parts:
        raise ValueError("no solutions")
    return tuple(parts)
