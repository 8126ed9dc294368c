"""The driver's arithmetic: gaps, gauges, and points that satisfy every constraint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax import verdicts
from cvxjax.solvers import loop
from cvxjax.solvers.blocks.feasible import feasible_point
from cvxjax.solvers.host_bounds import HostBounds
from cvxjax.solvers.neurons.rounds import NeuronRounds
from cvxjax.watch import Watch
from tests import instances


def test_default_tolerances():
    assert loop.default_tol(jnp.float64) == 1e-8
    assert loop.default_tol(jnp.float32) == 1e-4


@pytest.mark.parametrize(
    "objective, bound, want",
    [
        (0.5, 0.25, 0.25),
        (8.0, 6.0, 0.25),
        (2.0, 2.0, 0.0),
        (np.inf, 0.0, np.inf),
        (1.0, -np.inf, np.inf),
        (np.nan, 0.0, np.inf),
    ],
)
def test_relative_gap(objective, bound, want):
    got = loop.relative_gap(*map(jnp.asarray, (objective, bound, 1.0)))
    assert float(got) == want
    assert verdicts.relative_gap(objective, bound, 1.0) == want


@pytest.mark.parametrize("solver", ["Admm", "Fista", "InteriorPoint"])
def test_what_was_given_stays(solver):
    """States give their memory to the next call; start and program keep theirs."""
    program = instances.program_of("two_layer/gated/squared")
    start = jnp.ones(program.shape, program.X.dtype)
    record = instances.SOLVERS[solver].solver
    lines = []
    for _ in range(2):
        solution = cj.solve(
            program, record, start=start, report=lambda *line: lines.append(line)
        )
    assert_allclose(start, 1)
    assert len(lines) >= 2 and lines[-1][1] == float(solution.objective)
    assert np.all(np.isfinite(program.objective(solution.params)))


@pytest.mark.parametrize("checks", [(7, 3, [3, 6, 7]), (6, 3, [3, 6]), (2, 5, [2])])
def test_iterations_end_at_max_iters(checks):
    max_iters, check_every, want = checks
    program = instances.program_of("two_layer/gated/squared")
    solver = cj.solvers.Fista(tol=1e-12, max_iters=max_iters, check_every=check_every)
    solution = cj.solve(program, solver)
    assert np.asarray(solution.history.iteration).tolist() == want
    assert int(solution.iterations) == max_iters


def test_best_point_and_bound_are_kept():
    """A worse point and a worse dual vector change neither side."""
    program = instances.program_of("two_layer/squared")
    solver = instances.SOLVERS["Admm"].solver
    good = instances.solution_of("two_layer/squared", "Admm")
    zero = jnp.zeros(program.shape)
    progress = loop.Progress.start(solver, program, zero)
    cones = good.multipliers * program.cones.lengths[None, None]
    progress = progress.replace(iteration=progress.iteration + 1)
    first = progress.update(
        solver, program, good.params, [good.dual], cones, finite_of=zero
    )
    assert_allclose(first.objective, good.objective, rtol=1e-12)
    assert_allclose(first.dual_bound, good.dual_bound, rtol=1e-9)
    assert int(first.status) == cj.Status.CONVERGED
    scaled = progress.offer(program, 3 * good.dual, 3 * cones)
    price = loop.polar_gauge(program, scaled.dual, scaled.multipliers)
    assert_allclose(price, program.beta, rtol=1e-6)
    assert loop.polar_gauge(program, scaled.dual, None) > 1.01 * program.beta
    worse = program.cones.interior[None] * jnp.ones((2, 1, 1))
    second = first.update(solver, program, worse, [-good.dual], cones, finite_of=zero)
    assert second.objective == first.objective
    assert second.dual_bound == first.dual_bound
    assert_allclose(second.params, good.params)
    assert_allclose(second.dual, first.dual)


@pytest.mark.parametrize("unknown", [np.nan, np.inf])
def test_nothing_is_known_of_a_price_that_is_not_finite(unknown):
    """A NaN among the multipliers left the dual vector's own value as a bound."""
    program = instances.program_of("two_layer/squared")
    solver = instances.SOLVERS["Admm"].solver
    good = instances.solution_of("two_layer/squared", "Admm")
    progress = loop.Progress.start(solver, program, jnp.zeros(program.shape))
    bad = good.multipliers.at[0, 0, 0].set(unknown)
    v = np.asarray(program.y)  # its value is the greatest there is
    assert progress.offer(program, program.y, bad).dual_bound <= good.objective
    judged = HostBounds(program)
    assert judged.scaled(v, unknown) == (judged.value(0 * v), 0)
    vectors = instances.program_of("vector_output/relu")
    rounds = NeuronRounds(vectors, cj.solvers.FrankWolfe(), Watch())
    assert rounds.offer_residual(np.asarray(vectors.y), unknown) <= 0
    assert not rounds.dual.any()


NAMES = [
    "two_layer/squared",
    "two_layer/interpolation",
    "two_layer/hard_margin",
    "two_layer/gated/interpolation",
    "two_layer/zero rows",
    "two_layer/rank two",
]


@pytest.mark.parametrize("name", NAMES)
def test_feasible_point_is_feasible_and_near(name):
    program, reference = instances.program_of(name), instances.reference_of(name)
    rng = np.random.default_rng(0)
    good = np.asarray(instances.solution_of(name, "Admm").params)
    start = None
    if program.cones is not None:
        start = jnp.zeros(program.shape[:2] + program.y.shape)
    moves = []
    for size in (1e-6, 1e-2, 1.0):
        w = jnp.asarray(good + size * rng.standard_normal(program.shape))
        point, _ = feasible_point(program, w, start, steps=30)
        assert reference.violation(program, point) <= 1e-13
        z = reference.matrix(program) @ np.ravel(point)
        y = np.asarray(program.y)
        if program.loss.constraint == "equality":
            assert_allclose(z, y, atol=1e-10)
        if program.loss.constraint == "margin":
            assert np.isfinite(program.loss.value(z, y)) or np.min(y * z) <= 0
        moves.append(float(jnp.max(jnp.abs(point - good))))
    assert moves[0] <= 1e-3


def test_zero_blocks_stay_zero():
    program = instances.program_of("two_layer/squared")
    w = np.random.default_rng(0).standard_normal(program.shape)
    w[0, ::2] = 0
    start = jnp.zeros(program.shape[:2] + program.y.shape)
    point, _ = feasible_point(program, jnp.asarray(w), start, steps=30)
    assert np.all(np.asarray(point)[0, ::2] == 0)


def test_progress_starts_from_the_value_of_no_network():
    """As compiled: a fused product with a constant may read outside its memory."""
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((1000, 16)), rng.standard_normal((1000, 10))
    program = cj.programs.make_polynomial(X, Y, beta=1.0)
    solver = cj.solvers.SemidefiniteInteriorPoint()

    @jax.jit
    def start(program, w):
        return loop.Progress.start(solver, program, w).objective

    jnp.full((1000, 1000), jnp.nan).block_until_ready()  # freed memory, full of NaN
    assert_allclose(start(program, jnp.zeros(program.shape)), np.sum(Y**2) / 2)
