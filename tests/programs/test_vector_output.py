"""Vector outputs on data: published values, local search, closed form, certificates."""

import jax
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.bounds.several_outputs import cell_maxima, vector_bound
from cvxjax.solvers.choice import default_solver
from tests.references import network_search
from tests.vector_references import copositive_optimum


def draw(n, d, c, seed):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal((n, c))


def make(X, Y, beta=0.15, **options):
    return cj.programs.make_vector_output(X, Y, beta=beta, **options)


@pytest.mark.parametrize("beta", [0.02, 0.15, 0.6])
@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_copositive_program(seed, beta):
    program = make(*draw(6, 2, 2, seed), beta)
    solution = cj.solve(program).check()
    certificate = cj.certify(program, solution)
    want = copositive_optimum(program)
    assert_allclose(certificate.primal, want, rtol=2e-6)
    assert certificate.gap <= 1e-6
    assert certificate.scope is cj.Scope.EXHAUSTIVE


def test_local_search_finds_the_optimum_and_never_less():
    X, Y = draw(6, 2, 2, 0)
    solution = cj.solve(make(X, Y)).check()
    found = network_search(X, Y, 0.15, width=10, starts=10)
    assert_allclose(found[0], solution.objective, rtol=1e-5)
    assert np.all(found >= float(solution.dual_bound) * (1 - 1e-9))


def test_rank_three_is_exact_too():
    """The value is a network's, and no search is below the bound; this one ends 2e-5
    above."""
    X, Y = draw(7, 3, 2, 3)
    program = make(X, Y)
    solution = cj.solve(program).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-6
    variables = program.recover(solution.params)
    miss = np.asarray(program.network().apply(variables, X)) - Y
    decay = program.network().penalty(variables["params"])
    value = np.sum(miss**2) / 2 + 0.15 * float(decay)
    assert_allclose(value, certificate.primal, rtol=1e-9)
    found = network_search(X, Y, 0.15, width=12, starts=10)
    assert np.all(found >= certificate.dual)
    assert found[0] <= value * (1 + 5e-5)


def test_one_output_is_the_scalar_network():
    X, Y = draw(7, 2, 1, 1)
    plain = cj.programs.make_two_layer(
        X, Y[:, 0], cj.arrangements.enumerate_patterns(X), beta=0.15
    )
    want = cj.solve(plain).objective
    assert_allclose(cj.solve(make(X, Y)).objective, want, rtol=1e-6)


def test_nuclear_norms_are_a_lower_bound_and_another_value():
    """The talk's penalty: gated networks have it, ReLU networks do not."""
    X, Y = draw(6, 2, 2, 2)
    values = [float(cj.solve(make(X, Y, gated=g)).objective) for g in (False, True)]
    assert values[1] < 0.95 * values[0]


@pytest.mark.parametrize("beta", [0.1, 0.7, 1.5])
def test_closed_form_for_whitened_data_and_classes(beta):
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    Y = np.eye(2)[[0, 1, 0]]
    solution = cj.solve(make(X, Y, beta)).check()
    want = cj.programs.whitened_optimum(Y, beta=beta)
    assert_allclose(solution.objective, want, rtol=1e-6)
    with pytest.raises(ValueError, match="want one-hot Y"):
        cj.programs.whitened_optimum(X, beta=beta)


def test_cell_maxima_against_random_directions():
    X, R = draw(6, 3, 2, 5)
    masks = np.asarray(cj.arrangements.enumerate_patterns(X).masks)
    values, directions = cell_maxima(X, masks, R)
    sides = np.where(masks, 1, -1)
    assert np.all(sides * (directions @ X.T) >= -1e-9)
    attained = np.linalg.norm(np.maximum(directions @ X.T, 0) @ R, axis=1)
    assert_allclose(attained, values, atol=1e-9)
    u = np.random.default_rng(6).standard_normal((200_000, 3))
    u /= np.linalg.norm(u, axis=1, keepdims=True)
    best = np.zeros(len(masks))
    cell = {mask.tobytes(): i for i, mask in enumerate(masks)}
    at = np.asarray([cell[mask.tobytes()] for mask in u @ X.T >= 0])
    np.maximum.at(best, at, np.linalg.norm(np.maximum(u @ X.T, 0) @ R, axis=1))
    assert np.all(best <= values + 1e-9)
    assert np.max(values - best) <= 0.05 * np.max(values)
    assert vector_bound(X, masks, R) == np.max(values)


