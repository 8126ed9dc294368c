"""Data as people have them: which cells there are, and what is claimed of them."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.arrangements import enumerate_patterns
from cvxjax.terms.cones import make_sign_cones

Scope = cj.Scope
FEW = cj.solvers.Admm(max_iters=20)
DAYS = np.arange(12.0)
DATES = np.column_stack([20240101 + DAYS, np.ones(12)])


def lines_of(X):
    """Distinct directions of the rows of X [n, 2], in rational numbers."""
    rows = [[Fraction(float(x)) for x in row] for row in X]
    return len({a / b if b else None for a, b in rows})


@pytest.mark.parametrize("offset, step", [(1.0, 1e-5), (1013.0, 0.1)])
def test_every_cell_of_float32_weather(offset, step):
    """CASES 1.3, air pressure beside a bias: 2 patterns, called all of them."""
    z = np.random.default_rng(0).standard_normal(400)
    X = np.column_stack([offset + step * z, np.ones(400)]).astype(np.float32)
    with pytest.warns(UserWarning, match="too thin for a gate in float32"):
        patterns = enumerate_patterns(X)
    assert len(patterns.masks) == 2 * lines_of(X) == 2 * len(np.unique(X[:, 0]))


@pytest.mark.parametrize("offset", [0, 2024, 20240101, 10**13])
def test_counts_with_offsets_are_those_of_rational_numbers(offset):
    X = np.random.default_rng(1).integers(-5, 6, (14, 2)).astype(float)
    X[:, 0] += offset
    X[:, 1] = np.where(X[:, 1] == 0, 1, X[:, 1])
    assert len(enumerate_patterns(X).masks) == 2 * lines_of(X)


def test_one_huge_row_hides_nothing():
    rows = np.random.default_rng(2).standard_normal((6, 3))
    X = np.vstack([[1e20, 1, 1], rows])
    assert len(enumerate_patterns(X).masks) == cj.arrangements.count_bound(7, 3)


def test_dates_keep_every_cell():
    """CASES 1.6, a date beside a bias: 10 of 12 cells were dropped, the scope kept."""
    patterns = enumerate_patterns(DATES)
    cones, kept = make_sign_cones(DATES, *map(np.asarray, patterns_of(patterns)))
    assert len(kept) == 24 and kept.all()
    products = np.asarray(cones.interior) @ DATES.T
    np.testing.assert_array_equal(products > 0, np.asarray(patterns.masks))
    program = cj.programs.make_two_layer(DATES, DAYS, patterns, beta=1e-5)
    assert program.scope is Scope.EXHAUSTIVE and program.shape == (2, 24, 2)
    centre = np.asarray(cones.interior, np.float64)
    inside = np.where(patterns.masks, 1, -1) * (centre @ DATES.T)
    assert np.all(np.min(inside, axis=1) > 0)


def patterns_of(patterns):
    return patterns.masks, patterns.gates


SMALL = np.random.default_rng(5).standard_normal((7, 2)), np.arange(7.0) - 3


def small_program():
    X, y = SMALL
    return cj.programs.make_two_layer(X, y, enumerate_patterns(X), beta=0.1)


def test_scopes_do_not_travel():
    """CASES 1.5: cut patterns, selected blocks and other data stayed EXHAUSTIVE."""
    program = small_program()
    patterns = program.patterns
    assert program.scope is patterns.scope is Scope.EXHAUSTIVE
    cut = patterns.replace(masks=patterns.masks[:2], gates=patterns.gates[:2])
    assert cut.scope is Scope.SAMPLED
    few = cj.programs.make_two_layer(*SMALL, cut, beta=0.1)
    assert few.scope is Scope.SAMPLED
    selected = program.select(np.arange(4), np.ones(4, bool))
    assert selected.scope is Scope.SAMPLED
    assert program.replace(X=program.X + 1).scope is Scope.SAMPLED
    assert program.replace(beta=program.beta / 2).scope is Scope.EXHAUSTIVE


def test_claims_are_counted():
    """CASES 1.5: whoever insists on a claim is not believed, by programs or certify."""
    program = small_program()
    solution = cj.solve(program, FEW)
    patterns = program.patterns
    lie = patterns.replace(
        masks=patterns.masks[:2], gates=patterns.gates[:2], scope=Scope.EXHAUSTIVE
    )
    assert cj.programs.make_two_layer(*SMALL, lie, beta=0.1).scope is Scope.SAMPLED
    moved = program.replace(X=program.X + 1, scope=Scope.EXHAUSTIVE)
    assert moved.verified_scope() is Scope.SAMPLED
    assert cj.certify(program, solution).scope is Scope.EXHAUSTIVE
    claimed = jax.tree.map(lambda x: x, moved)
    assert cj.certify(claimed, solution, scope=Scope.SAMPLED).scope is Scope.SAMPLED
    assert moved.verified().scope is Scope.SAMPLED


def test_scopes_that_nothing_verified():
    """A gated solution's claim made `certify` raise; `loop.run` repeated a claim."""
    X, y = SMALL
    patterns = enumerate_patterns(X)
    few = patterns.replace(masks=patterns.masks[:3], gates=patterns.gates[:3])
    gated = cj.programs.make_two_layer(X, y, few, beta=0.1, gated=True)
    solution = cj.solve(gated, FEW).replace(scope=Scope.EXHAUSTIVE)
    assert cj.certify(gated, solution).scope is Scope.SAMPLED
    program = cj.programs.make_two_layer(X, y, patterns, beta=0.1, gated=True)
    other = jnp.asarray(np.random.default_rng(0).standard_normal(X.shape))
    moved = jax.tree.map(lambda x: other if x.shape == X.shape else x, program)
    assert moved.scope is Scope.EXHAUSTIVE
    run = cj.solvers.loop.run
    assert run(FEW, moved).scope is Scope.SAMPLED
    assert run(FEW, program).scope is Scope.EXHAUSTIVE
    assert jax.jit(run)(FEW, program).scope is Scope.SAMPLED


