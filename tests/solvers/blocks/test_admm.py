"""One step of ADMM against dense linear algebra, and what its numbers may be."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.terms.regularisers import prox_group
from tests import instances

NAMES = [
    "two_layer/squared",
    "two_layer/logistic",
    "two_layer/interpolation",
    "two_layer/rank two",
    "two_layer/gated/hinge",
]


def cone_matrix(program):
    """A, block diagonal [2 P n, 2 P d], rows scaled to unit length."""
    cones = program.cones
    signed = np.where(np.asarray(cones.masks)[..., None], cones.rows, -cones.rows)
    blocks = np.concatenate([signed, signed])
    A = np.zeros((len(blocks), blocks.shape[1], len(blocks), blocks.shape[2]))
    for b, block in enumerate(blocks):
        A[b, :, b] = block
    return A.reshape(blocks.shape[0] * blocks.shape[1], -1)


def random_state(program, solver):
    """A state in the middle of nowhere, with dual variables of every splitting."""
    rng = np.random.default_rng(0)
    state = solver.init(program, jnp.asarray(rng.standard_normal(program.shape)))
    names = [k for k in ("v", "u_v", "slack", "z", "u_z") if hasattr(state, k)]
    fields = {k: getattr(state, k) for k in names}
    return state.replace(
        **{
            k: jnp.asarray(rng.standard_normal(leaf.shape))
            for k, leaf in fields.items()
            if leaf is not None
        }
    )


@pytest.mark.parametrize("name", NAMES)
def test_w_step_minimises_its_least_squares(name):
    """w of (c F^T F + I + gamma A^T A) w = c F^T t + v - u_v + gamma A^T (s - u_s)."""
    program, solver = instances.program_of(name), cj.solvers.Admm()
    state = random_state(program, solver)
    after = solver.step(program, state)
    F = instances.reference_of(name).matrix(program)
    if program.loss.quadratic:
        c, target = 1 / float(state.rho), np.asarray(program.y)
    else:
        c, target = float(state.rho_z / state.rho), np.asarray(state.z - state.u_z)
    matrix = c * F.T @ F + np.eye(F.shape[1])
    right = c * F.T @ target + np.ravel(state.v - state.u_v)
    if program.cones is not None:
        n, d = program.X.shape
        gamma = min(float(solver.cone_weight) * d / n, 10)
        A = cone_matrix(program)
        matrix += gamma * A.T @ A
        right += gamma * A.T @ np.ravel(state.s - state.u_s)
    want = np.linalg.solve(matrix, right)
    assert_allclose(np.ravel(after.w), want, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_other_steps_are_proximal(name):
    """v is the group prox, s >= 0, z the loss's prox; the duals take the rest."""
    program, solver = instances.program_of(name), cj.solvers.Admm(relaxation=1.0)
    state = random_state(program, solver)
    after = solver.step(program, state)
    given = after.w + state.u_v
    assert_allclose(after.v, prox_group(given, program.beta / state.rho), atol=1e-12)
    assert_allclose(after.v + after.u_v, given, atol=1e-12)
    if program.cones is not None:
        given = program.cones.apply(after.w) + state.u_s
        assert_allclose(after.s, np.maximum(given, 0), atol=1e-12)
        assert_allclose(after.s + after.u_s, given, atol=1e-12)
    if not program.loss.quadratic:
        given = np.asarray(program.forward(after.w) + state.u_z)
        step = 1 / float(state.rho_z)
        z, y = np.asarray(after.z), np.asarray(program.y)
        assert_allclose(z + np.asarray(after.u_z), given, atol=1e-10)
        value = program.loss.value(z, y) + np.sum((z - given) ** 2) / (2 * step)
        rng = np.random.default_rng(1)
        for size in (1e-4, 1e-2, 1.0):
            other = z + size * rng.standard_normal(z.shape)
            cost = np.sum((other - given) ** 2) / (2 * step)
            assert value <= program.loss.value(other, y) + cost


@pytest.mark.parametrize("numbers", [{"rho": 30.0}, {"rho": 0.03}, {"relaxation": 1.0}])
def test_its_numbers_change_the_path_and_not_the_end(numbers):
    name = "two_layer/gated/logistic"
    program, optimum = instances.program_of(name), instances.optimum_of(name)
    base = instances.SOLVERS["Admm"].solver
    solution = cj.solve(program, base.replace(**numbers)).check()
    assert_allclose(solution.objective, optimum, rtol=1e-6)


def test_multipliers_are_those_of_the_unscaled_cones():
    """The returned multipliers bound the blocks in the units of X, without NNLS."""
    name = "two_layer/squared"
    program = instances.program_of(name)
    solution = instances.solution_of(name, "Admm")
    X, masks = np.asarray(program.X), np.asarray(program.masks)
    v, mu = np.asarray(solution.dual), np.asarray(solution.multipliers)
    assert np.all(mu >= 0)
    worst = 0.0
    for sign, side in zip((1, -1), mu, strict=True):
        for mask, m in zip(masks, side, strict=True):
            q = sign * X.T @ (mask * v)
            moved = q + X.T @ np.where(mask, m, -m)
            worst = max(worst, min(np.linalg.norm(moved), np.linalg.norm(q)))
    assert worst <= float(program.beta) * (1 + 1e-9)
    bound = -float(program.loss.conjugate(-v, np.asarray(program.y)))
    assert_allclose(bound, solution.dual_bound, rtol=1e-12)
