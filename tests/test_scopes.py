"""Which networks a certificate covers: what is asked for, and what can be proven."""

import jax
import numpy as np
import pytest

import cvxjax as cj
from tests import instances
from tests.references import two_layer_optimum

Scope = cj.Scope
SLACK = 1e-8


def test_all_networks_by_exact_pricing():
    """Rank two: the bound over all networks from a dual vector of few patterns."""
    name = "two_layer/sampled"
    program, solution = instances.program_of(name), instances.solution_of(name, "Admm")
    optimum = instances.optimum_of("two_layer/squared")
    certificates = [
        cj.certify(program, solution, scope=scope)
        for scope in (Scope.EXHAUSTIVE, Scope.GLOBAL_BOUND)
    ]
    for certificate in certificates:
        assert certificate.scope is Scope.EXHAUSTIVE
        assert certificate.dual <= optimum * (1 + SLACK)
    plain = cj.certify(program, solution, scope=Scope.SAMPLED)
    assert plain == cj.certify(program, solution)
    assert plain.scope is Scope.SAMPLED
    assert plain.dual > optimum + 1e-3 > certificates[0].dual


@pytest.mark.parametrize("listed", [Scope.EXHAUSTIVE, Scope.SAMPLED])
def test_the_optimum_of_every_pattern(listed):
    """With the list, and by exact pricing with no use of it."""
    name = "two_layer/squared"
    program, solution = instances.program_of(name), instances.solution_of(name, "Admm")
    program = program.replace(scope=listed)
    certificate = cj.certify(program, solution, scope=Scope.GLOBAL_BOUND)
    assert certificate.scope is Scope.EXHAUSTIVE
    assert certificate.gap <= 1e-6
    assert certificate.dual <= instances.optimum_of(name) * (1 + SLACK)


def above_rank_three():
    X, y = instances.draw_data(9, 4)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=6)
    program = cj.programs.make_two_layer(X, y, patterns, beta=0.3)
    return program, cj.solve(program, cj.solvers.Admm(tol=1e-6))


def test_all_networks_by_the_relaxation():
    program, solution = above_rank_three()
    every = cj.arrangements.enumerate_patterns(program.X)
    full = cj.programs.make_two_layer(program.X, program.y, every, beta=0.3)
    optimum = two_layer_optimum(full)
    certificate = cj.certify(program, solution, scope=Scope.GLOBAL_BOUND)
    assert certificate.scope is Scope.GLOBAL_BOUND
    assert 0.6 * optimum <= certificate.dual <= optimum * (1 + SLACK)
    assert "without enumeration" in str(certificate)
    with pytest.raises(ValueError, match="want every pattern, or X of rank at most 3"):
        cj.certify(program, solution, scope=Scope.EXHAUSTIVE)
    lie = solution.replace(scope=Scope.EXHAUSTIVE)
    assert cj.certify(program, lie).scope is Scope.SAMPLED


def test_a_claim_is_verified_where_that_can_be_done():
    name = "two_layer/sampled"
    program, solution = instances.program_of(name), instances.solution_of(name, "Admm")
    claim = cj.certify(program, solution.replace(scope=Scope.EXHAUSTIVE))
    assert claim.scope is Scope.EXHAUSTIVE
    assert claim.dual <= instances.optimum_of("two_layer/squared") * (1 + SLACK)


def test_patterns_that_the_solver_chose_are_judged():
    full = instances.program_of("two_layer/squared")
    best = instances.solution_of("two_layer/squared", "Admm")
    program = instances.program_of("two_layer/sampled")
    own = best.replace(patterns=full.patterns, scope=Scope.SAMPLED)
    certificate = cj.certify(program, own)
    assert certificate.scope is Scope.SAMPLED
    assert certificate.gap <= 1e-6
    nowhere = np.tile(np.arange(8) % 2 == 0, (16, 1))  # the mask of no cell
    assert not np.any(np.all(np.asarray(full.masks) == nowhere[0], axis=1))
    with pytest.raises(ValueError, match="want a cone with an interior; got 16"):
        cj.certify(program, own.replace(patterns=full.patterns.replace(masks=nowhere)))


def test_gated_networks_have_no_bound_over_all_networks():
    program = instances.program_of("two_layer/gated/squared")
    solution = instances.solution_of("two_layer/gated/squared", "Fista")
    with pytest.raises(ValueError, match="want ReLU .* got gated ReLU"):
        cj.certify(program, solution, scope=Scope.GLOBAL_BOUND)
    with pytest.raises(ValueError, match="want scope, a cvxjax.Scope; got 'global'"):
        cj.certify(program, solution, scope="global")
    assert cj.certify(program, solution).scope is program.scope


@pytest.mark.parametrize("d, scope", [(2, "EXHAUSTIVE"), (4, "SAMPLED")])
def test_a_claim_of_every_pattern_is_verified(d, scope):
    X, y = instances.draw_data(9, d)
    patterns = cj.arrangements.from_gates(X, X[:3])
    program = cj.programs.make_two_layer(X, y, patterns, beta=0.1)
    point = instances.point_of(program, np.zeros(program.shape), y)
    claim = point.replace(scope=cj.Scope.EXHAUSTIVE)
    assert cj.certify(program, claim).scope is cj.Scope[scope]
