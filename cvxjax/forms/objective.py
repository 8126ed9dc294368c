"""The objective that every form has, and what programs say of themselves."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import trees
from cvxjax.algebra.coordinates import Coordinates
from cvxjax.algebra.rounding import lengths, terms_of
from cvxjax.interfaces import Judge, Loss
from cvxjax.record import Record, static
from cvxjax.solution import Scope

Array = jax.Array

_UNSEEN = 4  # times what rounding hides of a price: it may be zero

_COVERING = {"X", "masks", "active", "features", "cones", "signs"}


class RegularisedProgram(Record):
    """minimise L(F w, y) + beta R(w); subclasses have the maps."""

    X: Array  # the data
    y: Array  # [n], or [n, c]
    beta: Array  # [], > 0
    loss: Loss
    regulariser: Any  # of `cvxjax.regularisers`
    cones: Any  # of `cvxjax.cones`; None: no constraints
    scope: Scope = static()
    scaled: ClassVar[tuple[str, ...]] = ()  # where predictions are homogeneous

    def replace(self, **changes: Any) -> Self:
        """The same record with some fields changed.

        With other data or patterns it is SAMPLED, unless a scope is given, which is
        checked where it is used (`verified_scope`).
        """
        if self.scope is Scope.EXHAUSTIVE and _COVERING & changes.keys():
            changes = {"scope": Scope.SAMPLED} | changes
        return super().replace(**changes)

    def lists_every_pattern(self) -> bool:
        """Whether no pattern of the data is missing; True for programs without."""
        return True

    def verified_scope(self) -> Scope:
        """`scope` where the program's own data bear it out, else SAMPLED; on the host.

        The data are enumerated again, unless this process has done so already.
        """
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
        """Whether parameters are neurons of any number, which stay where they are."""
        return False

    @property
    def splits(self) -> bool:
        """Whether blocks are patterns' and rows of X samples, for a mesh to share."""
        return False

    @property
    def multipliers_shape(self) -> tuple[int, ...] | None:
        """Of the cones' multipliers; None: there are none, or of many shapes."""
        if self.cones is None:
            return None
        return (*self.shape[:2], self.cones.num_rows)

    def zeros(self) -> Any:
        """Parameters of zeros: one array, or a tree of arrays."""
        return jnp.zeros(self.shape, self.X.dtype)

    def holds(self, params: Any) -> bool:
        """Whether these may be parameters of the program, by their shapes."""
        return trees.alike(params, jax.eval_shape(self.zeros))

    def checked(self, w: Any, *, any_patterns: bool = False, dtype: Any = None) -> Any:
        """w as NumPy arrays of shapes that the program `holds`, or ValueError.

        Args:
          any_patterns: whether there may be more or fewer blocks, of other patterns.
          dtype: of the result; default that of w.
        """
        params = trees.on_host(w, dtype)
        wanted = trees.shapes_of(jax.eval_shape(self.zeros))
        got = trees.shapes_of(params)
        own = isinstance(wanted, list) and isinstance(got, list)
        alike = own and len(got) == len(wanted) and got[::2] == wanted[::2]
        if not (any_patterns and alike or self.holds(params)):
            raise ValueError(f"want params {wanted}; got {got}")
        return params

    @property
    def inputs(self) -> Array:
        """What the network takes, [n, ...]."""
        return self.X

    @property
    def blur(self) -> float:
        """What a recovered network may lose of predictions by rounding; on the host.

        Where its weights are not the parameters themselves, or gates decide; else 0.
        """
        return 0.0

    @property
    def reach(self) -> Array:
        """The most that prediction i can be for R(w) <= 1, from above, [n]."""
        return lengths(self.X, jnp)

    @property
    def walls(self) -> Any:
        """The dual norms of the cones' unit rows, [1, 1, m], or one number for all."""
        return 1.0

    def in_float64(self) -> Any:
        """The same program in float64; inside `jax.enable_x64(True)`."""

        def widened(x: Any) -> Array:
            x = jnp.asarray(x)
            return x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x

        return jax.tree.map(widened, self)

    def coordinate_rows(self) -> Any:
        """The rows that `in_coordinates` makes orthonormal columns of; None: none."""
        return None

    def in_coordinates(self) -> tuple[Any, Coordinates] | None:
        """The program of orthonormal columns, in float64; None: it has none."""
        return None

    @property
    def terms(self) -> int:
        """Of `rounding.terms_of`: how many roundings a block's price may hold."""
        walls = 0 if self.cones is None else self.cones.num_rows
        return terms_of(self.row_count, walls, self.block_size)

    @property
    def row_count(self) -> int:
        """Rows of the data that a block's price is a sum of."""
        return self.X.size // self.X.shape[-1]

    @property
    def block_size(self) -> int:
        """Entries of a block; for matrices `rounding.SPECTRAL` times their order."""
        return self.shape[-1]

    @property
    def has_units(self) -> bool:
        """Whether predictions are homogeneous in the data, as `in_data_units` needs."""
        return bool(self.scaled)

    def in_data_units(self, unit: float) -> Self:
        """The program of data that are `unit` times smaller, as are its cones' rows."""
        if not self.has_units:
            raise ValueError(f"{type(self).__name__} is not homogeneous in its data")
        changes = {name: getattr(self, name) / unit for name in self.scaled}
        if self.cones is not None:
            changes["cones"] = self.cones.replace(lengths=self.cones.lengths / unit)
        return self.replace(**changes, scope=self.scope)

    def rescaled(self, params: Any, factor: float) -> Any:
        """Parameters whose predictions are `factor` times larger."""
        return jax.tree.map(lambda x: factor * x, params)

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        """Multipliers of a dual vector that is `factor` times larger."""
        return factor * multipliers

    def penalty(self, w: Array) -> Array:
        """R(w), without beta; of w so far from one that squares are lost, too."""
        parts = [jnp.max(jnp.abs(x), initial=0) for x in jax.tree.leaves(w)]
        size = jax.lax.stop_gradient(jnp.max(jnp.stack(parts)))
        room = 1 / jnp.finfo(size.dtype).tiny ** 0.25
        far = jnp.isfinite(size) & (size > 0) & ((size > room) | (size * room < 1))
        unit = jnp.where(far, size, 1)
        terms = self.regulariser.norms(jax.tree.map(lambda x: x / unit, w))
        return unit**self.regulariser.degree * jnp.sum(terms)

    def objective(self, w: Array) -> Array:
        """L(F w, y) + beta penalty(w); says nothing of the cones."""
        return self.loss.value(self.forward(w), self.y) + self.beta * self.penalty(w)

    def beta_max(self) -> float:
        """The least beta at which the zero network is optimal; inf if it never is.

        Equals max {v^T F w : R(w) <= 1, A w >= 0}, where v is minus the gradient of
        the loss at 0; for ReLU, max |v^T (Xu)_+| over the listed cells and ||u|| <= 1.
        0 where that may be rounding alone: no neuron helps.
        """
        judge, v = self.judge(), self._slope_at_zero()
        if v is None:
            return float("inf")
        price = judge.polar_bound(v, None)
        return 0.0 if price <= _UNSEEN * judge.hidden(v) else price

    def price_at_zero(self) -> float:
        """`beta_max` from above, with all that rounding may hide."""
        v = self._slope_at_zero()
        return float("inf") if v is None else self.judge().polar_bound(v, None)

    def _slope_at_zero(self) -> np.ndarray | None:
        """Minus the loss's gradient at 0; None where its value is infinite there."""
        y = np.asarray(self.y, np.float64)
        zero = np.zeros_like(y)
        if not np.isfinite(self.loss.value(zero, y)):
            return None
        return -self.loss.gradient(zero, y)
