"""What the splitting methods share: Anderson acceleration and balanced penalties."""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cvxjax.record import Record, static
from cvxjax.solvers.base import SteppedSolver
from cvxjax.solvers.blocks.anderson import Anderson, move_if

Array = jax.Array


class Acceleration(Record):
    """Anderson acceleration of the map from a state to that a cycle of steps later."""

    origin: Array  # [N], where the running cycle started
    clock: Array  # [], int32, steps since the memory was cleared
    anderson: Anderson

    @classmethod
    def start(cls, point: Array, memory: int) -> Acceleration:
        clock = jnp.asarray(0, jnp.int32)
        return cls(origin=point, clock=clock, anderson=Anderson.start(point, memory))


class Splitting(SteppedSolver):
    """An operator splitting, accelerated, whose penalties balance the residuals.

    A subclass has a step, a rule for its penalties, and the vector that determines a
    state; its states have a field `acceleration`, which `_restarted` fills.
    """

    rho: Any = 1.0
    relaxation: Any = 1.6
    memory: int = static(default=8)
    cycle: int = static(default=10)
    _plain_step: ClassVar[Any]  # (program, state) -> state
    _balance: ClassVar[Any]  # the same
    _pack: ClassVar[Any]  # (program, state) -> [N]
    _unpack: ClassVar[Any]  # (program, state, [N]) -> state

    def step(self, program: Any, state: Any) -> Any:
        """One plain step, and after every `cycle` of them an Anderson move."""
        state = self._plain_step(program, state)
        if self.memory == 0:
            return state
        now = state.acceleration
        now = now.replace(clock=now.clock + 1)

        def accelerate(state: Any) -> Any:
            old, image = state.acceleration, self._pack(program, state)
            point, anderson = old.anderson.move(old.origin, image)
            new = old.replace(origin=point, anderson=anderson)
            return self._unpack(program, state.replace(acceleration=new), point)

        due = now.clock % self.cycle == 0
        return move_if(due, accelerate, state.replace(acceleration=now))

    def _restarted(self, program: Any, state: Any) -> Any:
        """Starts a new cycle at this state, with empty memory."""
        point = self._pack(program, state)
        return state.replace(acceleration=Acceleration.start(point, self.memory))

    def _balanced_if(self, due: Array, program: Any, state: Any) -> Any:
        """If it is due, adjusts the penalties and restarts, since the map changes."""
        balance = lambda s: self._restarted(program, self._balance(program, s))  # noqa: E731
        return jax.lax.cond(due, balance, lambda s: s, state)


def balancing_is_due(check: Array) -> Array:
    """Whether the penalties may change: ever more rarely, so that they settle."""
    nearest = jnp.round(jnp.log(jnp.maximum(check, 1)) / jnp.log(1.3))
    return (check <= 4) | (check == jnp.round(1.3**nearest).astype(check.dtype))


def balance_factor(primal: Array, dual: Array) -> Array:
    """sqrt(primal / dual) within [1/5, 5]; 1 while that is within [1/2, 2]."""
    known = (primal > 0) & (dual > 0)
    ratio = jnp.sqrt(jnp.where(known, primal, 1) / jnp.where(known, dual, 1))
    ratio = jnp.clip(ratio, 0.2, 5)
    return jnp.where((ratio > 2) | (ratio < 0.5), ratio, 1)


def over(a: Array, b: Array) -> Array:
    """a / b, or a where b is not positive."""
    return a / jnp.where(b > 0, b, 1)
