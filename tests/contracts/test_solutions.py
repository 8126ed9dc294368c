"""Each solver on each program: optimal, feasible, and the same as a network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers.base import SteppedSolver
from cvxjax.solvers.choice import default_solver
from cvxjax.solvers.refusals import refusal
from tests import instances

# Outside jit every operation of a new shape is compiled for itself.
forward = jax.jit(lambda program, params: program.forward(params))
apply = jax.jit(lambda network, *rest: network.apply(*rest), static_argnums=0)


def test_takes_exactly_what_instances_say(name, program):
    for solver, case in instances.SOLVERS.items():
        assert (refusal(case.solver, program) is None) == case.takes(name), solver


def test_default_solver(name, program):
    cones, largest = program.cones is not None, program.beta_max()
    for fraction, squared in ((0.5, "SemismoothNewton"), (1e-9, "InteriorPoint")):
        if not 1e-9 < largest < np.inf:  # rounding, or a constraint
            continue
        solver = default_solver(program.replace(beta=jnp.asarray(fraction * largest)))
        preferred = squared if program.loss.quadratic else "InteriorPoint"
        order = ["FrankWolfe"]
        if name in instances.SPECTRAL:
            order = ["SemidefiniteInteriorPoint", "Semidefinite"]
        if cones or not program.loss.quadratic:
            order += [preferred, "InteriorPoint"]
        takes = [s for s in order if instances.SOLVERS[s].takes(name)]
        wanted = getattr(cj.solvers, [*takes, "Admm"][0])
        assert isinstance(solver, wanted), fraction


def test_attains_the_reference_optimum(solved):
    """CVXPY and Clarabel, to 1e-6; the certificate does not come from the solver."""
    certificate = solved.certificate
    scale = max(1, abs(solved.optimum))
    assert abs(certificate.primal - solved.optimum) <= 1e-6 * scale
    assert certificate.dual <= solved.optimum + 1e-8 * scale
    assert certificate.gap <= 1e-6
    assert certificate.scope is solved.program.scope


def test_converged_and_said_so(solved):
    solution = solved.solution
    assert solution.check() is solution
    assert solution.gap <= solved.solver.tol
    assert (int(solution.iterations) == 0) == zero_is_optimal(solved.program)
    if isinstance(
        solved.solver, SteppedSolver
    ):  # others count the steps of what they run
        assert solution.iterations <= solved.solver.max_iters
    assert_allclose(solution.objective, solved.certificate.primal, rtol=1e-10)


def test_returned_point_is_feasible(solved):
    violation = solved.reference.violation(solved.program, solved.solution.params)
    assert violation <= 1e-12
    assert solved.certificate.cone_violation <= 1e-12


def zero_is_optimal(program):
    return program.loss.constraint is None and program.beta >= program.beta_max()


def test_history_is_monotone_and_ends_at_the_solution(solved):
    solution = jax.tree.map(np.asarray, solved.solution)
    history = solution.history
    if zero_is_optimal(solved.program):
        assert history.gap.size == 0 and solution.gap == 0
        return
    done = history.iteration >= 0
    count = int(np.sum(done))
    assert np.all(done[:count])
    assert np.all(np.isnan(history.gap[count:]))
    assert int(history.iteration[count - 1]) == int(solution.iterations)
    assert np.all(np.diff(history.iteration[:count]) > 0)
    assert np.all(np.diff(history.dual_bound[:count]) >= 0)
    objective = history.objective[:count]
    assert np.all(objective[1:] <= objective[:-1])
    assert history.gap[count - 1] == solution.gap
    assert history.objective[count - 1] == solution.objective


def test_recovered_network_has_the_same_predictions_and_objective(solved):
    if solved.name not in instances.EXACT:
        pytest.skip("a relaxation: its networks are drawn, in tests/programs")
    program, params = solved.program, solved.solution.params
    variables = program.recover(params)
    network = program.network()
    z = np.asarray(apply(network, variables, program.inputs))
    y = np.asarray(program.y)
    scale = max(1, np.max(np.abs(y)))
    assert_allclose(z, forward(program, params), atol=1e-10 * scale)

    decay = float(jax.jit(network.penalty)(variables["params"]))
    objective = float(program.loss.value(z, y)) + float(program.beta) * decay
    assert np.isfinite(objective)
    assert_allclose(objective, solved.solution.objective, rtol=1e-8)


def test_zero_above_beta_max_and_not_below(solved):
    """beta_max is the polar gauge, by CVXPY, of minus the gradient at zero."""
    program, beta_max = solved.program, solved.program.beta_max()
    y = np.asarray(program.y)
    if program.loss.constraint is not None:
        assert beta_max == np.inf
        assert np.any(np.asarray(solved.solution.params) != 0)
        return
    slope = -program.loss.gradient(np.zeros_like(y), y)
    want = solved.reference.polar(program, slope)
    assert_allclose(beta_max, want, rtol=1e-7, atol=1e-9)
    if want < 1e-9:
        assert np.all(np.asarray(solved.solution.params) == 0)
        return
    above = solved.at(beta_max * (1 + 1e-6))
    assert np.all(np.asarray(above.params) == 0)
    assert above.status == cj.Status.CONVERGED and int(above.iterations) == 0
    below = solved.at(0.99 * beta_max)
    assert np.any(np.asarray(below.params) != 0)
    at_zero = float(program.loss.value(np.zeros_like(y), y))
    assert below.objective < at_zero
