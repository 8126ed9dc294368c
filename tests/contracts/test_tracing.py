"""What `jit` and `vmap` may do to a solve: nothing recompiles, nothing changes."""

import contextlib

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers import loop
from tests import instances

CASES = [("two_layer/squared", "Admm"), ("two_layer/gated/squared", "Fista")]


@contextlib.contextmanager
def count_compilations():
    """A list that grows by one for everything that XLA compiles in the block."""
    names = []
    listening = True

    def listen(event, duration, **_):
        if listening and event == "/jax/core/compile/backend_compile_duration":
            names.append(event)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        listening = False


@pytest.fixture(params=CASES, ids="-".join)
def case(request):
    name, solver = request.param
    return instances.program_of(name), instances.SOLVERS[solver].solver, request.param


def test_the_counter_counts():
    with count_compilations() as compiled:
        jax.jit(lambda x: x + 2)(jnp.ones(7)).block_until_ready()
    assert len(compiled) >= 1


def test_numbers_recompile_nothing(case):
    """tol, beta, y, and the solver's own numbers are traced."""
    program, solver, key = case
    base = instances.solution_of(*key)
    others = [
        (program, solver.replace(tol=1e-5)),
        (program.replace(beta=program.beta * 2), solver),
        (program.replace(y=program.y - 1), solver),
    ]
    if isinstance(solver, cj.solvers.Admm):
        others += [(program, solver.replace(rho=2.0, cone_weight=10.0, relaxation=1.5))]
    cj.solve(program, solver)  # JAX forgets what was compiled long ago
    with count_compilations() as compiled:
        solutions = [cj.solve(*other) for other in others]
    assert len(compiled) == 0
    assert solutions[0].iterations < base.iterations
    assert solutions[1].objective > base.objective
    for solution in solutions:
        assert solution.status == cj.Status.CONVERGED


def test_default_tolerance_recompiles_nothing_against_another():
    program = instances.program_of("two_layer/gated/squared")
    only_here = 4321  # static, so that nothing else has compiled for it
    cj.solve(program, cj.solvers.Fista(max_iters=only_here))
    with count_compilations() as compiled:
        cj.solve(program, cj.solvers.Fista(max_iters=only_here, tol=1e-3))
    assert len(compiled) == 0


def test_step_is_traced_once(case):
    """The loops do not retrace the step: once in the loop, and once where checked."""
    program, solver, _ = case
    seen = []

    class Counting(type(solver)):
        def step(self, program, state):
            seen.append(1)
            return super().step(program, state)

    fields = vars(solver)
    counting = Counting(**fields)
    jax.make_jaxpr(lambda s, p: loop.run(s, p).objective)(counting, program)
    assert len(seen) <= 2


def test_jit_and_vmap_agree_with_separate_solves(case):
    """`loop.run` is pure: one compiled run over three (y, beta) gives the three."""
    program, solver, _ = case
    ys = jnp.stack([program.y, 2 * program.y, program.y[::-1]])
    betas = jnp.asarray([0.1, 0.05, 0.3])
    chex.clear_trace_counter()

    @jax.jit
    @chex.assert_max_traces(1)
    def run(solver, program, ys, betas):
        one = lambda y, b: loop.run(solver, program.replace(y=y, beta=b))  # noqa: E731
        return jax.vmap(one)(ys, betas)

    together = run(solver, program, ys, betas)
    again = run(solver.replace(tol=1e-6), program, ys[::-1], betas)
    assert np.all(np.asarray(again.gap) <= 1e-6)
    for i, (y, beta) in enumerate(zip(ys, betas, strict=True)):
        at = program.replace(y=y, beta=beta)
        alone = cj.solve(at, solver)
        one = jax.tree.map(lambda leaf, i=i: leaf[i], together)
        assert one.status == cj.Status.CONVERGED
        scale = max(1, float(alone.objective))
        assert abs(float(one.objective - alone.objective)) <= 2e-7 * scale
        assert cj.certify(at, one).gap <= 1e-6


def test_jitted_run_is_the_driver():
    key = CASES[1]
    program, solver = instances.program_of(key[0]), instances.SOLVERS[key[1]].solver
    want = instances.solution_of(*key)
    got = jax.jit(loop.run)(solver, program)
    assert int(got.iterations) == int(want.iterations)
    assert int(got.status) == int(want.status)
    assert_allclose(got.objective, want.objective, rtol=1e-12)
    assert_allclose(got.dual_bound, want.dual_bound, rtol=1e-12)
    assert_allclose(got.params, want.params, atol=1e-10)


def test_report_changes_nothing(case):
    """Coming back to the host between checks gives the same solution."""
    program, solver, key = case
    want, lines = instances.solution_of(*key), []
    got = cj.solve(program, solver, report=lambda *line: lines.append(line))
    assert int(got.iterations) == int(want.iterations)
    assert_allclose(got.objective, want.objective, rtol=1e-12)
    iterations, objectives, bounds, gaps = zip(*lines, strict=True)
    assert iterations[-1] == int(want.iterations)
    assert iterations[0] == 0 and list(iterations) == sorted(iterations)
    assert gaps[-1] == float(got.gap)
    assert min(objectives) >= max(bounds)