@pytest.mark.parametrize("kind", ["sum_pool", "max_pool", "circular_relu"])
def test_claims_of_convolutional_programs_are_counted(kind):
    rng = np.random.default_rng(6)
    inputs = rng.standard_normal((3, 2) if kind == "circular_relu" else (3, 2, 2))
    make = lambda x: cj.programs.make_convolutional(x, [1, 2, 3], beta=0.1, kind=kind)  # noqa: E731
    program = make(inputs)
    assert program.verified_scope() is Scope.EXHAUSTIVE
    moved = program.replace(X=make(inputs + 1).X, scope=Scope.EXHAUSTIVE)
    assert moved.verified_scope() is Scope.SAMPLED


def test_one_decision_of_rank():
    """CASES 1.4: a row of size 1e16; the sweep called rank two one, and bounds lied."""
    X, y = np.array([[1e16, 0], [-1, 1]]), np.array([0.0, 5.0])
    program = cj.programs.make_two_layer(X, y, enumerate_patterns(X), beta=1.0)
    w = np.zeros(program.shape)
    active = np.flatnonzero(np.all(np.asarray(program.masks) == [True, True], axis=1))
    w[0, active[0]] = [0.0, 4.0]  # costs 1/2 (5 - 4)^2 + 4
    solution = cj.solve(program, FEW)
    better = solution.replace(params=jax.numpy.asarray(w))
    certificate = cj.certify(program, better, scope=Scope.GLOBAL_BOUND)
    assert certificate.scope is Scope.EXHAUSTIVE
    assert_allclose(certificate.primal, 4.5)
    assert certificate.dual <= 3.2855339 * (1 + 1e-6)  # attained by another network


ODD = {
    "columns equal to 1e-14": [
        [-0.029318428992990947, -0.029318428992991297],
        [-0.029318196020842957, -0.029318196020843047],
    ],
    "an entry below the least normal float": [[5e-324, 1.0], [1, 2], [-1, 1]],
    "offsets of 1e15": np.column_stack([1e15 + DAYS[:3], np.ones(3)]),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_but_legal_data(name):
    """CASES 2.8: "not enough values to unpack", "SVD did not converge"."""
    X = np.asarray(ODD[name])
    program = cj.programs.make_two_layer(
        X, np.arange(len(X)), enumerate_patterns(X), beta=1e-3, gated=True
    )
    solution = cj.solve(program, cj.solvers.Fista(max_iters=2))
    certificate = cj.certify(program, solution)
    assert certificate.scope is Scope.EXHAUSTIVE
    assert certificate.dual <= certificate.primal


@pytest.mark.parametrize("size", [1e200, 1e-200])
def test_squares_that_over_or_underflow(size):
    """CASES 1.14 and 2.8: enumerated, and solved in units of order one."""
    X = np.random.default_rng(3).standard_normal((6, 3)) * size
    patterns = enumerate_patterns(X)
    assert len(patterns.masks) == cj.arrangements.count_bound(6, 3)
    program = cj.programs.make_two_layer(X, np.ones(6), patterns, beta=1.0)
    program = program.replace(beta=jnp.asarray(0.1 * program.beta_max()))
    assert cj.certify(program, cj.solve(program)).gap <= 1e-6


@pytest.mark.parametrize("family", ["relu", "gated", "batch_norm", "sum_pool"])
def test_selected_blocks_are_certified_and_recovered(family):
    """CASES 1.5: `certify` and `recover` took every program to have both signs."""
    X, y = SMALL
    if family == "batch_norm":
        program = cj.programs.make_batch_norm(X, y, beta=0.1)
    elif family == "sum_pool":
        patches = np.stack([X, X[:, ::-1]], axis=1)
        program = cj.programs.make_convolutional(patches, y, kind="sum_pool", beta=0.01)
    else:
        patterns = enumerate_patterns(X)
        gated = family == "gated"
        program = cj.programs.make_two_layer(X, y, patterns, beta=0.1, gated=gated)
    blocks = np.append(np.arange(0, 2 * program.shape[1], 3), 0)
    few = program.select(blocks, np.arange(len(blocks)) < len(blocks) - 1)
    solution = cj.solve(few, cj.solvers.InteriorPoint()).check()
    certificate = cj.certify(few, solution, scope=Scope.SAMPLED)
    assert certificate.gap <= 1e-8
    assert certificate.scope is Scope.SAMPLED
    network = few.network().apply(few.recover(solution.params), few.inputs)
    want = np.asarray(few.forward(solution.params))
    assert np.any(want < 0)
    assert np.any(want > 0)
    np.testing.assert_allclose(np.asarray(network).reshape(-1), want, atol=1e-8)
