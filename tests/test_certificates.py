"""The certificate against CVXPY, for honest points and for lies."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.bounds.multiples import scaled_dual
from cvxjax.verdicts import relative_gap
from tests import instances

NAMES = [
    "two_layer/squared",
    "two_layer/hinge",
    "two_layer/interpolation",
    "two_layer/hard_margin",
    "two_layer/gated/logistic",
]
SLACK = 1e-8


def solved(name):
    program = instances.program_of(name)
    return program, instances.solution_of(name, "Admm"), instances.optimum_of(name)


def assert_rigorous(program, solution, optimum):
    certificate = cj.certify(program, solution)
    slack = SLACK * max(1, abs(optimum))
    assert certificate.dual <= optimum + slack
    assert not certificate.primal < optimum - slack
    assert certificate.gap >= -SLACK
    return certificate


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(4))
def test_points_near_and_far_bound_the_optimum(name, seed):
    """Perturbed solutions, in and out of the cones, at five sizes of noise."""
    program, solution, optimum = solved(name)
    rng = np.random.default_rng(seed)
    for size in (1e-12, 1e-6, 1e-3, 0.1, 10.0):
        noise = [size * rng.standard_normal(program.shape) for _ in range(2)]
        multipliers = solution.multipliers
        if multipliers is not None:
            multipliers = multipliers + size * rng.standard_normal(multipliers.shape)
        near = solution.replace(
            params=solution.params + noise[0],
            dual=solution.dual + size * rng.standard_normal(solution.dual.shape),
            multipliers=multipliers,
        )
        assert_rigorous(program, near, optimum)


def test_primal_value_is_attained_by_a_feasible_point():
    """Infeasible parameters are judged where they were repaired, not as they came."""
    name = "two_layer/squared"
    program, solution, optimum = solved(name)
    lie = solution.replace(
        params=instances.solution_of("two_layer/gated/squared", "Fista").params
    )
    assert program.objective(lie.params) < optimum - 0.1
    certificate = assert_rigorous(program, lie, optimum)
    assert certificate.cone_violation > 0.01
    fixed = program.judge().repair(np.asarray(lie.params), keep_predictions=False)
    assert instances.reference_of(name).violation(program, fixed) <= 1e-14
    assert_allclose(certificate.primal, program.objective(jnp.asarray(fixed)))


LIES = {
    "objective": {"objective": -1e9, "dual_bound": 1e9, "gap": 0.0},
    "status": {"status": int(cj.Status.CONVERGED)},
    "negative multipliers": {"multipliers": lambda m: m - 1},
    "huge multipliers": {"multipliers": lambda m: 1e12 * (m + 1)},
    "no multipliers": {"multipliers": lambda m: None},
    "NaN in the multipliers": {
        "multipliers": lambda m: m.at[0].set(jnp.nan),
        "dual": lambda v: 1.2 * v,
    },
    "infinite multipliers": {
        "multipliers": lambda m: m.at[0].set(jnp.inf),
        "dual": lambda v: 1.2 * v,
    },
    "reversed dual": {"dual": lambda v: -v},
    "huge dual": {"dual": lambda v: 1e9 * v},
    "zero dual": {"dual": lambda v: 0 * v},
    "NaN in the dual": {"dual": lambda v: v.at[0].set(jnp.nan)},
    "infinite dual": {"dual": lambda v: v.at[0].set(jnp.inf)},
    "NaN in the parameters": {"params": lambda w: w.at[0, 0, 0].set(jnp.nan)},
    "infinite parameters": {"params": lambda w: w.at[0, 0, 0].set(jnp.inf)},
    "tiny parameters": {"params": lambda w: 1e-300 * w},
    "shrunk parameters": {"params": lambda w: 0.5 * w},
}


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", NAMES[:3])
def test_a_lying_solver_gets_a_rigorous_certificate(name, lie):
    program, solution, optimum = solved(name)
    changes = {
        field: change(getattr(solution, field)) if callable(change) else change
        for field, change in LIES[lie].items()
    }
    certificate = assert_rigorous(program, solution.replace(**changes), optimum)
    if "parameters" in lie and lie[0] in "NI":
        assert certificate.gap == np.inf


@pytest.mark.parametrize("name", NAMES)
def test_dual_without_multipliers_is_as_good(name):
    """NNLS finds multipliers of its own for the blocks that matter."""
    program, solution, optimum = solved(name)
    want = cj.certify(program, solution)
    got = cj.certify(program, solution.replace(multipliers=None))
    assert_allclose(got.dual, want.dual, rtol=1e-7)


def test_hard_margin_is_met_by_scaling():
    program, solution, optimum = solved("two_layer/hard_margin")
    half = solution.replace(params=solution.params / 2)
    certificate = assert_rigorous(program, half, optimum)
    assert certificate.gap <= 1e-6
    wrong = solution.replace(params=-solution.params)
    assert cj.certify(program, wrong).primal == np.inf


def test_scope_is_that_of_the_program():
    for name in ("two_layer/squared", "two_layer/sampled"):
        program, solution, optimum = solved(name)
        certificate = cj.certify(program, solution)
        assert certificate.scope is program.scope is solution.scope
        assert certificate.scope.networks in str(certificate)
    assert program.scope is cj.Scope.SAMPLED
    assert optimum > instances.optimum_of("two_layer/squared") + 1e-3


def test_sampled_bound_does_not_bound_all_networks():
    """Why scopes matter: the sampled optimum's own bound exceeds the true optimum."""
    program, solution, _ = solved("two_layer/sampled")
    certificate = cj.certify(program, solution)
    assert certificate.dual > instances.optimum_of("two_layer/squared") + 1e-3


def test_printed_certificate_names_its_numbers():
    program, solution, _ = solved("two_layer/squared")
    text = str(cj.certify(program, solution))
    for part in ("objective 1.33076", "lower bound 1.33076", "exhaustive: optimal"):
        assert part in text


def test_relative_gap():
    assert relative_gap(0.5, 0.25, 0.0) == 0.5
    assert relative_gap(8.0, 6.0, 1.0) == 0.25
    assert relative_gap(-8.0, -10.0, 1.0) == 0.25
    assert relative_gap(0.5, 0.25, 10.0) == 0.025
    assert relative_gap(0.0, 0.0, 0.0) == 0
    assert relative_gap(0.0, -1.0, 0.0) == np.inf
    for bad in (np.inf, np.nan):
        assert relative_gap(bad, 0.0, 1.0) == relative_gap(0.0, -bad, 1.0) == np.inf


def test_scaled_dual_is_the_best_scale_for_the_squared_loss():
    """max over t in [0, beta / bound] of t v^T y - t^2 ||v||^2 / 2, on a grid."""
    y, loss = np.array([1.0, -2.0, 0.5]), cj.losses.squared()
    for v, beta, bound in (
        (y, 0.5, 1.0),
        (y, 5.0, 1.0),
        (2 * y, 5.0, 1.0),
        (0.1 * y, 3.0, 1.0),
        (y + 0.3, 0.2, 4.0),
    ):
        grid = np.linspace(0, beta / bound, 20_001)
        want = np.max(grid * (v @ y) - grid**2 * (v @ v) / 2)
        got, t = scaled_dual(loss, v, y, beta, bound)
        assert t <= beta / bound
        assert got <= want + 1e-12
        assert_allclose(got, want, rtol=1e-6)
