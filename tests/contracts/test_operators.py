"""Each program's maps against dense matrices, and its two readings of itself."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from tests import instances


@pytest.fixture(params=instances.LINEAR)
def program(request):
    return instances.program_of(request.param)


@pytest.fixture
def reference(request, program):
    return instances.reference_of(request.node.callspec.params["program"])


def draw(program, seed=0):
    """Random parameters and a random vector of predictions."""
    rng = np.random.default_rng(seed)
    w = rng.standard_normal(program.shape)
    return w, rng.standard_normal(program.y.shape)


def test_forward_is_its_matrix(program, reference):
    w, _ = draw(program)
    want = reference.matrix(program) @ w.ravel()
    got = program.forward(jnp.asarray(w)).ravel()
    assert_allclose(got, want, rtol=1e-12, atol=1e-13)


def test_adjoint_is_the_transpose(program, reference):
    w, r = draw(program)
    got = program.adjoint(jnp.asarray(r))
    want = reference.matrix(program).T @ r.ravel()
    assert_allclose(got.ravel(), want, rtol=1e-12, atol=1e-13)
    left = jnp.vdot(program.forward(jnp.asarray(w)), r)
    assert_allclose(left, jnp.vdot(w, got), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("program", instances.BLOCKS, indirect=True)
def test_response_is_dense(program, reference):
    """F C F^T for C block diagonal with weights_b times one symmetric matrix.

    With several outputs it is the same for each, and there is nothing between them.
    """
    rng = np.random.default_rng(1)
    d = program.shape[-1]
    weights = rng.random(program.shape[:2])
    outputs = np.eye(program.y.size // len(program.y))
    inner = rng.standard_normal((d, d))
    inner = inner + inner.T
    F = reference.matrix(program)
    each = np.kron(outputs, inner)
    want = F @ np.kron(np.diag(weights.ravel()), each) @ F.T
    got = program.response(jnp.asarray(weights), jnp.asarray(inner))
    assert_allclose(np.kron(got, outputs), want, rtol=1e-11, atol=1e-12)


def test_objective_is_loss_and_penalty(program, reference):
    w, _ = draw(program)
    w[0, 0] = 0
    z = (reference.matrix(program) @ w.ravel()).reshape(program.y.shape)
    penalty = reference.penalty(program, w)
    assert_allclose(program.penalty(jnp.asarray(w)), penalty, rtol=1e-12)
    want = float(program.loss.value(z, np.asarray(program.y)))
    want += float(program.beta) * penalty
    assert_allclose(program.objective(jnp.asarray(w)), want, rtol=1e-12)


def test_judge_agrees_with_the_program(program, reference):
    w, _ = draw(program)
    judge = program.judge()
    predictions = judge.predict(w)
    assert isinstance(predictions, np.ndarray) and predictions.dtype == np.float64
    forward = program.forward(jnp.asarray(w))
    assert_allclose(predictions, forward, rtol=1e-12, atol=1e-13)
    assert_allclose(judge.penalty(w), program.penalty(jnp.asarray(w)), rtol=1e-13)
    assert_allclose(judge.violation(w), reference.violation(program, w), rtol=1e-12)


@pytest.mark.parametrize("program", instances.BLOCKS, indirect=True)
def test_judge_repairs(program, reference):
    """Into the cones; predictions stay where that is asked for; feasible stays."""
    w, _ = draw(program)
    w[0, 0] = 0
    judge = program.judge()
    for keep in (False, True):
        fixed = judge.repair(w, keep_predictions=keep)
        assert reference.violation(program, fixed) <= 1e-14
        again = judge.repair(fixed, keep_predictions=keep)
        assert_allclose(again, fixed, rtol=1e-12, atol=1e-12)
        if keep:
            assert_allclose(judge.predict(fixed), judge.predict(w), atol=1e-11)
        else:
            assert np.all(fixed[0, 0] == 0)


@pytest.mark.parametrize("program", instances.BLOCKS, indirect=True)
def test_cones_violation_is_zero_inside_only(program, reference):
    w, _ = draw(program)
    inside = program.judge().repair(w, keep_predictions=False)
    outside = reference.violation(program, w) > 0
    if program.cones is None:
        assert not outside
        assert inside is w
    else:
        assert program.cones.violation(jnp.asarray(inside)) <= 1e-14
        assert (program.cones.violation(jnp.asarray(w)) > 0) == outside


def test_maps_under_vmap(program):
    w, r = draw(program)
    ws = jnp.stack([w, 2 * w, -w])
    forward = jax.vmap(program.forward)(ws)
    want = jnp.stack([program.forward(w) for w in ws])
    assert_allclose(forward, want, rtol=1e-12, atol=1e-13)


def test_structures_tell_programs_apart():
    """`jit` looks up compiled code by tree structure: no two kinds may share one."""
    structures = {}
    for name in instances.PROGRAMS:
        program = instances.program_of(name)
        kind = (type(program), type(program.loss), program.cones is None, program.scope)
        structures.setdefault(kind, jax.tree.structure(program))
    kinds = list(structures)
    same = [
        (a, b)
        for i, a in enumerate(kinds)
        for b in kinds[:i]
        if structures[a] == structures[b]
    ]
    assert same == []


def test_structures_tell_solvers_apart():
    solvers = [case.solver for case in instances.SOLVERS.values()]
    for i, a in enumerate(solvers):
        for b in solvers[:i]:
            assert jax.tree.structure(a) != jax.tree.structure(b), (a, b)
