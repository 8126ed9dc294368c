"""Problems over all patterns, which nobody lists: solved, certified, and refused."""

import functools

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from tests import instances

FIRST = np.random.default_rng(3).standard_normal((6, 4))
SECOND = np.random.default_rng(4).standard_normal(4)


def data(n=40, d=6):
    X, y = instances.draw_data(n, d)
    return X, y / np.std(y)


@functools.cache
def solved():
    X, y = data()
    program = cj.programs.make_two_layer(X, y, beta=2.0)
    return program, cj.solve(program)


def objective(first, second, X, y, beta):
    z = np.maximum(X @ first, 0) @ second
    squares = np.sum(first**2) + np.sum(second**2)
    return 0.5 * np.sum((z - y) ** 2) + beta / 2 * squares


def test_a_search_stands_behind_the_end():
    program, solution = solved()
    assert program.all_patterns
    assert program.scope is cj.Scope.SAMPLED
    assert solution.status == cj.Status.SEARCHED
    assert 1 - 1e-6 <= float(solution.price) <= 1 + 1e-3
    assert int(solution.searches) >= 2048
    assert solution.scope is cj.Scope.GLOBAL_BOUND
    assert "nothing proves" in repr(solution)
    params = program.recover(solution.params)["params"]
    X, y = np.asarray(program.X), np.asarray(program.y)
    first, second = (np.asarray(params[k]["kernel"]) for k in ("first", "second"))
    value = objective(first, second[:, 0], X, y, 2.0)
    assert_allclose(value, float(solution.objective), rtol=1e-10)


def test_no_local_search_is_below_it():
    """Adam on the whole data, two widths and two rates, four seeds of each."""
    import optax

    program, solution = solved()
    X, y = np.asarray(program.X), np.asarray(program.y)
    found = []
    for width in (30, 80):
        for rate in (0.01, 0.03):
            run = cj.networks.train(
                jax.random.key(width),
                cj.networks.TwoLayer(width),
                (X, y),
                optax.adam(optax.cosine_decay_schedule(rate, 1500)),
                steps=1500,
                num_seeds=4,
                weight_decay=2.0,
            )
            found.append(run.best()[1])
    assert float(solution.objective) <= min(found) * (1 + 1e-4)


def test_sampled_patterns_are_a_smaller_problem():
    program, solution = solved()
    X, y = np.asarray(program.X), np.asarray(program.y)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=50)
    sampled = cj.programs.make_two_layer(X, y, patterns, beta=2.0)
    assert not sampled.all_patterns
    assert float(solution.objective) < float(cj.solve(sampled).objective)


def test_certificates_are_over_all_networks():
    program, solution = solved()
    certificate = cj.certify(program, solution, time_limit=1)
    assert certificate.scope is cj.Scope.GLOBAL_BOUND
    assert 0 < certificate.gap < 0.2
    assert certificate.dual >= float(solution.dual_bound) * (1 - 1e-9)
    listed = cj.certify(program, solution, scope=cj.Scope.SAMPLED)
    assert listed.scope is cj.Scope.SAMPLED
    assert listed.gap <= 2e-4


def test_of_rank_three_it_is_proven():
    X, y = data(60, 3)
    program = cj.programs.make_two_layer(X, y, beta=1.0)
    assert program.all_patterns is (len(program.masks) < 100)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=5)
    few = cj.programs.make_two_layer(X, y, patterns, beta=1.0)
    whole = few.replace(all_patterns=True)
    solution = cj.solve(whole).check()
    assert solution.scope is cj.Scope.EXHAUSTIVE
    assert cj.certify(whole, solution).scope is cj.Scope.EXHAUSTIVE


def test_a_trained_network_is_a_start():
    program, _ = solved()
    X, y = np.asarray(program.X), np.asarray(program.y)
    before = objective(FIRST, SECOND, X, y, 2.0)
    kernels = {"first": {"kernel": FIRST}, "second": {"kernel": SECOND[:, None]}}
    solver = cj.solvers.ColumnGeneration(max_iters=1)
    ends = [
        cj.solve(program, solver, start=start)
        for start in ((FIRST, SECOND), {"params": kernels}, kernels)
    ]
    assert len({float(end.objective) for end in ends}) == 1
    assert float(ends[0].objective) < before