@pytest.mark.parametrize("solver", ["FrankWolfe", "CopositiveRelaxation"])
def test_higher_rank_is_bounded_by_the_gated_network(solver):
    """No exact maxima: the point is a network's, the bound rigorous, the gap honest."""
    X, Y = draw(10, 5, 2, 7)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=15)
    program = make(X, Y, 0.5, patterns=patterns)
    assert isinstance(default_solver(program), cj.solvers.CopositiveRelaxation)
    solution = cj.solve(program, getattr(cj.solvers, solver)())
    assert solution.status in (cj.Status.STALLED, cj.Status.CONVERGED)
    certificate = cj.certify(program, solution)
    gated = cj.solve(make(X, Y, 0.5, patterns=patterns, gated=True)).check()
    assert certificate.dual <= float(solution.objective)
    assert certificate.primal >= float(gated.objective)
    assert certificate.cone_violation <= 1e-9
    assert certificate.scope is cj.Scope.SAMPLED
    assert float(solution.objective) < 0.5 * np.sum(Y**2)
    assert certificate.gap <= (1 if solver == "FrankWolfe" else 1e-2)


@pytest.mark.parametrize("d, seed", [(4, 400), (5, 501)])
def test_default_of_higher_rank_is_the_best_of_local_searches(d, seed):
    """Also where the relaxation's bound leaves a gap of 1.6e-3 (seed 501)."""
    X, Y = draw(7, d, 2, seed)
    program = make(X, Y)
    solution = cj.solve(program)
    found = []
    for k in range(3):
        start = cj.solve(program, cj.solvers.BurerMonteiro(starts=1, seed=k)).params
        moved = cj.solve(program, cj.solvers.FrankWolfe(max_iters=40), start=start)
        found.append(float(moved.objective))
    assert_allclose(solution.objective, min(found), rtol=1e-6)
    assert solution.gap <= 2e-3


@pytest.mark.parametrize("d, c, least", [(2, 1, 1 - 1e-6), (2, 2, 0.6), (4, 2, 0.6)])
def test_a_bound_over_all_networks(d, c, least):
    """From few patterns, and from every pattern said to be few: below the optimum."""
    X, Y = draw(8, d, c, d)
    full = make(X, Y, 0.3)
    best = cj.solve(full, cj.solvers.CopositiveRelaxation())
    few = cj.arrangements.sample_patterns(jax.random.key(0), X, num=5)
    some = make(X, Y, 0.3, patterns=few)
    rough = cj.solve(some, cj.solvers.CopositiveRelaxation())
    scope = cj.Scope.GLOBAL_BOUND
    first = cj.certify(some, rough, scope=scope)
    assert first.scope is scope
    assert first.dual <= float(best.objective)
    claim = full.replace(scope=cj.Scope.SAMPLED)
    second = cj.certify(claim, best, scope=scope).dual
    assert least * float(best.objective) <= second <= float(best.objective)


def test_a_trained_network_is_certified():
    """Burer-Monteiro factors are networks: their distance to the optimum is known."""
    X, Y = draw(6, 2, 2, 0)
    network = cj.networks.VectorOutput(2, 12)
    result = cj.networks.train(
        jax.random.key(0),
        network,
        (X, Y),
        optax.adam(optax.exponential_decay(0.05, 5000, 1e-5)),
        steps=5000,
        num_seeds=5,
        weight_decay=0.15,
    )
    variables, objective = result.best()
    program = make(X, Y)
    solution = cj.solve(program).check()
    trained = solution.replace(params=program.embed(variables), dual=0 * program.y)
    certificate = cj.certify(program, trained)
    assert certificate.primal <= objective * (1 + 1e-9)
    assert certificate.dual <= float(solution.objective) * (1 + 1e-9)
    assert certificate.gap <= 1e-2


def test_autoencoder():
    X = draw(6, 2, 1, 9)[0]
    program = make(X, X, 0.05)
    solution = cj.solve(program).check()
    variables = program.recover(solution.params)
    z = program.network().apply(variables, X)
    assert z.shape == X.shape
    assert np.linalg.norm(z - X) < 0.5 * np.linalg.norm(X)


def test_path_starts_warm():
    program = make(*draw(6, 2, 2, 1))
    path = cj.solve_path(program, [0.6, 0.3, 0.15])
    alone = cj.solve(program)
    assert_allclose(path[-1].objective, alone.objective, rtol=2e-6)
    assert all(s.status == cj.Status.CONVERGED for s in path)


def test_refusals():
    X, Y = draw(6, 2, 2, 0)
    with pytest.raises(ValueError, match=r"want X \[n, d\], Y \[n, c\]"):
        make(X, Y[:4])
    with pytest.raises(ValueError, match="finite"):
        make(X, np.where(Y > 0, np.nan, Y))
    with pytest.raises(ValueError, match="want a finite beta > 0"):
        make(X, Y, -1.0)
    with pytest.raises(ValueError, match="want patterns, since there may be"):
        make(*draw(60, 6, 2, 0), gated=True)
    with pytest.raises(ValueError, match="parameters are not neurons"):
        cj.solve(make(X, Y, gated=True), cj.solvers.FrankWolfe())
    with pytest.raises(ValueError, match="Admm cannot take this program"):
        cj.solve(make(X, Y), cj.solvers.Admm())
