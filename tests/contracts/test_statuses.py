"""Every way to stop is a status with a reason; no solver fails in silence."""

import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from tests import instances

PAIRS = [("two_layer/squared", "Admm"), ("two_layer/gated/squared", "Fista")]


@pytest.fixture(params=PAIRS, ids="-".join)
def pair(request):
    name, solver = request.param
    return instances.program_of(name), instances.SOLVERS[solver].solver


def test_max_iterations(pair):
    program, solver = pair
    solution = cj.solve(program, solver.replace(max_iters=3, check_every=2))
    assert solution.status == cj.Status.MAX_ITERATIONS
    assert int(solution.iterations) == 3
    assert np.asarray(solution.history.iteration).tolist() == [2, 3]
    with pytest.raises(
        cj.SolverError, match=r"MAX_ITERATIONS: max_iters steps .* 3 it"
    ):
        solution.check()
    certificate = cj.certify(program, solution)
    assert certificate.gap > solver.tol
    optimum = program_optimum(program)
    assert certificate.dual <= optimum <= certificate.primal


def program_optimum(program):
    return instances.REFERENCES["two_layer"].optimum(program)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_nonfinite(pair, number):
    program, solver = pair
    solution = cj.solve(program.replace(y=program.y.at[0].set(number)), solver)
    assert solution.status == cj.Status.NONFINITE
    assert int(solution.iterations) == solver.check_every
    with pytest.raises(cj.SolverError, match="NONFINITE: a NaN or an infinity"):
        solution.check()


def test_stalled(pair):
    """A tolerance below the precision's floor ends, and is not called converged."""
    program, solver = pair
    solution = cj.solve(program, solver.replace(tol=1e-30))
    assert solution.status == cj.Status.STALLED
    assert solution.gap < 1e-10
    with pytest.raises(cj.SolverError, match="STALLED: the gap stopped improving"):
        solution.check()


def contradiction(loss, gated):
    """Two equal rows with different labels: no function fits both."""
    X, y = instances.draw_data(8, 2)
    X[7] = X[0]
    y = np.sign(y) if loss == "hard_margin" else y
    y[7] = -y[0]
    patterns = instances.repeated(X)
    return cj.programs.make_two_layer(
        X, y, patterns, beta=0.1, loss=getattr(cj.losses, loss)(), gated=gated
    )


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("loss", ["interpolation", "hard_margin"])
def test_infeasible(loss, gated):
    program = contradiction(loss, gated)
    solution = cj.solve(program, cj.solvers.Admm(tol=1e-7))
    assert solution.status == cj.Status.INFEASIBLE
    assert solution.objective == np.inf
    with pytest.raises(cj.SolverError, match="INFEASIBLE: no parameters satisfy"):
        solution.check()
    certificate = cj.certify(program, solution)
    assert certificate.primal == certificate.gap == np.inf


def test_infeasible_because_no_neuron_is_active():
    X = np.abs(instances.draw_data(8, 2)[0])
    inactive = instances.all_inactive(X)
    patterns = instances.repeated(X).replace(
        masks=jnp.tile(inactive.masks, (16, 1)), gates=jnp.tile(inactive.gates, (16, 1))
    )
    program = instances.two_layer(X, patterns=lambda _: patterns, loss="interpolation")
    solution = cj.solve(program, cj.solvers.Admm(tol=1e-7))
    assert solution.status == cj.Status.INFEASIBLE


def test_equal_rows_with_equal_labels_are_feasible():
    X, y = instances.draw_data(8, 2)
    X[7], y[7] = X[0], y[0]
    patterns = instances.repeated(X)
    program = cj.programs.make_two_layer(
        X, y, patterns, beta=0.1, loss=cj.losses.interpolation()
    )
    solution = cj.solve(program, cj.solvers.Admm(tol=1e-7))
    optimum = program_optimum(program)
    certificate = cj.certify(program, solution.check())
    assert abs(certificate.primal - optimum) <= 1e-6 * max(1, optimum)
    assert certificate.gap <= 1e-6


def test_a_running_state_is_not_converged():
    program = instances.program_of("two_layer/gated/squared")
    solution = instances.solution_of("two_layer/gated/squared", "Fista")
    with pytest.raises(cj.SolverError, match="RUNNING: the solver has not finished"):
        solution.replace(status=jnp.asarray(0)).check()
    assert program.scope is solution.scope


def test_every_status_and_scope_has_a_message():
    for member in (*cj.Status, *cj.Scope):
        assert len(member.message) > 10
