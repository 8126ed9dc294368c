"""Data as people have it: offsets, prices, kinks of losses, single precision.

From public bug reports of neighbouring projects and files as new users bring them.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from tests.cases.test_found_by_fuzzing import NEARLY_PARALLEL


def solved(program, tol):
    solution = cj.solve(program)
    certificate = cj.certify(program, solution)
    assert certificate.gap <= tol
    assert certificate.cone_violation <= 1e-6
    return certificate.primal


@pytest.mark.parametrize(
    ("offset", "want"), [(1e3, 0.01999976), (1e4, 0.1950475), (1e5, 1.500025)]
)
def test_a_year_beside_a_bias(offset, want):
    """A column c + t beside ones stalled at the zero network, 8.75, from c = 1e4 on.

    Rounding of a price is there up to 100 times beta, and the bound is summed exactly.
    """
    X = np.column_stack([offset + np.arange(6.0), np.ones(6)])
    y = np.abs(np.arange(6.0) - 2.5)
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, y, patterns, beta=1e-5)
    assert solved(program, 1e-8) == pytest.approx(want, rel=1e-6)
    assert cj.Status(int(cj.solve(program).status)) is cj.Status.CONVERGED


def twelve_samples():
    rng = np.random.default_rng(3)
    X = np.column_stack([rng.normal(size=(12, 2)), np.ones(12)])
    y = np.sign(np.sign(rng.normal(size=12)) + 0.3 * rng.normal(size=12))
    return X, y, cj.arrangements.enumerate_patterns(X)


def test_hinge_near_its_largest_beta():
    """20,000 steps ended at 11.99046."""
    X, y, patterns = twelve_samples()
    loss = cj.losses.hinge()
    make = lambda beta: cj.programs.make_two_layer(  # noqa: E731
        X, y, patterns, beta=beta, loss=loss
    )
    program = make(0.99 * make(1.0).beta_max())
    assert solved(program, 1e-8) == pytest.approx(11.9798228, rel=1e-7)
    assert cj.Status(int(cj.solve(program).status)) is cj.Status.CONVERGED


LOSSES = ["squared", "squared_hinge", "logistic", "huber", "hinge", "hard_margin"]


@pytest.mark.parametrize("loss", [*LOSSES, "interpolation", "pinball"])
def test_columns_of_any_size_and_offset(loss):
    """Stopped far above the optimum, hinge losses at the zero network.

    At columns times 1e3 and 1e6 steps from a small residual were as short as the cones'
    walls let them; beside an offset of 4e5 the bound was lost in the rounding of large
    multipliers; a hard margin started 1e6 times too far out.
    """
    rng = np.random.default_rng(3)
    plain = np.column_stack([rng.normal(size=(10, 2)), np.ones(10)])
    y = np.sign(rng.normal(size=10))
    named = cj.losses.pinball(0.3) if loss == "pinball" else loss
    years = np.column_stack([20240101 + np.arange(10), plain[:, 1:]])
    for X, tol in (
        (plain * [1, 1e3, 1], 1e-8),
        (plain * [1, 1e6, 1], 1e-8),
        (plain * [1e-6, 1e6, 1], 1e-7),
        (plain + [4e5, 50, 0], 1e-5),
        (years, 1e-4),
    ):
        program = cj.programs.make_two_layer(
            X, y, cj.arrangements.enumerate_patterns(X), beta=0.1, loss=named
        )
        solved(program, tol)


@pytest.mark.parametrize("loss", ["huber", "squared_hinge", "logistic", "hinge"])
def test_one_large_constant_column(loss):
    """Ended in a LinAlgError, which is a ValueError, as if the input were wrong."""
    X = np.array([[0.5, 1e8], [-1, 1e8], [2, 1e8], [0.1, 1e8]])
    y = np.array([1.0, -1, -1, 1])
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, y, patterns, beta=0.7, loss=loss)
    solved(program, 3e-6)


def test_years_and_prices_in_single_precision():
    """The default stalled at gaps of 1e-4 to 5e-3."""
    rng = np.random.default_rng(0)
    X = np.column_stack(
        [2000 + np.arange(30.0), 1e5 * rng.uniform(1, 3, 30), np.ones(30)]
    ).astype(np.float32)
    y = (1e3 * rng.normal(size=30)).astype(np.float32)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=20)
    program = cj.programs.make_two_layer(X, y, patterns, beta=1.0)
    program = program.replace(beta=jnp.float32(0.1 * program.beta_max()))
    solved(program, 1e-4)
    assert cj.solve(program).params.dtype == jnp.float32


def test_gated_in_single_precision():
    """The default stalled where Fista certified 1e-4."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(30, 10)).astype(np.float32)
    y = rng.normal(size=30).astype(np.float32)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=25)
    program = cj.programs.make_two_layer(X, y, patterns, beta=0.1, gated=True)
    solved(program, 1e-4)


@pytest.mark.parametrize("kind", ["gated", "margin", "parallel"])
def test_another_solver_is_tried_where_the_default_fails(kind):
    """CASES 1.15 and others: zero, or 6e7 times the optimum, where Admm had it."""
    rng = np.random.default_rng(5)
    if kind == "gated":
        X, y = (
            np.column_stack([rng.normal(size=8), 1e8 * np.ones(8)]),
            rng.normal(size=8),
        )
        options = {"beta": 0.01, "gated": True}
    elif kind == "margin":
        X, y = np.array([[1.0], [1e-9]]), np.ones(2)
        options = {"beta": 1.0, "loss": "hard_margin"}
    else:
        X, y = NEARLY_PARALLEL
        options = {"beta": 1e-10, "loss": "hinge"}
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, y, patterns, **options)
    solution = cj.solve(program)
    assert float(solution.gap) <= 1e-7
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-7
    if kind == "margin":
        assert abs(certificate.primal - 1e9) <= 1.0
