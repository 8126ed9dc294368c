"""What only the polish promises: gaps of 1e-9, from rough and from wrong starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.optimize import nnls

import cvxjax as cj
from cvxjax.solvers import (
    Admm,
    ColumnGeneration,
    InteriorPoint,
    SemismoothNewton,
    WorkingSet,
)
from cvxjax.solvers.blocks.faces import HostBlocks
from cvxjax.watch import Watch
from tests import instances


def planted(n, d, P, *, loss="squared", beta=1.0, gated=False, X=None):
    rng = np.random.default_rng(0)
    X = rng.standard_normal((n, d)) if X is None else X
    y = np.maximum(X @ rng.standard_normal((d, 3)), 0) @ rng.standard_normal(3)
    y = y + 0.1 * rng.standard_normal(n)
    if loss not in instances.REAL_LABELS:
        y = np.where(y > np.median(y), 1.0, -1.0)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=P)
    loss = getattr(cj.losses, loss)()
    return cj.programs.make_two_layer(X, y, patterns, beta=beta, loss=loss, gated=gated)


def judged(program, solver, start=None):
    solution = cj.solve(program, solver, start=start).check()
    certificate = cj.certify(program, solution)
    assert certificate.cone_violation <= 1e-14
    assert_allclose(solution.objective, certificate.primal, rtol=1e-12)
    return solution, certificate


@pytest.fixture(scope="module")
def program():
    """120 blocks, of which few are active, most of them on rays of their cones."""
    return planted(80, 6, 60)


@pytest.fixture(scope="module")
def precise(program):
    return cj.solve(program, InteriorPoint(tol=1e-10)).check()


@pytest.mark.parametrize("inner", [InteriorPoint(tol=1e-4), Admm(tol=1e-4)])
def test_a_rough_solution_becomes_precise(program, precise, inner):
    rough = cj.solve(program, inner).check()
    assert rough.gap > 1e-6
    solution, certificate = judged(program, SemismoothNewton(tol=1e-9, inner=inner))
    assert certificate.gap <= 1e-9
    assert_allclose(certificate.primal, precise.objective, rtol=1e-9)
    assert_allclose(solution.params, precise.params, atol=1e-4)
    steps = int(solution.iterations) - int(rough.iterations)
    assert 0 < steps <= 40
    assert_allclose(solution.history.gap[0], rough.gap, rtol=1e-9)


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_wrong_starts_converge(loss):
    """From nothing, from one wrong block, from every block, and from far outside."""
    program = planted(60, 4, 30, loss=loss)
    inner = program.cones.interior
    far = 1e3 * np.random.default_rng(1).standard_normal(program.shape)
    starts = (
        jnp.zeros(program.shape),
        jnp.zeros(program.shape).at[1, 3].set(5 * inner[3]),
        jnp.stack([inner, inner]),
        jnp.asarray(far),
    )
    values = []
    for start in starts:
        solution, certificate = judged(program, SemismoothNewton(tol=1e-9), start)
        assert certificate.gap <= 1e-9
        assert np.all(np.diff(solution.history.gap) <= 0)
        values.append(certificate.primal)
    assert_allclose(values, values[0], rtol=2e-9)


def test_many_optima():
    """Few samples, duplicate and almost parallel rows, more blocks than samples."""
    X = np.random.default_rng(2).standard_normal((12, 3))
    X[4:8] = X[:4] + 1e-9 * X[8:12]
    X[8:10] = -2 * X[:2]
    for loss in ("squared", "squared_hinge"):
        program = planted(12, 3, 25, loss=loss, beta=0.01, X=X)
        start = jnp.zeros(program.shape)
        solution, certificate = judged(program, SemismoothNewton(tol=1e-9), start)
        assert certificate.gap <= 1e-9
        active = np.any(np.asarray(solution.params) != 0, axis=-1)
        assert loss == "squared_hinge" or np.sum(active) > 0


def test_never_worse_than_the_inner_solution(program):
    inner = Admm(tol=1e-4)
    rough = cj.solve(program, inner)
    solution = cj.solve(program, SemismoothNewton(max_iters=1, inner=inner))
    assert solution.status == cj.Status.MAX_ITERATIONS
    assert len(solution.history.gap) == 2
    assert solution.objective <= rough.objective
    assert solution.dual_bound >= rough.dual_bound - 1e-12
    assert cj.certify(program, solution).gap <= solution.gap + 1e-12


def test_ends_honestly_where_rounding_does(program):
    solution = cj.solve(program, SemismoothNewton(tol=1e-18, max_iters=100))
    assert solution.status == cj.Status.STALLED
    assert solution.gap <= 2e-12  # 6e-14 without the terms for what rounding may hide


def test_around_a_host_solver():
    program = planted(40, 3, 15)
    _, certificate = judged(
        program, SemismoothNewton(tol=1e-9, inner=WorkingSet(tol=1e-3, inner=Admm()))
    )
    assert certificate.gap <= 1e-9


def test_of_selected_blocks(program, precise):
    active = np.flatnonzero(np.any(np.asarray(precise.params) != 0, axis=-1))
    live = jnp.arange(len(active) + 4) < len(active)
    part = program.select(jnp.asarray([*active, 0, 0, 0, 0]), live)
    start = jnp.broadcast_to(part.cones.interior, part.shape)
    solution = SemismoothNewton(tol=1e-9).run(part, start, Watch()).check()
    assert_allclose(solution.objective, precise.objective, rtol=1e-9)


def test_reports_rounds(program):
    lines = []
    solution = cj.solve(
        program, SemismoothNewton(tol=1e-9), report=lambda *line: lines.append(line)
    )
    assert len({line[0] for line in lines}) == len(solution.history.gap)
    assert lines[-1][0] == int(solution.iterations)


def test_projection_is_that_of_nnls(program):
    """Of points anywhere, near a face, and on the last face: x + A^T mu."""
    blocks, rng = HostBlocks(program), np.random.default_rng(3)
    for block in range(0, 120, 7):
        signed = np.asarray(program.cones.rows)
        mask = np.asarray(program.masks)[block % 60]
        signed = np.where(mask[:, None], signed, -signed)
        x = rng.standard_normal(6)
        point, mu = blocks.project(block, x)
        want = x + signed.T @ nnls(signed.T, -x)[0]
        assert_allclose(point, want, atol=1e-12)
        again, _ = blocks.project(block, point + 1e-3 * (x - point))
        assert_allclose(again, point, atol=1e-12)
        for given, got in ((x, mu), (point, blocks.project(block, point)[1])):
            assert np.all(got >= 0)
            assert_allclose(given + signed.T @ got, point, atol=1e-12)


def test_refuses():
    with pytest.raises(ValueError, match="the hinge loss is not smooth"):
        cj.solve(instances.program_of("two_layer/hinge"), SemismoothNewton(tol=1e-9))
    with pytest.raises(ValueError, match="the interpolation loss is not smooth"):
        cj.solve(
            instances.program_of("two_layer/interpolation"), SemismoothNewton(tol=1e-9)
        )
    program = instances.two_layer(dtype=np.float32)
    with pytest.raises(ValueError, match="float32"):
        cj.solve(program, SemismoothNewton(tol=1e-9))
    program = instances.program_of("two_layer/squared")
    with pytest.raises(ValueError, match="leaves the program's patterns"):
        cj.solve(program, SemismoothNewton(tol=1e-9, inner=ColumnGeneration()))
    with pytest.raises(ValueError, match="Fista|cones"):
        cj.solve(program, SemismoothNewton(tol=1e-9, inner=cj.solvers.Fista()))
