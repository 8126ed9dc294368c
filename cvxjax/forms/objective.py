"""The objective that every form has, and defaults of what `interfaces.Program` asks."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import trees
from cvxjax.algebra.coordinates import Coordinates
from cvxjax.algebra.rounding import lengths, terms_of
from cvxjax.bounds.budget import Budget
from cvxjax.interfaces import Judge, Loss
from cvxjax.record import Record, static
from cvxjax.solution import Scope

Array = jax.Array

_SECONDS = 5.0  # for the price at zero over all networks
_UNSEEN = 4  # a price up to so many times its rounding may be zero

# Fields whose change may leave patterns of the data unlisted.
_COVERING = {"X", "masks", "active", "features", "cones", "signs"}


class RegularisedProgram(Record):
    """minimise L(F w, y) + beta R(w); subclasses define F, R and the cones.

    Methods without a docstring have it in `interfaces` or `forms.contracts`.
    """

    X: Array  # the data
    y: Array  # [n], or [n, c]
    beta: Array  # [], > 0
    loss: Loss
    regulariser: Any  # of `cvxjax.regularisers`
    cones: Any  # of `cvxjax.cones`; None: no constraints
    scope: Scope = static()
    scaled: ClassVar[tuple[str, ...]] = ()  # fields that F w is homogeneous in

    def replace(self, **changes: Any) -> Self:
        """The same record with some fields changed.

        With other data or patterns its scope becomes SAMPLED, unless a scope is among
        the changes; `verified_scope` checks that one where it is used.
        """
        if self.scope is Scope.EXHAUSTIVE and _COVERING & changes.keys():
            changes = {"scope": Scope.SAMPLED} | changes
        return super().replace(**changes)

    def lists_every_pattern(self) -> bool:
        """Whether no pattern of the data is missing; True if there are no patterns."""
        return True

    def verified_scope(self) -> Scope:
        # Enumerates the data's patterns, unless this process has done so already.
        if self.scope is Scope.EXHAUSTIVE and not self.lists_every_pattern():
            return Scope.SAMPLED
        return self.scope

    def verified(self) -> Self:
        """The program with `verified_scope`."""
        scope = self.verified_scope()
        return self if scope is self.scope else self.replace(scope=scope)

    @property
    def shape(self) -> tuple[int, ...]: ...
    def forward(self, w: Array) -> Array: ...
    def judge(self) -> Judge: ...

    @property
    def free_width(self) -> bool:
        return False

    @property
    def all_patterns(self) -> bool:
        return False

    @property
    def splits(self) -> bool:
        return False

    @property
    def multipliers_shape(self) -> tuple[int, ...] | None:
        if self.cones is None:
            return None
        return (*self.shape[:2], self.cones.num_rows)

    def zeros(self) -> Any:
        return jnp.zeros(self.shape, self.X.dtype)

    def holds(self, params: Any) -> bool:
        return trees.alike(params, jax.eval_shape(self.zeros))

    def checked(self, w: Any, *, any_patterns: bool = False, dtype: Any = None) -> Any:
        """As `interfaces.Program.checked`.

        Args:
          w: arrays of NumPy or JAX, in the structure of `zeros()`.
          any_patterns: whether there may be more or fewer blocks, for other patterns.
          dtype: of the result; default that of w.
        """
        try:
            params = trees.on_host(w, dtype)
        except ValueError as error:
            raise ValueError(f"want params, arrays of numbers; {error}") from None
        wanted = trees.shapes_of(jax.eval_shape(self.zeros))
        got = trees.shapes_of(params)
        own = isinstance(wanted, list) and isinstance(got, list)
        alike = own and len(got) == len(wanted) and got[::2] == wanted[::2]
        if not (any_patterns and alike or self.holds(params)):
            raise ValueError(f"want params {wanted}; got {got}")
        return params

    @property
    def inputs(self) -> Array:
        return self.X

    @property
    def blur(self) -> float:
        """How much rounding in the recovered network may change predictions, relative.

        0 where its weights are those of the parameters; inf where gates decide.
        """
        return 0.0

    @property
    def reach(self) -> Array:
        return lengths(self.X, jnp)

    @property
    def walls(self) -> Any:
        return 1.0

    def in_float64(self) -> Any:
        """The same program in float64; inside `jax.enable_x64(True)`."""

        def widened(x: Any) -> Array:
            x = jnp.asarray(x)
            return x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x

        return jax.tree.map(widened, self)

    def coordinate_rows(self) -> Any:
        return None

    def in_coordinates(self) -> tuple[Any, Coordinates] | None:
        return None

    @property
    def terms(self) -> int:
        walls = 0 if self.cones is None else self.cones.num_rows
        return terms_of(self.row_count, walls, self.block_size)

    @property
    def row_count(self) -> int:
        """How many rows of the data the price of a block is a sum over."""
        return self.X.size // self.X.shape[-1]

    @property
    def block_size(self) -> int:
        """How many numbers the norm of a block adds up, for bounds on rounding.

        Those of a vector; for spectral norms, `rounding.SPECTRAL` times the order.
        """
        return self.shape[-1]

    @property
    def has_units(self) -> bool:
        return bool(self.scaled)

    def in_data_units(self, unit: float) -> Self:
        if not self.has_units:
            raise ValueError(f"{type(self).__name__} is not homogeneous in its data")
        changes = {name: getattr(self, name) / unit for name in self.scaled}
        if self.cones is not None:
            changes["cones"] = self.cones.replace(lengths=self.cones.lengths / unit)
        return self.replace(**changes, scope=self.scope)

    def rescaled(self, params: Any, factor: float) -> Any:
        return jax.tree.map(lambda x: factor * x, params)

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        return factor * multipliers

    def penalty(self, w: Array) -> Array:
        """R(w), without beta; right also where squares of w over- or underflow."""
        parts = [jnp.max(jnp.abs(x), initial=0) for x in jax.tree.leaves(w)]
        size = jax.lax.stop_gradient(jnp.max(jnp.stack(parts)))
        room = 1 / jnp.finfo(size.dtype).tiny ** 0.25
        far = jnp.isfinite(size) & (size > 0) & ((size > room) | (size * room < 1))
        unit = jnp.where(far, size, 1)
        terms = self.regulariser.norms(jax.tree.map(lambda x: x / unit, w))
        return unit**self.regulariser.degree * jnp.sum(terms)

    def objective(self, w: Array) -> Array:
        return self.loss.value(self.forward(w), self.y) + self.beta * self.penalty(w)

    def beta_max(self) -> float:
        """The least beta at which the zero network is optimal; inf if it never is.

        It is the price of v, minus the loss's gradient at 0: for ReLU,
        max |v^T (X u)_+| over the listed cells and ||u|| <= 1; for `all_patterns`, over
        all cells, which is exact where rank X <= 3 and there is one output. Else it is
        the largest price that a search finds, the same at every call. A price that may
        be rounding alone is returned as 0: no neuron lowers the loss.
        """
        judge, v = self.judge(), self._slope_at_zero()
        if v is None:
            return float("inf")
        price = self.price_found(v)
        return 0.0 if price <= _UNSEEN * judge.hidden(v) else price

    def price_found(self, v: np.ndarray) -> float:
        """The price of v, minus the loss's gradient at 0, as `beta_max` takes it."""
        return self.price_at_zero()

    def price_at_zero(self) -> float:
        """An upper bound of the least such beta, rounding included."""
        v = self._slope_at_zero()
        if v is None:
            return float("inf")
        judge = self.judge()
        if self.all_patterns:
            return judge.network_bound(v, Budget(_SECONDS))
        return judge.polar_bound(v, None)

    def _slope_at_zero(self) -> np.ndarray | None:
        """Minus the loss's gradient at 0; None if the loss is infinite there."""
        y = np.asarray(self.y, np.float64)
        zero = np.zeros_like(y)
        if not np.isfinite(self.loss.value(zero, y)):
            return None
        return -self.loss.gradient(zero, y)
