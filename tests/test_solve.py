"""Choosing and refusing solvers, warm starts, paths, and bad options."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers import Admm, choice
from cvxjax.solvers.choice import default_solver
from cvxjax.solvers.pairs import semidefinite
from tests import instances
from tests.contracts.test_trees import make_skip

RELU, GATED = "two_layer/squared", "two_layer/gated/squared"


ROWS = {  # why: an instance, and what of the table's limits is changed for it
    "all patterns, one output": ("all, one output", {}),
    "all patterns, several outputs": ("all, two outputs", {}),
    "small pairs of a curved loss": ("polynomial/squared", {}),
    "pairs": ("polynomial/hinge", {}),
    "large pairs": ("polynomial/huber", {"pairs": 1}),
    "neurons of rank four to six": ("rank four", {}),
    "neurons": ("vector_output/relu", {}),
    "gates, a smooth loss, few of them active": (GATED, {"_FEW_SAMPLES": 7}),
    "small, another loss than squared": ("two_layer/hinge", {}),
    "small, badly conditioned data": ("year", {}),
    "large cones, a smooth loss": ("two_layer/logistic", {"_SMALL": 0}),
    "cones, squared loss, few active blocks": (RELU, {}),
    "cones, at most a thousand blocks": (RELU, {"_SPARSE": np.inf}),
    "cones of many blocks": (RELU, {"_SPARSE": np.inf, "_MANY": 31}),
    "blocks": (GATED, {}),
    "trees of arrays": ("skip", {}),
}


def instance(name):
    rng = np.random.default_rng(0)
    if name == "year":
        X = np.column_stack([2000.0 + np.arange(8), np.ones(8)])
        return instances.two_layer(X)
    if name == "rank four":
        X, Y = rng.standard_normal((9, 4)), rng.standard_normal((9, 2))
        patterns = cj.arrangements.from_gates(X, X[:1])
        return cj.programs.make_vector_output(X, Y, patterns, beta=0.1)
    if name == "all, one output":
        X = rng.standard_normal((40, 6))
        return cj.programs.make_two_layer(X, X[:, 0], beta=0.1)
    if name == "all, two outputs":
        X = rng.standard_normal((40, 6))
        return cj.programs.make_vector_output(X, X[:, :2], beta=0.1)
    if name == "skip":
        return make_skip(rng.standard_normal((9, 4)), np.ones(9), beta=0.1)
    return instances.program_of(name)


def test_every_row_of_the_table_is_here():
    assert [row.why for row in choice.TABLE] == list(ROWS)


@pytest.mark.parametrize("why", ROWS)
def test_each_row_is_somebodys_choice(why, monkeypatch):
    name, limits = ROWS[why]
    for limit, value in limits.items():
        if limit == "pairs":
            monkeypatch.setattr(semidefinite, "_MAX_NUMBERS", value)
        else:
            monkeypatch.setattr(choice, limit, value)
    row = next(row for row in choice.TABLE if row.why == why)
    assert repr(default_solver(instance(name))) == repr(row.solver())


def test_gates_of_small_or_dense_programs_are_left_to_others(monkeypatch):
    """Few samples, many active gates, data that ask for other coordinates, no cones."""
    gated = instances.program_of(GATED)
    logistic = instances.program_of("two_layer/gated/logistic")
    assert isinstance(default_solver(gated), Admm)
    assert isinstance(default_solver(logistic), cj.solvers.InteriorPoint)
    monkeypatch.setattr(choice, "_FEW_SAMPLES", 7)
    monkeypatch.setattr(choice, "_TINY", 255)
    newton = cj.solvers.ActiveSetNewton
    assert isinstance(default_solver(logistic), newton)
    dense = gated.replace(beta=0.004 * gated.beta_max() + 0 * gated.beta)
    year = instance("year").replace(cones=None)
    for program in (dense, year, instances.program_of(RELU)):
        assert not isinstance(default_solver(program), newton)


def test_no_dense_matrix_beyond_its_samples(monkeypatch):
    monkeypatch.setattr(choice, "Admm", lambda **o: Admm(dense_samples=7, **o))
    for name in (RELU, GATED, "two_layer/logistic"):  # of 8 samples
        assert choice.Facts(instances.program_of(name)).fits_dense is False
        assert isinstance(default_solver(instances.program_of(name)), Admm)


def test_what_no_row_takes():
    class Bare:
        pass

    with pytest.raises(ValueError, match="of a form that a solver takes; got Bare"):
        default_solver(Bare())


def test_default_tolerance_is_1e_8_in_float64():
    program = instances.program_of(GATED)
    solution = cj.solve(program).check()
    assert solution.gap <= 1e-8
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-8
    assert_allclose(certificate.primal, instances.optimum_of(GATED), rtol=1e-7)


@pytest.mark.parametrize(
    "name, reason",
    [(RELU, "cone constraints"), ("two_layer/gated/hinge", "hinge loss is not smooth")],
)
def test_unfit_solver_is_refused_by_name(name, reason):
    with pytest.raises(ValueError, match=f"Fista cannot take this program: .*{reason}"):
        cj.solve(instances.program_of(name), cj.solvers.Fista())


def test_admm_refuses_a_program_without_structure():
    class Bare:
        pass

    with pytest.raises(
        ValueError, match="Admm cannot take .* not blocks .*response and cones"
    ):
        cj.solve(Bare(), cj.solvers.Admm())


@pytest.mark.parametrize("solver", ["admm", cj.solvers.Admm, 3])
def test_what_is_no_solver(solver):
    with pytest.raises(ValueError, match="want a solver of cvxjax.solvers; got"):
        cj.solve(instances.program_of(GATED), solver)


@pytest.mark.parametrize("solver", [cj.solvers.Admm, cj.solvers.Fista])
@pytest.mark.parametrize(
    "options, message",
    [
        ({"tol": 0.0}, "want tol > 0; got 0.0"),
        ({"tol": -1e-3}, "want tol > 0; got -0.001"),
        ({"tol": float("nan")}, "want tol > 0; got nan"),
        ({"max_iters": 0}, "want max_iters, an integer >= 1; got 0"),
        ({"max_iters": -5}, "want max_iters, an integer >= 1; got -5"),
        ({"max_iters": 10.0}, "want max_iters, an integer >= 1; got 10.0"),
        ({"check_every": 0}, "want check_every, an integer >= 1; got 0"),
    ],
)
def test_bad_options(solver, options, message):
    with pytest.raises(ValueError, match=message):
        cj.solve(instances.program_of(GATED), solver(**options))


@pytest.mark.parametrize(
    "start, message",
    [
        (np.zeros((2, 16)), r"want start \[2, 16, 2\]; got \[2, 16\]"),
        (np.zeros((2, 5, 2)), r"want start \[2, 16, 2\]; got \[2, 5, 2\]"),
        (np.full((2, 16, 2), np.nan), "want a finite start; got NaN or infinity"),
        (np.full((2, 16, 2), np.inf), "want a finite start; got NaN or infinity"),
    ],
)
def test_bad_start(start, message):
    with pytest.raises(ValueError, match=message):
        cj.solve(instances.program_of(RELU), start=start)


@pytest.mark.parametrize("solver", ["Admm", "Fista"])
def test_start_at_the_optimum_is_faster_and_ends_there(solver):
    program = instances.program_of(GATED)
    cold = instances.solution_of(GATED, solver)
    warm = cj.solve(program, instances.SOLVERS[solver].solver, start=cold.params)
    assert warm.check().iterations < cold.iterations
    assert_allclose(warm.objective, cold.objective, rtol=1e-7)


def test_any_start_ends_at_the_optimum():
    program, optimum = instances.program_of(RELU), instances.optimum_of(RELU)
    start = 10 * np.random.default_rng(0).standard_normal(program.shape)
    solution = cj.solve(program, cj.solvers.Admm(tol=1e-7), start=start).check()
    assert_allclose(solution.objective, optimum, rtol=1e-6)
    violation = instances.reference_of(RELU).violation(program, solution.params)
    assert violation <= 1e-12


@pytest.mark.parametrize("name, solver", [(RELU, "Admm"), (GATED, "Fista")])
def test_path_has_the_objectives_of_cold_solves(name, solver):
    program, solver = instances.program_of(name), instances.SOLVERS[solver].solver
    betas = np.array([1.0, 0.5, 0.2, 0.1, 0.05])
    seen = []
    path = cj.solve_path(
        program, betas, solver, report=lambda beta, s: seen.append((beta, s))
    )
    assert [beta for beta, _ in seen] == betas.tolist()
    assert all(a is b for (_, a), b in zip(seen, path, strict=True))
    objectives = [float(s.objective) for s in path]
    assert objectives == sorted(objectives, reverse=True)
    saved = 0
    for beta, warm in zip(betas, path, strict=True):
        at = program.replace(beta=jnp.asarray(beta))
        cold = cj.solve(at, solver).check()
        saved += int(cold.iterations) - int(warm.check().iterations)
        scale = max(1, float(cold.objective))
        assert abs(float(warm.objective - cold.objective)) <= 2e-7 * scale
        assert cj.certify(at, warm).gap <= 1e-6
        optimum = instances.reference_of(name).optimum(at)
        assert abs(float(warm.objective) - optimum) <= 1e-6 * max(1, optimum)
    if isinstance(solver, cj.solvers.Fista):
        assert saved > 0


def test_path_ignores_the_programs_own_beta():
    program = instances.program_of(GATED)
    solver = instances.SOLVERS["Fista"].solver
    (a,) = cj.solve_path(program, [0.3], solver)
    (b,) = cj.solve_path(program.replace(beta=jnp.asarray(9.0)), [0.3], solver)
    assert_allclose(a.params, b.params)


def test_path_goes_on_after_a_beta_where_all_is_zero():
    program = instances.program_of(GATED)
    top = program.beta_max()
    path = cj.solve_path(program, [2 * top, 0.5 * top], cj.solvers.Fista(tol=1e-7))
    assert np.all(np.asarray(path[0].params) == 0)
    assert np.any(np.asarray(path[1].check().params) != 0)


@pytest.mark.parametrize(
    "betas, message",
    [
        ([], r"want betas \[k\], k >= 1; got shape \(0,\)"),
        (0.1, r"want betas \[k\], k >= 1; got shape \(\)"),
        ([[0.1]], r"want betas \[k\], k >= 1; got shape \(1, 1\)"),
        ([0.1, 0.0], "want finite betas > 0; got"),
        ([0.1, -1.0], "want finite betas > 0; got"),
        ([np.nan], "want finite betas > 0; got"),
        ([np.inf], "want finite betas > 0; got"),
    ],
)
def test_bad_betas(betas, message):
    with pytest.raises(ValueError, match=message):
        cj.solve_path(instances.program_of(GATED), betas)


def path_of(name):
    """Gaussian [20, 3], targets of three neurons, 12 sampled patterns; 15 betas."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((20, 3))
    kind, loss = name.split()
    y = np.maximum(X @ rng.standard_normal((3, 3)), 0).sum(axis=1) - 1
    y = y if loss == "squared" else np.sign(y)
    made = instances.loss_of(loss, len(y))
    if kind in ("polynomial", "quantized"):
        program = cj.programs.REGISTRY[kind](X, y, beta=1.0, loss=made)
    else:
        patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=12)
        program = cj.programs.make_two_layer(X, y, patterns, beta=1.0, loss=made)
    return program, program.beta_max() * np.geomspace(0.9, 0.05, 15)


@pytest.mark.parametrize(
    "name, solver, most",
    [
        ("relu squared", None, 0.55),
        ("relu squared", cj.solvers.InteriorPoint(), 0.8),
        ("relu hinge", None, 0.8),
        ("polynomial squared", None, 0.7),
        ("polynomial squared", cj.solvers.Semidefinite(), 0.8),
        ("quantized squared", None, 0.7),
        ("quantized hinge", None, 1.1),  # saves none, but is certified all the same
    ],
)
def test_path_saves_iterations(name, solver, most):
    program, betas = path_of(name)
    path = cj.solve_path(program, betas, solver)
    cold = 0
    for beta, warm in zip(betas, path, strict=True):
        at = program.replace(beta=jnp.asarray(beta))
        assert cj.certify(at, warm.check()).gap <= 1e-8
        cold += int(cj.solve(at, solver).check().iterations)
    saved = sum(int(warm.iterations) for warm in path), cold
    assert saved[0] <= most * saved[1], saved
