"""Sign cones against their definition, NNLS projections, and linear programs."""

import chex
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.terms.cones import make_sign_cones
from tests import instances
from tests.references import project_cone


def make(X):
    patterns = cj.arrangements.enumerate_patterns(X)
    masks, gates = np.asarray(patterns.masks), np.asarray(patterns.gates)
    cones, kept = make_sign_cones(X, masks, gates)
    assert kept.all()
    return cones


def matrices(X, cones):
    """(2 D_i - I) X for every cone, [P, n, d], without the scaling of rows."""
    return np.where(np.asarray(cones.masks)[..., None], X, -X)


def zero_row(X):
    X = X.copy()
    X[2] = 0
    return X


X = instances.draw_data(8, 2)[0]
DATA = {
    "plane": X,
    "zero row": zero_row(X),
    "duplicate rows": instances.duplicate_rows(),
    "rank two": instances.rank_two(),
    "line": instances.draw_data(5, 1)[0],
    "uneven rows": X * np.logspace(-4, 4, 8)[:, None],
}


@pytest.fixture(params=DATA)
def data(request):
    X = DATA[request.param]
    return X, make(X)


def test_apply_is_its_matrix_with_unit_rows(data):
    X, cones = data
    A = matrices(X, cones)
    lengths = np.linalg.norm(X, axis=1)
    w = np.random.default_rng(0).standard_normal((2, *A.shape[::2]))
    want = np.einsum("pnd,spd->spn", A, w) / np.where(lengths > 0, lengths, 1)
    assert_allclose(cones.apply(jnp.asarray(w)), want, rtol=1e-12, atol=1e-14)
    assert_allclose(cones.lengths, np.where(lengths > 0, lengths, 1), rtol=1e-14)


def test_adjoint_is_the_transpose(data):
    X, cones = data
    rng = np.random.default_rng(1)
    P, n, d = matrices(X, cones).shape
    w, s = rng.standard_normal((2, P, d)), rng.standard_normal((2, P, n))
    left = np.vdot(cones.apply(jnp.asarray(w)), s)
    assert_allclose(left, np.vdot(w, cones.adjoint(jnp.asarray(s))), rtol=1e-12)


def test_gram_is_the_same_for_every_cone(data):
    X, cones = data
    lengths = np.linalg.norm(X, axis=1)
    A = matrices(X, cones) / np.where(lengths > 0, lengths, 1)[:, None]
    gram = np.einsum("pnd,pne->pde", A, A)
    want = np.broadcast_to(cones.gram(), gram.shape)
    assert_allclose(gram, want, rtol=1e-12, atol=1e-13)


def test_projection_is_that_of_nnls(data):
    X, cones = data
    A = matrices(X, cones)
    rng = np.random.default_rng(2)
    w = rng.standard_normal((2, len(A), X.shape[1]))
    start = jnp.zeros((2, *A.shape[:2]))
    got, multipliers = cones.project(jnp.asarray(w), start, 3000)
    lengths = np.where(np.any(X != 0, axis=1), np.linalg.norm(X, axis=1), 1)
    A = A / lengths[:, None]
    want = np.array(
        [[project_cone(a, w[s, i]) for i, a in enumerate(A)] for s in (0, 1)]
    )
    assert_allclose(got, want, atol=1e-8)
    assert np.all(np.asarray(multipliers) >= 0)
    moved = w + np.asarray(cones.adjoint(multipliers))
    assert_allclose(got, moved, atol=1e-12)


def test_projection_of_a_point_inside_is_itself(data):
    X, cones = data
    w = jnp.stack([cones.interior, 3 * cones.interior])
    start = jnp.zeros(w.shape[:2] + (len(X),))
    got, multipliers = cones.project(w, start, 10)
    chex.assert_trees_all_equal(got, w)
    assert np.all(np.asarray(multipliers) == 0)


def test_interior_points_are_strictly_inside_and_deep(data):
    X, cones = data
    live = np.any(X != 0, axis=1)
    lengths = np.linalg.norm(X, axis=1)
    values = np.einsum("pnd,pd->pn", matrices(X, cones), np.asarray(cones.interior))
    depth = np.min(values[:, live] / lengths[live], axis=1)
    assert np.all(depth > 1e-9)
    assert_allclose(np.linalg.norm(cones.interior, axis=1), 1, rtol=1e-12)
    gates = np.asarray(cj.arrangements.enumerate_patterns(X).gates)
    start = np.einsum("pnd,pd->pn", matrices(X, cones), gates)
    assert np.all(depth >= np.min(start[:, live] / lengths[live], axis=1) - 1e-12)


