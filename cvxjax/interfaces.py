"""The contracts between the rooms, on one page.

A *program* is a convex problem

    minimise  L(F w, y) + beta R(w)   subject to  A w >= 0,

a *loss* is L, a *regulariser* is R, *cones* are A, a *solver* advances a state until
its status is no longer RUNNING, and a *judge* is a program's float64 NumPy reading of
itself, for `certify`.
"""

from __future__ import annotations

from typing import Any, ClassVar, Protocol, runtime_checkable

import jax
import numpy as np

from cvxjax.solution import Scope
from cvxjax.watch import Watch

Array = jax.Array


@runtime_checkable
class Loss(Protocol):
    """L(z, y), a sum over samples; every method accepts NumPy and JAX arrays alike."""

    @property
    def name(self) -> str:
        """As in `losses.NAME()`; "weighted NAME" for weighted samples."""
        ...

    @property
    def quadratic(self) -> bool:
        """True if L(z, y) = 1/2 ||z - y||^2, so that solvers eliminate z exactly."""
        ...

    @property
    def smoothness(self) -> Any:
        """The Lipschitz constant of the gradient; None if L is not smooth."""
        ...

    @property
    def constraint(self) -> str | None:
        """Its constraint: "equality", z = y; "margin", y z >= 1; None: none."""
        ...

    @property
    def separable(self) -> bool:
        """True if L is a sum over the entries of z; then it is a `SeparableLoss`."""
        ...

    def in_units(self, unit: Any) -> tuple[Any, int] | None:
        """L' and k with L(unit z, unit y) = unit^k L'(z, y); None: labels have none."""
        ...

    def value(self, z: Any, y: Any) -> Any:
        """L(z, y), a scalar; +inf outside the domain.

        Args:
          z: predictions, [n] or [n, c].
          y: labels, of z's shape.
        """
        ...

    def gradient(self, z: Any, y: Any) -> Any:
        """An element of the subdifferential at z, of z's shape."""
        ...

    def conjugate(self, u: Any, y: Any) -> Any:
        """L*(u) = sup_z u^T z - L(z, y), a scalar; +inf outside its domain.

        Args:
          u: [n] or [n, c]; minus a dual vector.
          y: of u's shape.
        """
        ...

    def clip_dual(self, u: Any, y: Any) -> Any:
        """The point of L*'s domain nearest to u, of u's shape."""
        ...

    def prox(self, x: Any, y: Any, step: Any) -> Any:
        """argmin_z L(z, y) + ||z - x||^2 / (2 step), of x's shape; step > 0."""
        ...

    def take(self, rows: Any) -> Any:
        """The loss of the samples `rows`, positions [k]; of the same class."""
        ...

    def check_labels(self, y: np.ndarray) -> None:
        """Raises ValueError if y holds values outside the loss's set."""
        ...


@runtime_checkable
class SeparableLoss(Loss, Protocol):
    """A sum over the entries of z: its conjugate is one over those of u."""

    @property
    def steep(self) -> bool:
        """Whether the slope of L* is infinite at the ends of its box."""
        ...

    def box(self, y: Any) -> tuple[Any, Any]:
        """The least and the largest u_i where L* is finite, of y's shape; or +-inf."""
        ...

    def dual_slope(self, u: Any, y: Any) -> Any:
        """The derivative of L* at u strictly inside the box, of u's shape."""
        ...

    def curvature(self, u: Any, y: Any) -> Any:
        """The second derivative of L* there, entry by entry, of u's shape."""
        ...


@runtime_checkable
class Regulariser(Protocol):
    """R(w), a sum over blocks or neurons: all that every program's has."""

    norm: ClassVar[str]  # "group", "ellipsoid", "pairs", "nuclear", ...
    degree: ClassVar[int]  # R(t w) = t^degree R(w) for t > 0

    def norms(self, w: Any) -> Array:
        """The terms, whose sum is R(w): of parameters [S, P, ...], [S, P]."""
        ...


