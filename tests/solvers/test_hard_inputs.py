"""Hard data: every solve ends with a bound that holds, or a status that says why."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.solvers import Admm, InteriorPoint
from tests import instances

PRECISE = InteriorPoint(tol=1e-8)


def labels(n):
    return np.random.default_rng(3).standard_normal(n)


def program_of(X, *, beta, num=40):
    scale = np.max(np.abs(X), axis=0)
    gates = cj.arrangements.sample_patterns(jax.random.key(0), X / scale, num=num).gates
    patterns = cj.arrangements.from_gates(X, np.asarray(gates) / scale)
    return cj.programs.make_two_layer(X, labels(len(X)), patterns, beta=beta)


def gaussian(n, d):
    return np.random.default_rng(2).standard_normal((n, d))


def ill_conditioned():
    return gaussian(30, 4) * np.array([1.0, 1e-3, 1e-5, 1e-8])


def nearly_duplicate():
    X = gaussian(30, 4)
    X[1::2] = X[::2] + 1e-9 * gaussian(15, 4)
    return X


CASES = {
    "condition 1e8": (ill_conditioned, 0.01),
    "nearly duplicate rows": (nearly_duplicate, 0.1),
    "n < d": (lambda: gaussian(8, 30), 0.1),
    "n >> d": (lambda: gaussian(400, 2), 0.1),
}


@pytest.mark.parametrize("case", CASES)
def test_certified(case):
    draw, beta = CASES[case]
    program = program_of(draw(), beta=beta)
    solution = cj.solve(program, PRECISE).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-7
    assert certificate.cone_violation <= 1e-12


def test_more_patterns_than_are_distinct():
    """A pattern listed many times is one pattern."""
    program = program_of(gaussian(30, 4), beta=0.1, num=10)
    index = jnp.arange(40) % 10
    patterns = program.patterns
    patterns = patterns.replace(
        masks=patterns.masks[index], gates=patterns.gates[index]
    )
    many = cj.programs.make_two_layer(
        np.asarray(program.X), np.asarray(program.y), patterns, beta=0.1
    )
    optimum = instances.REFERENCES["two_layer"].optimum(program)
    certificate = cj.certify(many, cj.solve(many, PRECISE).check())
    assert certificate.gap <= 1e-7
    assert abs(certificate.primal - optimum) <= 1e-7 * max(1, optimum)


@pytest.mark.parametrize("solver", [PRECISE, Admm(tol=1e-8, max_iters=500)])
@pytest.mark.parametrize("beta", [1e-6, 1e-12])
def test_tiny_beta_ends_with_a_status(solver, beta):
    """Nearly interpolation: solved, or said not to be; the bounds hold."""
    program = program_of(gaussian(30, 4), beta=beta)
    solution = cj.solve(program, solver)
    assert solution.status in (
        cj.Status.CONVERGED,
        cj.Status.MAX_ITERATIONS,
        cj.Status.STALLED,
    )
    certificate = cj.certify(program, solution)
    assert certificate.dual <= certificate.primal < float(np.sum(labels(30) ** 2)) / 2
    if solution.status == cj.Status.CONVERGED:
        assert certificate.gap <= 1e-7