def test_lift_is_the_least_that_makes_feasible(data):
    X, cones = data
    A, interior = matrices(X, cones), np.asarray(cones.interior)
    w = np.random.default_rng(3).standard_normal((2, len(A), X.shape[1]))
    t = np.asarray(cones.lift(jnp.asarray(w)))[..., None]
    lengths = np.where(np.any(X != 0, axis=1), np.linalg.norm(X, axis=1), 1)[:, None]

    def least(t):
        return np.min(np.einsum("pnd,spd->spn", A / lengths, w + t * interior), axis=-1)

    assert np.all(t >= 0)
    assert np.min(least(t)) >= -1e-12 * np.max(np.abs(w) + t)
    assert np.all(least(0.999 * t)[t[..., 0] > 0] < 0)
    inside = jnp.asarray(w + t * interior * (1 + 1e-12))
    assert np.all(np.asarray(cones.lift(inside)) <= 1e-12 * np.max(t + 1))


def test_a_cone_without_a_point_that_rounding_leaves_inside_lifts_nothing():
    rows = np.array([[1.0, 0.0], [0.0, 1.0]])
    cones, _ = make_sign_cones(rows, np.array([[True, True]]), np.ones((1, 2)))
    cones = cones.replace(interior=jnp.array([[1.0, 0.0]]))  # on the second row's plane
    outside = jnp.array([[[1.0, -1.0]], [[-1.0, 0.0]], [[1.0, -1e-17]]])
    assert np.asarray(cones.lift(outside)).ravel().tolist() == [np.inf, 1, 0]


def test_violation():
    cones = make(DATA["plane"])
    w = jnp.stack([cones.interior, cones.interior])
    assert cones.violation(w) == 0
    assert cones.violation(0 * w) == 0
    assert cones.violation(-w) == 1


def test_gates_on_hyperplanes_keep_their_cells_or_leave():
    """Gate e_2 ties with the first row. Its pattern has that row active: an open cell
    holds it, and the interior point moves there. Gate 0 has every row active, which no
    direction has if two rows are opposite."""
    X = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0], [1.0, 1.0]])
    gates = np.array([[0.0, 1.0], [0.0, 0.0], [1.0, 0.5]])
    masks = X @ gates.T >= 0
    cones, kept = make_sign_cones(X, masks.T, gates)
    assert kept.tolist() == [True, False, True]
    assert_allclose(cones.masks, masks.T[kept])
    values = np.where(cones.masks, 1, -1) * (np.asarray(cones.interior) @ X.T)
    assert np.all(values > 0)


@pytest.mark.parametrize("offset", [0.0, 1e4])
def test_gates_inside_their_cells_are_kept_without_a_search(monkeypatch, offset):
    rng = np.random.default_rng(0)
    X = np.column_stack([rng.standard_normal((12, 2)), np.ones(12)])
    gates = rng.standard_normal((30, 3))
    X[:, 0] += offset  # the same cells, of gates moved along
    gates[:, 2] -= offset * gates[:, 0]
    monkeypatch.setattr("cvxjax.cones.interior_point", lambda *_: None)
    cones, kept = make_sign_cones(X, gates @ X.T > 0, gates)
    assert np.all(kept) and len(cones.masks) == len(gates)


def test_program_warns_of_the_patterns_it_leaves_out():
    X, y = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, -1.0]]), np.ones(3)
    patterns = cj.arrangements.from_gates(X, [[1.0, 1.0], [0.0, 0.0], [1.0, -1.0]])
    with pytest.warns(UserWarning, match="left out 1 of 3 patterns"):
        program = cj.programs.make_two_layer(X, y, patterns, beta=0.1)
    want = np.asarray(patterns.masks)[[0, 2]]
    chex.assert_trees_all_equal(np.asarray(program.masks), want)
    chex.assert_trees_all_equal(program.cones.masks, program.masks)
    chex.assert_trees_all_equal(program.gates, patterns.gates[jnp.asarray([0, 2])])
    gated = cj.programs.make_two_layer(X, y, patterns, beta=0.1, gated=True)
    assert gated.shape == (2, 3, 2)


def test_program_refuses_if_no_cone_has_an_interior():
    X, y = np.array([[1.0, 0.0], [-1.0, 0.0]]), np.ones(2)
    patterns = cj.arrangements.from_gates(X, [[0.0, 1.0]])
    with pytest.raises(ValueError, match="want a pattern whose cone has an interior"):
        cj.programs.make_two_layer(X, y, patterns, beta=0.1)


def test_float32_cones():
    X32 = X.astype(np.float32)
    cones = make(X32)
    for leaf in (cones.rows, cones.lengths, cones.interior):
        assert leaf.dtype == np.float32
    values = np.where(cones.masks, 1, -1) * (np.asarray(cones.interior) @ X32.T)
    assert np.all(values > 0)