@runtime_checkable
class Gauge(Regulariser, Protocol):
    """R(w) = sum_b ||w_b||, norms whose dual norms price a block."""

    def dual_norms(self, q: Any) -> Array:
        """max {q_b^T u : ||u|| <= 1}, [S, P]."""
        ...


@runtime_checkable
class Proximal(Regulariser, Protocol):
    """A regulariser whose proximal map is at hand: for first-order solvers."""

    def prox(self, w: Any, threshold: Any) -> Any:
        """argmin_u 1/2 ||u - w||^2 + threshold R(u), of w's shape; threshold >= 0."""
        ...


@runtime_checkable
class Judge(Protocol):
    """A program in float64 NumPy, written apart from its JAX form."""

    free_width: ClassVar[bool]  # neurons of any number, certified where they are

    @property
    def reach(self) -> np.ndarray:
        """The most that prediction i can be for R(w) <= 1, from above, [n]."""
        ...

    @property
    def terms(self) -> int:
        """Of `rounding.terms_of`: how many roundings a block's price may hold."""
        ...

    def predict(self, params: np.ndarray) -> np.ndarray:
        """F w, of y's shape."""
        ...

    def penalty(self, params: np.ndarray) -> float:
        """R(w), without beta."""
        ...

    def violation(self, params: np.ndarray) -> float:
        """max(-A w, 0) / max|A w|, A of unit rows; inf for NaN."""
        ...

    def repair(self, params: np.ndarray, *, keep_predictions: bool) -> np.ndarray:
        """Parameters inside the cones, near `params`.

        Args:
          keep_predictions: whether blocks move so that predictions stay.
        """
        ...

    def match(self, params: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Parameters near `params` whose predictions are y, where that can be."""
        ...

    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """An upper bound of max {v^T F w : R(w) <= 1, A w >= 0}, rounding included.

        Args:
          v: of y's shape.
          multipliers: of the cones, that may make it lower; clipped at 0.
        """
        ...

    def hidden(self, v: np.ndarray) -> float:
        """What `polar_bound` may come to by rounding alone."""
        ...

    def bounds(self, asked: Any) -> Any:
        """Primal value, lower bound, its dual vector and violation.

        Args:
          asked: `judges.judge.Question`.

        Returns:
          `judges.judge.Bounds`.
        """
        ...

    def covers_every_neuron(self) -> bool:
        """Whether `network_bound` is exact; ValueError where there is none."""
        ...

    def network_bound(self, v: np.ndarray) -> float:
        """An upper bound of `polar_bound` for every list of patterns."""
        ...


@runtime_checkable
class Program(Protocol):
    """A convex problem that solvers, the certificate and recovery understand."""

    X: Any
    y: Any
    beta: Any
    loss: Any
    regulariser: Any  # a `Regulariser`; solvers say in `takes` what more they need
    cones: Any  # of `cvxjax.cones`; None: no constraints
    scope: Scope

    @property
    def inputs(self) -> Any:
        """What the network takes, [n, ...]; often X."""
        ...

    @property
    def reach(self) -> Any:
        """As `Judge.reach`."""
        ...

    @property
    def terms(self) -> int:
        """As `Judge.terms`."""
        ...

    @property
    def walls(self) -> Any:
        """The dual norms of the cones' unit rows, [1, 1, m], or one number for all."""
        ...

    @property
    def has_units(self) -> bool:
        """Whether predictions are homogeneous in the data, as `in_data_units` needs."""
        ...

    def in_data_units(self, unit: float) -> Any:
        """The program of data that are `unit` times smaller, as are its cones' rows."""
        ...

    def rescaled(self, params: Any, factor: float) -> Any:
        """Parameters whose predictions are `factor` times larger."""
        ...

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        """Multipliers of a dual vector that is `factor` times larger."""
        ...

    def coordinate_rows(self) -> Any:
        """The rows that `in_coordinates` makes orthonormal columns of; None: none."""
        ...

    def in_coordinates(self) -> Any:
        """(program, `Coordinates`) of orthonormal columns, float64; None: has none."""
        ...

    @property
    def free_width(self) -> bool:
        """Whether parameters are neurons of any number, which stay where they are."""
        ...

    @property
    def splits(self) -> bool:
        """Whether blocks are patterns' and rows of X samples, for a mesh to share."""
        ...

    @property
    def multipliers_shape(self) -> tuple[int, ...] | None:
        """Of the cones' multipliers; None: there are none, or of many shapes."""
        ...

    def zeros(self) -> Any:
        """Parameters of zeros: one array, or a tree of arrays (any pytree)."""
        ...

    def holds(self, params: Any) -> bool:
        """Whether these may be parameters of the program, by their shapes."""
        ...

    def checked(self, w: Any, *, dtype: Any = None) -> Any:
        """Parameters as NumPy arrays, or ValueError if it does not hold them.

        Args:
          dtype: of the result; default that of w.
        """
        ...

    def replace(self, **changes: Any) -> Any:
        """The same program with some fields changed."""
        ...

    def verified_scope(self) -> Scope:
        """`scope` as far as the program's own data bear it out, on the host."""
        ...

    def forward(self, w: Any) -> Array:
        """The predictions, of y's shape."""
        ...

    def penalty(self, w: Any) -> Array:
        """R(w), without beta, []."""
        ...

    def objective(self, w: Any) -> Array:
        """L(F w, y) + beta R(w), []; says nothing of the cones."""
        ...

    def beta_max(self) -> float:
        """The least beta at which zero parameters are optimal; inf if never."""
        ...

    def judge(self) -> Judge:
        """The program as the certificate reads it: copies in float64 NumPy."""
        ...

    def network(self) -> Any:
        """The Flax module of `recover`'s variables."""
        ...

    def recover(self, w: Any) -> Any:
        """Flax variables with the same predictions and the same objective.

        Args:
          w: feasible parameters.
        """
        ...


@runtime_checkable
class LinearProgram(Program, Protocol):
    """A program whose predictions are linear in its parameters: the usual case.

    Those whose parameters are neurons have `neurons(w)` instead of the adjoint.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the parameters, which are one array."""
        ...

    def adjoint(self, r: Array) -> Any:
        """F^T r, of the parameters' shape."""
        ...


@runtime_checkable
class NeuronProgram(LinearProgram, Protocol):
    """A program whose blocks are ReLU neurons u, a pattern of theirs in each.

    Neurons that are not listed can be priced, bounded, and join with their patterns.
    """

    masks: Any  # [P, n K], bool

    @property
    def rows(self) -> Any:
        """[n K, d]: a neuron predicts sums of (rows u)_+ over K rows of each sample."""
        ...

    @property
    def patterns(self) -> Any:
        """The listed ones, `arrangements.Patterns`."""
        ...

    def with_patterns(self, masks: Any, gates: Any) -> Any:
        """The program over other patterns, SAMPLED; ValueError if it is gated.

        Args:
          masks: [P, rows], bool.
          gates: [P, d], points of the closed cells.
        """
        ...


@runtime_checkable
class Solver(Protocol):
    """A frozen record that solves programs of a form; `solvers.base` has defaults."""

    tol: Any  # relative gap; None: `solvers.loop.default_tol` of the data's dtype
    max_iters: int
    takes: ClassVar[Any]  # what it is made for: `solvers.refusals.Takes`
    leaves_patterns: ClassVar[bool]  # for others, which its solution then carries
    wants_coordinates: ClassVar[bool]  # where data are badly conditioned

    def limits(self, program: Any) -> str | None:
        """Why sizes or its options refuse a program of its form; None: they do not."""
        ...

    def run(self, program: Any, start: Any, watch: Watch) -> Any:
        """The Solution, on the host.

        Args:
          program: that `takes` and `limits` let pass.
          start: None, parameters, or of `starts.as_start`.
          watch: is told where the loop stands and asked whether to go on; solvers
            inside it get `watch` or `watch.of_part()`.
        """
        ...

    def solved(self, program: Any, start: Any, watch: Watch) -> tuple[Any, Any]:
        """`run`, and the last dual vector where rounding may hide its bound."""
        ...
