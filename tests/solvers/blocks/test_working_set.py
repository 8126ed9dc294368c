"""What only the working set promises: few blocks, sound bounds, growth where needed."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers import Admm, InteriorPoint, WorkingSet
from cvxjax.solvers.blocks.selection import padded
from tests import instances


@pytest.fixture(scope="module")
def program():
    """100 patterns, so 200 blocks, of which few are active."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 4))
    y = np.maximum(X @ rng.standard_normal((4, 3)), 0) @ rng.standard_normal(3)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=100)
    return cj.programs.make_two_layer(X, y, patterns, beta=1.0)


@pytest.fixture(scope="module")
def optimum(program):
    return instances.REFERENCES["two_layer"].optimum(program)


def judged(program, solver):
    solution = cj.solve(program, solver).check()
    return solution, cj.certify(program, solution)


def test_same_optimum_as_cvxpy(program, optimum):
    solution, certificate = judged(program, WorkingSet(tol=1e-9))
    assert abs(certificate.primal - optimum) <= 1e-7 * max(1, optimum)
    assert certificate.gap <= 1e-8
    assert certificate.cone_violation <= 1e-12
    assert solution.params.shape == program.shape


def test_a_bad_first_set_grows(program, optimum):
    """One block of 200 to begin with: pricing must find the others."""
    start = jnp.zeros(program.shape).at[0, 0].set(program.cones.interior[0])
    solution = cj.solve(program, WorkingSet(tol=1e-8), start=start).check()
    assert len(solution.history.gap) > 1
    assert abs(float(solution.objective) - optimum) <= 1e-7 * max(1, optimum)
    gaps = np.asarray(solution.history.gap)
    assert np.all(np.diff(gaps) <= 0)
    slack = 1e-7 * max(1, optimum)  # of the reference
    assert np.all(np.asarray(solution.history.dual_bound) <= optimum + slack)
    assert np.all(np.asarray(solution.history.objective) >= optimum - slack)


def test_an_infeasible_start_is_repaired(program, optimum):
    """It has an objective below the optimum, which must not be kept."""
    gated = cj.solve(program.replace(cones=None), Admm(tol=1e-6)).params
    assert program.objective(gated) < optimum - 1e-3
    solution = cj.solve(program, WorkingSet(tol=1e-6), start=gated).check()
    assert cj.certify(program, solution).cone_violation <= 1e-12
    assert float(solution.objective) >= optimum - 1e-7 * max(1, optimum)


def test_rounds_compile_little(program):
    """A new padded size compiles the solver and what selects; indexing is NumPy's."""
    compiled = []
    listen = lambda event, *_, **__: compiled.append(event)  # noqa: E731
    cj.solve(program, WorkingSet(tol=1e-6))
    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        for beta in (0.9, 0.8):
            at = program.replace(beta=jnp.asarray(beta))
            cj.solve(at, WorkingSet(tol=1e-6)).check()
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
    assert sum("backend_compile" in event for event in compiled) <= 15


def test_around_admm_and_gated(program):
    _, certificate = judged(program, WorkingSet(tol=1e-5, inner=Admm()))
    assert certificate.gap <= 1e-5
    gated = program.replace(cones=None)
    want = cj.solve(gated, InteriorPoint(tol=1e-9)).check()
    _, certificate = judged(gated, WorkingSet(tol=1e-8))
    assert_allclose(certificate.primal, want.objective, rtol=1e-7)
    assert certificate.gap <= 1e-8


def test_selected_blocks_are_a_program_of_their_own(program):
    """Maps of the selection against those of the whole; padding does nothing."""
    rng = np.random.default_rng(1)
    blocks = np.array([3, 150, 77, 5])
    part = program.select(jnp.asarray(blocks), jnp.asarray([True, True, True, False]))
    assert part.shape == (1, 4, 4)
    w = rng.standard_normal((1, 4, 4))
    whole = np.zeros((200, 4))
    whole[blocks[:3]] = w[0, :3]
    whole = whole.reshape(program.shape)
    r = rng.standard_normal(len(program.y))
    assert_allclose(part.forward(w), program.forward(jnp.asarray(whole)), atol=1e-13)
    adjoint = np.asarray(program.adjoint(jnp.asarray(r))).reshape(200, 4)
    assert_allclose(part.adjoint(jnp.asarray(r))[0, :3], adjoint[blocks[:3]])
    assert np.all(part.adjoint(jnp.asarray(r))[0, 3] == 0)
    inner = np.eye(4)
    weights = rng.random((1, 4))
    full = np.zeros(200)
    full[blocks[:3]] = weights[0, :3]
    assert_allclose(
        part.response(jnp.asarray(weights), jnp.asarray(inner)),
        program.response(jnp.asarray(full.reshape(2, 100)), jnp.asarray(inner)),
        atol=1e-12,
    )


def test_sizes_are_few():
    sizes = [padded(count) for count in range(1, 2000)]
    assert sorted(set(sizes))[:7] == [64, 80, 96, 112, 128, 160, 192]
    assert all(size >= count for count, size in enumerate(sizes, 1))
    assert all(size <= max(64, 1.5 * count) for count, size in enumerate(sizes, 1))


def test_rounds_are_bounded(program):
    start = jnp.zeros(program.shape).at[0, 0].set(program.cones.interior[0])
    solution = cj.solve(program, WorkingSet(tol=1e-9, max_iters=1), start=start)
    assert solution.status == cj.Status.MAX_ITERATIONS
    assert cj.certify(program, solution).gap > 1e-9


def test_refuses_constraints():
    for name in ("two_layer/interpolation", "two_layer/hard_margin"):
        with pytest.raises(ValueError, match="few blocks may not meet the constraint"):
            cj.solve(instances.program_of(name), WorkingSet())
