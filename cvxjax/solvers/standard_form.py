"""A program in units in which its labels and the rows of its data are of order one.

Units are powers of two, so that nothing is rounded and a solver takes the same steps in
any units of the user. With y = s y', F = t F' and w = (s / t) w', a loss with
L(s z, s y) = s^k L'(z, y) gives the program of y', F' and beta' = beta s^(1-k) / t,
times s^k; its dual vectors and multipliers are s^(k-1) times smaller.

Data whose columns differ much in size, or are nearly dependent, as a year and a bias
are, also get the coordinates of `cvxjax.algebra.coordinates`, if the solver wants them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra.coordinates import Coordinates, orthonormal
from cvxjax.algebra.row_space import DISTORTED
from cvxjax.solution import Solution
from cvxjax.solvers.padding import padded
from cvxjax.solvers.starts import Start


@dataclasses.dataclass(frozen=True, kw_only=True)
class StandardForm:
    """The program that is solved, and the way back to the user's."""

    given: Any  # the user's program
    program: Any  # in units of order one
    labels: float = 1.0  # s
    data: float = 1.0  # t
    power: int = 1  # k
    coordinates: Coordinates | None = None  # of `program`
    undistorted: Any = None  # the program without them, if it has them
    wide: bool = False  # in float64, though the user's program is not
    extra: int = 0  # dead patterns after the user's

    def precision(self) -> contextlib.AbstractContextManager:
        """The context in which to compute with the program's arrays."""
        return jax.enable_x64(True) if self.wide else contextlib.nullcontext()

    @property
    def weights(self) -> float:
        """w over w'."""
        return self.labels / self.data

    @property
    def values(self) -> float:
        """An objective over that of the standard form."""
        try:
            return self.labels**self.power
        except OverflowError:
            size = f"{self.labels:.0e}"
            raise ValueError(
                f"want labels whose loss is finite; got labels of size {size}"
            ) from None

    @property
    def duals(self) -> float:
        """A dual vector over that of the standard form; multipliers too."""
        return self.labels ** (self.power - 1)

    def inward(self, start: Start) -> Start:
        """The user's start in the standard form; to be called inside `precision`."""
        dtype, given = self.program.X.dtype, self.given
        params = self._longer(given.rescaled(start.params, 1 / self.weights))
        if self.coordinates is not None:
            params = np.asarray(params, np.float64) @ self.coordinates.S.T
        dual, multipliers = start.dual, start.multipliers
        if dual is not None:
            dual = _cast(dual / self.duals, dtype)
        if multipliers is not None:
            multipliers = given.rescaled_multipliers(multipliers, 1 / self.duals)
            multipliers = _cast(self._longer(multipliers), dtype)
        return start.replace(
            params=_all_cast(params, dtype), dual=dual, multipliers=multipliers
        )

    def without_extra(self, params: Any) -> Any:
        """Parameters that are zero at the dead patterns."""
        return jnp.asarray(params).at[:, len(params[0]) - self.extra :].set(0)

    def plain(self, solution: Solution) -> Solution:
        """The solution in the data's coordinates; to be called inside `precision`."""
        if self.coordinates is None:
            return solution
        params = np.asarray(solution.params) @ self.coordinates.T.T
        return solution.replace(params=jnp.asarray(params))

    def outward(self, solution: Solution) -> Solution:
        """The solution in the user's units and precision, from a `plain` one."""
        dtype, given, history = self.given.X.dtype, self.given, solution.history
        if self.wide:  # outside `precision`, NumPy alone keeps float64
            solution = jax.tree.map(np.asarray, solution)
        multipliers = solution.multipliers
        if multipliers is not None:
            multipliers = self._shorter(multipliers)
            multipliers = given.rescaled_multipliers(multipliers, self.duals)
            multipliers = _cast(multipliers, dtype)
        params = given.rescaled(self._shorter(solution.params), self.weights)
        value = lambda x: _on_host(x, self.values, dtype)  # noqa: E731
        return solution.replace(
            params=_all_cast(params, dtype),
            dual=_cast(self.duals * solution.dual, dtype),
            multipliers=multipliers,
            status=jnp.asarray(solution.status),
            iterations=jnp.asarray(solution.iterations),
            objective=value(solution.objective),
            dual_bound=value(solution.dual_bound),
            gap=_on_host(solution.gap, 1.0, dtype),
            history=history.replace(
                objective=value(history.objective),
                dual_bound=value(history.dual_bound),
                gap=_on_host(history.gap, 1.0, dtype),
            ),
            scope=solution.scope,
        )

    def _longer(self, parts: Any) -> Any:
        """Parameters or multipliers [S, P, k] with zeros for the dead patterns."""
        if not self.extra:
            return parts
        return np.pad(np.asarray(parts), ((0, 0), (0, self.extra), (0, 0)))

    def _shorter(self, parts: Any) -> Any:
        return np.asarray(parts)[:, : -self.extra] if self.extra else parts


