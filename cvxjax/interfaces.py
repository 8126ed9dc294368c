"""The contracts between the rooms, on one page.

A *program* is a convex problem

    minimise  L(F w, y) + beta R(w)   subject to  A w >= 0,

a *loss* is L, a *regulariser* is R, *cones* are A, a *solver* turns a program into a
`Solution`, and a *judge* is a second implementation of the program, in float64 NumPy,
with which `certify` checks that solution. Names and shapes throughout:

    w, params     parameters: an array, mostly [S, P, d] for S signs, P activation
                  patterns and d features, or any pytree of arrays
    y             labels: [n], or [n, c] for c outputs
    F w           predictions, of y's shape; F^T is the adjoint of F
    v             a dual vector, of y's shape; at the optimum, minus the gradient of L
    multipliers   >= 0, one for each row of A; mostly [S, P, m] for m rows a pattern

The *price* of v is max {v^T F w : R(w) <= 1, A w >= 0}, or its part in one block of w.
Where it is at most beta, v is dual feasible: -L*(-v) bounds the optimum from below.
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
    """L(z, y), a sum over samples unless it is `coupled`.

    Every method accepts NumPy and JAX arrays alike.

    Predictions z and x, labels y and points u of the conjugate's domain have one shape,
    [n] or [n, c].
    """

    @property
    def name(self) -> str:
        """NAME for the loss of `losses.NAME()`; "weighted NAME" with sample weights."""
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
        """None, or what L constrains: "equality", z = y, or "margin", y z >= 1."""
        ...

    @property
    def separable(self) -> bool:
        """True if L is a sum over the entries of z; then it is a `SeparableLoss`."""
        ...

    @property
    def coupled(self) -> bool:
        """True if L is no sum over samples, as with an intercept of all of them."""
        ...

    def in_units(self, unit: Any) -> tuple[Any, int] | None:
        """The loss of labels and predictions that are measured in another unit.

        Args:
          unit: a number > 0.

        Returns:
          (L', k) with L(unit z, unit y) = unit^k L'(z, y); None where labels have no
          unit, since they name classes.
        """
        ...

    def value(self, z: Any, y: Any) -> Any:
        """L(z, y), a scalar; +inf outside the domain."""
        ...

    def gradient(self, z: Any, y: Any) -> Any:
        """An element of the subdifferential of L(., y) at z, of z's shape."""
        ...

    def conjugate(self, u: Any, y: Any) -> Any:
        """L*(u) = sup_z u^T z - L(z, y), a scalar; +inf outside its domain.

        For a dual vector v, u is -v.
        """
        ...

    def clip_dual(self, u: Any, y: Any) -> Any:
        """The point of L*'s domain nearest to u, of u's shape."""
        ...

    def prox(self, x: Any, y: Any, step: Any) -> Any:
        """argmin_z L(z, y) + ||z - x||^2 / (2 step), of x's shape.

        Args:
          step: > 0, a scalar or one for each sample, broadcastable to x.
        """
        ...

    def take(self, rows: Any) -> Any:
        """The loss of the samples at positions `rows` [k]; of the same class."""
        ...

    def check_labels(self, y: np.ndarray) -> None:
        """Raises ValueError, saying what arrived, if L is not for these labels."""
        ...


@runtime_checkable
class SeparableLoss(Loss, Protocol):
    """L is a sum over the entries of z, and so L* one over the entries of u."""

    @property
    def steep(self) -> bool:
        """Whether the derivative of L* is infinite at the ends of its `box`."""
        ...

    def box(self, y: Any) -> tuple[Any, Any]:
        """The least and the largest u where L* is finite, of y's shape, or +-inf."""
        ...

    def dual_slope(self, u: Any, y: Any) -> Any:
        """The derivative of L* at u strictly inside its `box`, of u's shape."""
        ...

    def curvature(self, u: Any, y: Any) -> Any:
        """The second derivative of L* at such u, entry by entry, of u's shape."""
        ...


@runtime_checkable
class Regulariser(Protocol):
    """R(w), a sum over blocks or neurons: what every program's regulariser has."""

    norm: ClassVar[str]  # which one: "group", "ellipsoid", "pairs", "nuclear", ...
    degree: ClassVar[int]  # R(t w) = t^degree R(w) for t > 0

    def norms(self, w: Any) -> Array:
        """The terms whose sum is R(w): [S, P], for parameters w [S, P, ...]."""
        ...


@runtime_checkable
class Gauge(Regulariser, Protocol):
    """R(w) = sum_b ||w_b||: the price of v in block b is the dual norm of F_b^T v."""

    def dual_norms(self, q: Any) -> Array:
        """max {q_b^T u : ||u|| <= 1} for each block of q [S, P, ...], [S, P]."""
        ...


@runtime_checkable
class Proximal(Regulariser, Protocol):
    """A regulariser with a proximal map, which first-order solvers need."""

    def prox(self, w: Any, threshold: Any) -> Any:
        """argmin_u 1/2 ||u - w||^2 + threshold R(u), of w's shape; threshold >= 0."""
        ...


@runtime_checkable
class Judge(Protocol):
    """The program in float64 NumPy, written apart from its JAX form."""

    free_width: ClassVar[bool]  # as `Program.free_width`

    @property
    def reach(self) -> np.ndarray:
        """Upper bounds of |prediction i| over R(w) <= 1 (its norm, if several), [n].

        Bounds on rounding are proportional to it.
        """
        ...

    @property
    def terms(self) -> int:
        """How many rounding errors the price of a block adds up, at most.

        It is the t that `algebra.rounding.terms_of` derives.
        """
        ...

    def predict(self, params: np.ndarray) -> np.ndarray:
        """F w, of y's shape."""
        ...

    def penalty(self, params: np.ndarray) -> float:
        """R(w), without beta."""
        ...

    def violation(self, params: np.ndarray) -> float:
        """How far w is outside the cones: max(-A w, 0) / max|A w|, A with unit rows.

        inf where w is not finite.
        """
        ...

    def repair(self, params: np.ndarray, *, keep_predictions: bool) -> np.ndarray:
        """Parameters inside the cones, near `params`.

        Args:
          params: as `Program.zeros`.
          keep_predictions: whether F w must stay, although R(w) then grows more.
        """
        ...

    def match(self, params: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Parameters near `params` with F w = y, for losses that demand it.

        Where there are none, predictions may miss y.
        """
        ...

    def polar_bound(self, v: np.ndarray, multipliers: np.ndarray | None) -> float:
        """An upper bound of v's price, with what rounding may add to it.

        Args:
          v: of y's shape.
          multipliers: mu, where known: the price is at most R*(F^T v + A^T mu) for
            every mu >= 0. Negative ones are replaced by 0.
        """
        ...

    def hidden(self, v: np.ndarray) -> float:
        """How much of `polar_bound(v, ...)` may be rounding alone."""
        ...

    def bounds(self, asked: Any) -> Any:
        """Both bounds of the optimum that a solution proves.

        Args:
          asked: a `judges.judge.Question`: the solution, labels, loss and beta.

        Returns:
          `judges.judge.Bounds`: primal value, lower bound, its dual vector, violation.
        """
        ...

    def covers_every_neuron(self) -> bool:
        """Whether `network_bound` is exact, not only an upper bound.

        Raises:
          ValueError: where there is no such bound.
        """
        ...

    def network_bound(self, v: np.ndarray, budget: Any = None) -> float:
        """An upper bound of v's price over all networks, whatever their patterns.

        Args:
          v: a dual vector.
          budget: a `bounds.budget.Budget` to look for a good one; it holds at whatever
            moment the search stops.
        """
        ...


@runtime_checkable
class Program(Protocol):
    """A convex problem that solvers, the certificate and recovery understand."""

    X: Any  # data: [n, d], patches [n, K, h], ...
    y: Any  # [n] or [n, c]
    beta: Any  # [], > 0
    loss: Any  # a `Loss`
    regulariser: Any  # a `Regulariser`; `Solver.takes` may ask for more
    cones: Any  # of `cvxjax.cones`; None: no constraints
    scope: Scope  # which networks a lower bound of the optimum holds for

    @property
    def inputs(self) -> Any:
        """What `network()` is applied to, [n, ...]: X, or the user's data behind it."""
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
        """Dual norms of the unit rows of A, [1, 1, m], or one number for all rows."""
        ...

    @property
    def has_units(self) -> bool:
        """Whether F w is homogeneous in the data, as `in_data_units` needs."""
        ...

    def in_data_units(self, unit: float) -> Any:
        """The same program with data and rows of A divided by `unit` > 0."""
        ...

    def rescaled(self, params: Any, factor: float) -> Any:
        """Parameters w' with F w' = factor F w, factor > 0."""
        ...

    def rescaled_multipliers(self, multipliers: Any, factor: float) -> Any:
        """The multipliers of factor v, where `multipliers` are those of v."""
        ...

    def coordinate_rows(self) -> Any:
        """The matrix whose columns `in_coordinates` makes orthonormal; None: none."""
        ...

    def in_coordinates(self) -> Any:
        """The program for data with orthonormal columns, in float64.

        Returns:
          (program, `algebra.coordinates.Coordinates`), or None where there is none.
        """
        ...

    @property
    def free_width(self) -> bool:
        """Whether parameters are neurons, of any number, and in any cells.

        Such neurons are a network as they are: nothing moves them into listed cells.
        """
        ...

    @property
    def all_patterns(self) -> bool:
        """Whether it is the problem over all patterns, of which it lists only a few."""
        ...

    @property
    def splits(self) -> bool:
        """Whether a mesh of devices can divide it: w by pattern, X by sample."""
        ...

    @property
    def multipliers_shape(self) -> tuple[int, ...] | None:
        """The shape of multipliers; None without cones, or where it is not fixed."""
        ...

    def zeros(self) -> Any:
        """Parameters that are zero: an array, or any pytree of arrays."""
        ...

    def holds(self, params: Any) -> bool:
        """Whether `params` has the shapes of parameters of this program."""
        ...

    def checked(self, w: Any, *, dtype: Any = None) -> Any:
        """Parameters as NumPy arrays.

        Args:
          w: arrays of NumPy or JAX, in the structure of `zeros()`.
          dtype: of the result; default that of w.

        Raises:
          ValueError: if the program does not hold w; the message has both shapes.
        """
        ...

    def replace(self, **changes: Any) -> Any:
        """The same program with some fields changed, such as `beta`."""
        ...

    def verified_scope(self) -> Scope:
        """`scope`, or SAMPLED where the data have patterns that are not listed.

        Runs on the host.
        """
        ...

    def forward(self, w: Any) -> Array:
        """The predictions F w, of y's shape."""
        ...

    def penalty(self, w: Any) -> Array:
        """R(w), without beta, []."""
        ...

    def objective(self, w: Any) -> Array:
        """L(F w, y) + beta R(w), []; the cones are not checked."""
        ...

    def beta_max(self) -> float:
        """The least beta at which zero parameters are optimal; inf if never."""
        ...

    def judge(self) -> Judge:
        """The second implementation, for `certify`, with float64 copies of the data."""
        ...

    def network(self) -> Any:
        """The Flax module of the variables that `recover` returns."""
        ...

    def recover(self, w: Any) -> Any:
        """Flax variables of a network with the same predictions and objective.

        Args:
          w: feasible parameters.
        """
        ...


@runtime_checkable
class LinearProgram(Program, Protocol):
    """A program whose predictions are linear in one array of parameters.

    That is the usual case. `forms.contracts.Neurons` is the contract of the others.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the parameters."""
        ...

    def adjoint(self, r: Array) -> Any:
        """F^T r, of the parameters' shape, for r of y's shape."""
        ...


@runtime_checkable
class NeuronProgram(LinearProgram, Protocol):
    """A program with a block for each activation pattern of a ReLU neuron u.

    Other patterns can be added to it, as column generation does.
    """

    masks: Any  # [P, n K], bool

    @property
    def rows(self) -> Any:
        """[n K, d], K rows of each sample, over which a neuron sums (rows u)_+.

        K is 1 for fully connected networks, the number of patches for filters.
        """
        ...

    @property
    def patterns(self) -> Any:
        """The `arrangements.Patterns` of its blocks."""
        ...

    def with_patterns(self, masks: Any, gates: Any) -> Any:
        """The same problem over other patterns, of scope SAMPLED.

        Args:
          masks: [P, n K], bool; those whose cones have no interior are left out.
          gates: [P, d], a point of each closed cell.

        Raises:
          ValueError: if the program is gated, or no cone has an interior.
        """
        ...


@runtime_checkable
class Solver(Protocol):
    """A frozen record of options; `solvers.base` has defaults of what is below."""

    tol: Any  # relative gap; None: the default of `tolerance`
    max_iters: int
    takes: ClassVar[Any]  # the programs it is made for, a `solvers.refusals.Takes`
    leaves_patterns: ClassVar[bool]  # whether its solution may have other patterns
    wants_coordinates: ClassVar[bool]  # whether to call `in_coordinates` first

    def tolerance(self, program: Any) -> Any:
        """The relative duality gap to reach: `tol`, or else the default."""
        ...

    def limits(self, program: Any) -> str | None:
        """Why it refuses a program that `takes` lets pass; None if it does not.

        Reasons are sizes and the solver's own options, in words for the user.
        """
        ...

    def run(self, program: Any, start: Any, watch: Watch) -> Any:
        """Solves the program, from the host.

        Args:
          program: one that `takes` and `limits` let pass.
          start: None for zero, parameters, a `Solution` or a `solvers.starts.Start`.
          watch: must be told the bounds, and asked whether to stop. A solver of a part
            of the problem gets `watch.of_part()`.

        Returns:
          `Solution`, its status never RUNNING.
        """
        ...

    def solved(self, program: Any, start: Any, watch: Watch) -> tuple[Any, Any]:
        """The solution of `run`, and a dual vector [n] or None.

        The vector is the last one where rounding may hide how good its bound is.
        """
        ...