@pytest.mark.parametrize(
    "start, said",
    [
        ((FIRST.T, SECOND), r"weights \[6, m\] and \[m, 1\] .* got \[4, 6\] and"),
        ((FIRST, SECOND[:3]), r"got \[6, 4\] and \[3, 1\]"),
        ({"params": {"first": 1}}, "want start, variables with params/first/kernel"),
        ((FIRST,), "two kernels; got 1"),
        ((FIRST, np.full(4, np.nan)), "want a finite start"),
        (3.0, "want start"),
    ],
)
def test_starts_of_other_networks(start, said):
    program, _ = solved()
    with pytest.raises(ValueError, match=said):
        cj.solve(program, start=start)


def test_a_network_does_not_start_a_solver_of_given_patterns():
    X, y = data()
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=20)
    program = cj.programs.make_two_layer(X, y, patterns, beta=2.0)
    with pytest.raises(ValueError, match="want a start within the program's 20 pat"):
        cj.solve(program, cj.solvers.Admm(), start=(FIRST, SECOND))


def test_solvers_of_given_patterns_refuse():
    program, _ = solved()
    with pytest.raises(ValueError, match="it lists few of its patterns"):
        cj.solve(program, cj.solvers.Admm())


def test_no_time_at_all():
    program, solution = solved()
    early = cj.solve(program, time_limit=0)
    assert early.status == cj.Status.TIME_LIMIT
    at_zero = 0.5 * float(np.sum(np.asarray(program.y) ** 2))
    assert float(solution.objective) < float(early.objective) < at_zero
    assert early.scope is cj.Scope.GLOBAL_BOUND
    assert 0 < float(early.dual_bound) < float(solution.objective)
    certificate = cj.certify(program, early, time_limit=1)
    assert certificate.dual >= 0.99 * float(early.dual_bound)


def test_beta_from_which_on_zero_is_optimal():
    program, _ = solved()
    X, y = np.asarray(program.X), np.asarray(program.y)
    above = cj.programs.make_two_layer(X, y, beta=1.01 * program.beta_max())
    solution = cj.solve(above).check()
    assert not np.any(solution.params)


@pytest.mark.parametrize("unit", [1e-9, 1e9])
def test_labels_in_other_units(unit):
    program, solution = solved()
    X, y = np.asarray(program.X), np.asarray(program.y)
    other = cj.solve(cj.programs.make_two_layer(X, unit * y, beta=2.0 * unit))
    assert other.status == solution.status
    value = float(other.objective) / unit**2
    assert_allclose(value, float(solution.objective), rtol=1e-4)


def test_a_year_beside_a_bias():
    """Narrow cells, where training from random weights ends a hundred times above."""
    rng = np.random.default_rng(0)
    X = np.column_stack([1950 + rng.integers(0, 70, 90), np.ones(90), rng.random(90)])
    X = np.column_stack([X, rng.random((90, 2))])
    y = np.sin(X[:, 0] / 5) + X[:, 2]
    solution = cj.solve(cj.programs.make_two_layer(X, y, beta=0.1))
    assert solution.status in (cj.Status.SEARCHED, cj.Status.STALLED)
    assert float(solution.objective) < 0.6 * 0.5 * np.sum((y - y.mean()) ** 2)


@pytest.mark.parametrize("loss", ["logistic", "hinge", "pinball"])
def test_other_losses(loss):
    X, y = data()
    y = y if loss == "pinball" else np.sign(y)
    solution = cj.solve(cj.programs.make_two_layer(X, y, beta=1.0, loss=loss))
    assert solution.status == cj.Status.SEARCHED


def test_pooled_filters():
    patches = np.random.default_rng(1).standard_normal((30, 3, 5))
    y = np.random.default_rng(2).standard_normal(30)
    make = functools.partial(cj.programs.make_convolutional, patches, y, beta=0.5)
    program = make(kind="sum_pool")
    assert program.all_patterns
    solution = cj.solve(program)
    assert solution.status == cj.Status.SEARCHED
    z = program.network().apply(program.recover(solution.params), patches)
    grown = solution.program_of(program)
    assert not grown.all_patterns
    assert_allclose(z, grown.forward(solution.params), atol=1e-10)


def test_several_outputs_and_normalisation():
    X, y = data()
    two = cj.programs.make_vector_output(X, np.column_stack([y, X[:, 0]]), beta=2.0)
    assert two.all_patterns
    assert cj.solve(two).status in (cj.Status.SEARCHED, cj.Status.STALLED)
    normal = cj.programs.make_batch_norm(X, y, beta=0.5)
    assert normal.all_patterns
    solution = cj.solve(normal)
    assert solution.status == cj.Status.SEARCHED
    z = normal.network().apply(normal.recover(solution.params), X)
    grown = solution.program_of(normal)
    assert_allclose(z, grown.forward(solution.params), atol=1e-8)