def standard_form(program: Any) -> StandardForm:
    """The program in units of order one; the program itself where it has none."""
    largest = float(jnp.max(jnp.abs(program.y)))
    found = program.loss.in_units(1.0)
    labels = 1.0 if found is None else _unit(largest)
    data = _unit(float(jnp.max(program.reach))) if program.has_units else 1.0
    if labels == data == 1.0:
        return StandardForm(given=program, program=program)
    loss, power = (program.loss, 1) if found is None else program.loss.in_units(labels)
    beta = program.beta * (labels ** (1 - power) / data)
    scaled = program.in_data_units(data) if data != 1 else program
    y = program.y / labels if labels != 1 else program.y
    return StandardForm(
        given=program,
        program=scaled.replace(y=y, beta=beta, loss=loss),
        labels=labels,
        data=data,
        power=power,
    )


def is_distorted(program: Any) -> bool:
    """Whether coordinates of its own would make the data better conditioned."""
    rows = program.coordinate_rows()
    if rows is None:
        return False
    rows = np.asarray(rows, np.float64)
    if _is_well_conditioned(rows):
        return False
    found = orthonormal(rows)
    return len(found.S) > 0 and found.distortion > DISTORTED


def _is_well_conditioned(rows: np.ndarray) -> bool:
    """Whether the columns are independent by far: what float64 can tell, in no time."""
    try:
        values = np.linalg.svd(rows, compute_uv=False)
    except np.linalg.LinAlgError:  # of subnormal numbers
        return False
    full = len(values) == rows.shape[1]
    return full and 0 < values[0] <= DISTORTED * values[-1]


def precise_form(form: StandardForm, distorted: bool | None = None) -> StandardForm:
    """The same in float64 and, where its columns are badly conditioned, coordinates.

    Args:
      distorted: `is_distorted` of the form's program, where that is known.
    """
    program = form.program
    wide = program.X.dtype != jnp.float64
    with jax.enable_x64(True) if wide else contextlib.nullcontext():
        if wide:
            program = program.in_float64()
        if distorted is None:
            distorted = is_distorted(program)
        found = program.in_coordinates() if distorted else None
    if found is None:
        return dataclasses.replace(form, program=program, wide=wide)
    return dataclasses.replace(
        form,
        program=found[0],
        coordinates=found[1],
        undistorted=program,
        wide=wide,
    )


def padded_form(form: StandardForm) -> StandardForm:
    """The same, of a program that shares compiled code with others."""
    with form.precision():
        program, extra = padded(form.program)
        plain = form.undistorted
        plain = None if plain is None else padded(plain)[0]
    return dataclasses.replace(form, program=program, undistorted=plain, extra=extra)


def _unit(size: float) -> float:
    """The power of two below a size; 1 for zero and what is not finite."""
    if not (size > 0 and math.isfinite(size)):
        return 1.0
    return 2.0 ** math.floor(math.log2(size))


def _on_host(x: Any, unit: float, dtype: Any) -> Any:
    """unit x, without a compilation for its length; x where that is the same."""
    if unit == 1 and x.dtype == dtype:
        return x
    return jax.device_put((unit * np.asarray(x)).astype(dtype))


def _all_cast(params: Any, dtype: Any) -> Any:
    return jax.tree.map(lambda x: _cast(x, dtype), params)


def _cast(x: Any, dtype: Any) -> Any:
    """An array of another dtype; the same one where it has it."""
    if isinstance(x, np.ndarray) or x.dtype != dtype:
        return jnp.asarray(np.asarray(x).astype(dtype))
    return x
