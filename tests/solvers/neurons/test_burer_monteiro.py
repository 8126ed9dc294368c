"""Factors by L-BFGS: the optimum of tiny problems, certificates of many cells."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers import BurerMonteiro


def planted(n, d, c, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    hidden = np.maximum(X @ rng.standard_normal((d, 4)), 0)
    return X, hidden @ rng.standard_normal((4, c)) + 0.1 * rng.standard_normal((n, c))


def make(X, Y, beta, **options):
    return cj.programs.make_vector_output(X, Y, beta=beta, **options)


@pytest.mark.parametrize("seed", range(3))
def test_finds_and_certifies_the_optimum_of_few_samples(seed):
    program = make(*planted(8, 2, 2, seed), 0.3)
    solution = cj.solve(program, BurerMonteiro(tol=1e-3))
    assert solution.gap <= 2e-2  # at kinks the residual is no good dual point
    want = cj.solve(program, cj.solvers.FrankWolfe()).check()
    assert_allclose(solution.objective, want.objective, rtol=1e-3)
    assert solution.dual_bound <= float(want.objective)
    assert solution.patterns is None
    polished = cj.solve(program, cj.solvers.FrankWolfe(), start=solution.params)
    assert_allclose(polished.check().objective, want.objective, rtol=1e-6)
    assert cj.certify(program, solution).scope is cj.Scope.EXHAUSTIVE


def test_where_cells_are_many_it_brings_its_own():
    X, Y = planted(60, 8, 3)
    few = cj.arrangements.sample_patterns(jax.random.key(0), X, num=4)
    program = make(X, Y, 2.0, patterns=few)
    solver = BurerMonteiro(num_neurons=20, starts=2)
    solution = cj.solve(program, solver)
    assert int(solution.status) == cj.Status.STALLED  # the gated bound is loose
    assert solution.history.objective.shape == (3,)  # of zero, and of each start
    certificate = cj.certify(program, solution)
    assert certificate.cone_violation <= 1e-12
    assert_allclose(certificate.primal, solution.objective, rtol=1e-12)
    assert_allclose(certificate.dual, solution.dual_bound, rtol=1e-9)
    assert len(solution.patterns.masks) > len(program.masks)
    over_all = cj.certify(program, solution, scope=cj.Scope.GLOBAL_BOUND)
    assert 0 < over_all.dual <= certificate.dual
    sampled = cj.solve(program, cj.solvers.FrankWolfe())
    assert solution.objective < sampled.objective
    again = cj.solve(program, solver.replace(starts=1), start=solution.params)
    assert again.objective <= solution.objective * (1 + 1e-12)
    z = program.network().apply(program.recover(solution.params), X)
    assert_allclose(z, program.forward(solution.params), atol=1e-12)


def test_refusals():
    X, Y = planted(8, 2, 2)
    with pytest.raises(ValueError, match="its parameters are not neurons"):
        cj.solve(make(X, Y, 0.3, gated=True), BurerMonteiro())
