"""What only the interior-point solver promises: high accuracy, and where it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers import InteriorPoint
from tests import instances


def planted(n, d, P, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    y = np.maximum(X @ rng.standard_normal((d, 3)), 0) @ rng.standard_normal(3)
    y = y + 0.1 * rng.standard_normal(n)
    patterns = cj.arrangements.sample_patterns(jax.random.key(seed), X, num=P)
    return X, y / y.std(), patterns


def test_certifies_ten_digits_in_few_iterations():
    X, y, patterns = planted(60, 5, 30)
    for beta in (10.0, 1.0, 0.03):
        program = cj.programs.make_two_layer(X, y, patterns, beta=beta)
        solution = cj.solve(program, InteriorPoint(tol=1e-10)).check()
        certificate = cj.certify(program, solution)
        assert certificate.gap <= 1e-9
        assert certificate.cone_violation <= 1e-12
        assert int(solution.iterations) <= 40


def test_ill_conditioned_and_nearly_duplicate_rows():
    X, y, _ = planted(20, 3, 1)
    X[1] = X[0] + 1e-9
    scale = np.array([1.0, 1e-4, 1e-8])
    gates = np.random.default_rng(1).standard_normal((30, 3)) / scale
    X = X * scale
    patterns = cj.arrangements.from_gates(X, gates)
    program = cj.programs.make_two_layer(X, y, patterns, beta=0.1)
    certificate = cj.certify(program, cj.solve(program, InteriorPoint(tol=1e-8)))
    assert certificate.gap <= 1e-7


def test_inactive_blocks_are_exactly_zero():
    program = instances.program_of("two_layer/squared")
    solution = instances.solution_of("two_layer/squared", "InteriorPoint")
    reference = instances.solution_of("two_layer/squared", "Admm")
    active = np.any(np.asarray(solution.params) != 0, axis=-1)
    assert 0 < active.sum() < active.size
    assert_allclose(
        program.forward(solution.params), program.forward(reference.params), atol=1e-3
    )


def test_chunks_of_patterns_add_up(monkeypatch):
    program = instances.program_of("two_layer/squared")
    factors = jax.random.normal(jax.random.key(0), (*program.shape, program.shape[2]))
    blocks = factors @ factors.mT
    F = instances.reference_of("two_layer/squared").matrix(program)
    F = np.asarray(F).reshape(len(program.y), *program.shape)
    fits = np.einsum("nspi,spij->nspj", F, factors).reshape(len(program.y), -1)
    for elements in (1, 50, 1 << 22):
        monkeypatch.setattr("cvxjax.forms.sign_cones._CHUNK_ELEMENTS", elements)
        assert_allclose(program.spread(blocks), fits @ fits.T, rtol=1e-10)


def test_refuses_what_it_cannot_solve():
    program = instances.two_layer(dtype=np.float32)
    with pytest.raises(ValueError, match="InteriorPoint takes float64"):
        cj.solve(program, InteriorPoint())
    assert program.X.dtype == jnp.float32
