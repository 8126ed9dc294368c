"""Gated networks by Newton's method over active gates: gaps, starts, units, prices."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers import ActiveSetNewton
from cvxjax.solvers.blocks import gate_products
from cvxjax.solvers.blocks.gate_products import gate_prices
from cvxjax.solvers.host_bounds import HostBounds
from cvxjax.watch import Watch
from tests import instances
from tests.solvers.blocks.test_semismooth_newton import judged, planted


@pytest.mark.parametrize(
    "loss, share",
    [("squared", 0.1), ("squared", 0.003), ("logistic", 0.02), ("huber", 0.02)],
)
def test_nine_digits_from_zero_and_from_far_away(loss, share):
    program = planted(90, 5, 70, loss=loss, gated=True)
    program = program.replace(beta=jnp.asarray(share * program.beta_max()))
    far = 1e3 * np.random.default_rng(1).standard_normal(program.shape)
    values = []
    for start in (None, far):
        solution, certificate = judged(program, ActiveSetNewton(tol=1e-9), start)
        assert certificate.gap <= 1e-9
        assert not np.any(np.asarray(solution.params)[1])
        values.append(certificate.primal)
    assert_allclose(values[0], values[1], rtol=2e-9)


def test_a_solution_near_by_saves_steps():
    program = planted(90, 5, 70, gated=True)
    cold = cj.solve(program, ActiveSetNewton()).check()
    near = program.replace(beta=0.9 * program.beta)
    warm = cj.solve(near, ActiveSetNewton(), start=cold).check()
    assert warm.iterations < cj.solve(near, ActiveSetNewton()).iterations
    again = cj.solve(program, ActiveSetNewton(), start=cold).check()
    assert again.iterations <= 1
    assert again.objective <= cold.objective * (1 + 1e-12)


def test_columns_and_labels_of_any_size():
    X, y = instances.draw_data(60, 4)
    X[:, 1] *= 1e9
    patterns = cj.arrangements.from_gates(
        X, np.random.default_rng(2).normal(size=X.shape)
    )
    program = cj.programs.make_two_layer(X, 1e-6 * y, patterns, beta=1.0, gated=True)
    program = program.replace(beta=jnp.asarray(0.01 * program.beta_max()))
    assert judged(program, ActiveSetNewton())[1].gap <= 1e-8


def test_weights_float32_and_padded_blocks():
    program = instances.two_layer(loss="weighted squared", gated=True)
    assert judged(program, ActiveSetNewton(tol=1e-9))[1].gap <= 1e-9
    narrow = instances.two_layer(gated=True, dtype=np.float32)
    solution = cj.solve(narrow, ActiveSetNewton()).check()
    assert solution.params.dtype == np.float32
    assert cj.certify(narrow, solution).gap <= 1e-4
    program = planted(40, 3, 20, gated=True)
    live = jnp.arange(24) < 20
    part = program.select(jnp.asarray([*range(20), 0, 0, 0, 0]), live)
    some = ActiveSetNewton().run(part, None, Watch()).check()
    assert not np.any(np.asarray(some.params)[0, 20:])
    whole = cj.solve(program, ActiveSetNewton())
    assert_allclose(some.objective, whole.objective, rtol=1e-7)


def test_prices_are_bounded_from_above(monkeypatch):
    """The largest in float64, the others nearly, in any units and for parts of sums."""
    monkeypatch.setattr(gate_products, "_ROWS", 16)
    program = planted(90, 5, 300, gated=True)
    X, masks = np.asarray(program.X), np.asarray(program.masks)
    v = np.random.default_rng(0).standard_normal(90)
    for unit in (1e-30, 1.0, 1e100):
        scaled = program.replace(X=unit * program.X)
        given = unit * X, masks, 1e50 * v, HostBounds(scaled)
        prices, highest = gate_prices(*given)
        want = 1e50 * unit * np.linalg.norm(np.where(masks, v, 0) @ X, axis=1)
        assert_allclose(prices, want, rtol=1e-5)
        assert want.max() <= highest <= (1 + 1e-10) * want.max()


def test_refuses_blocks_of_matrices():
    program = instances.program_of("convolutional/sum_pool")
    with pytest.raises(ValueError, match="its blocks have no gates"):
        cj.solve(program.replace(cones=None), ActiveSetNewton())
