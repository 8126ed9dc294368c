"""ADMM without a matrix [n, n]: against dense algebra, and what it saves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.algebra import linalg
from cvxjax.solvers import loop
from cvxjax.solvers.blocks.matrix_free import MatrixFree
from tests import instances

NAMES = [
    "two_layer/squared",
    "two_layer/logistic",
    "two_layer/hard_margin",
    "two_layer/rank two",
    "two_layer/gated/squared",
    "two_layer/gated/hinge",
    "two_layer/gated/all inactive",
    "convolutional/max_pool",
    "vector_output/gated",
]
DENSE = cj.solvers.Admm(tol=1e-8)
FREE = DENSE.replace(dense_samples=0)


def sampled_program(n=300, d=6, P=12, gated=True, dtype=np.float64):
    """Data whose spectrum falls, labels of one neuron, noise."""
    rng = np.random.default_rng(0)
    X = (rng.standard_normal((n, d)) / np.arange(1, d + 1)).astype(dtype)
    y = np.maximum(X[:, 0] - X[:, 1], 0) + 0.1 * rng.standard_normal(n).astype(dtype)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=P)
    return cj.programs.make_two_layer(
        X, y.astype(dtype), patterns, beta=0.5, gated=gated
    )


def metric(program, seed=0):
    """A positive definite M [d, d]."""
    d = program.shape[-1]
    A = np.random.default_rng(seed).standard_normal((d, d))
    return jnp.asarray(np.linalg.inv(np.eye(d) + A @ A.T))


def kernel_matrix(program, inverse):
    return np.asarray(program.response(jnp.ones(program.shape[:2]), inverse))


@pytest.mark.parametrize("shift", [1e-2, 1.0, 1e2])
@pytest.mark.parametrize(
    "name", ["sampled", "two_layer/squared", "vector_output/gated"]
)
def test_steps_at_one_place_end_in_the_dense_solution(name, shift):
    """Each takes all but a tenth of what is missing."""
    program = sampled_program() if name == "sampled" else instances.program_of(name)
    inverse = metric(program)
    K = kernel_matrix(program, inverse)
    rng = np.random.default_rng(1)
    b = jnp.asarray(rng.standard_normal(program.shape))
    right = np.asarray(program.forward(b))
    x = np.linalg.solve(shift * np.eye(len(K)) + K, right)
    want = b - linalg.dot(program.adjoint(jnp.asarray(x)), inverse)
    kernel = MatrixFree.factor(program, inverse)
    step, misses = jax.jit(MatrixFree.step), [np.linalg.norm(right)]
    for _ in range(14):
        w, kernel = step(kernel, program, inverse, shift, b)
        miss = right - shift * np.asarray(kernel.fit) - K @ np.asarray(kernel.fit)
        misses.append(np.linalg.norm(miss))
        assert misses[-1] <= 0.101 * misses[-2] + 1e-11 * misses[0]
    assert_allclose(kernel.fit, x, atol=1e-10 * np.max(np.abs(x)))
    assert_allclose(w, want, atol=1e-10)


@pytest.mark.parametrize("name", NAMES)
def test_admm_ends_at_the_optimum(name):
    program = instances.program_of(name)
    solution = cj.solve(program, FREE).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-7
    optimum = instances.optimum_of(name)
    assert_allclose(certificate.primal, optimum, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("gated", [True, False])
def test_more_samples_than_the_preconditioner_has_directions(gated):
    """The same solution in about as many steps."""
    program = sampled_program(n=120, P=8, gated=gated)
    want = cj.solve(program, DENSE).check()
    got = cj.solve(program, FREE).check()
    assert_allclose(got.objective, want.objective, rtol=1e-7)
    assert got.iterations <= 2 * want.iterations
    assert cj.certify(program, got).gap <= 1e-7
    if gated:
        change = program.forward(got.params - want.params)
        assert np.linalg.norm(change) <= 1e-3 * np.linalg.norm(program.y)


def test_float32():
    """A gap at which the eigendecomposition of this matrix no longer ends."""
    program = sampled_program(dtype=np.float32)
    solution = cj.solve(program, FREE.replace(tol=3e-4)).check()
    assert solution.params.dtype == jnp.float32
    assert cj.certify(program, solution).gap <= 4e-4


def test_vmap_agrees_with_separate_solves():
    program = instances.program_of("two_layer/gated/squared")
    ys, betas = jnp.stack([program.y, 2 * program.y]), jnp.asarray([0.1, 0.05])
    one = lambda y, b: loop.run(FREE, program.replace(y=y, beta=b))  # noqa: E731
    together = jax.jit(jax.vmap(one))(ys, betas)
    for i, (y, beta) in enumerate(zip(ys, betas, strict=True)):
        alone = cj.solve(program.replace(y=y, beta=beta), FREE)
        assert together.status[i] == cj.Status.CONVERGED
        assert_allclose(together.objective[i], alone.objective, rtol=1e-8)


def test_preconditioner_saves_iterations():
    """A quarter of those without, for shifts far below the largest eigenvalue."""
    program = sampled_program(n=1000, d=20, P=30)
    inverse = jnp.eye(20)
    K = kernel_matrix(program, inverse)
    known = MatrixFree.factor(program, inverse)
    assert known.vectors.shape == (1000, 64)
    assert_allclose(known.vectors.T @ known.vectors, np.eye(64), atol=1e-10)
    values = np.linalg.eigvalsh(K)[::-1][:64]
    assert np.all(known.values <= values * (1 + 1e-9))
    assert_allclose(known.values[:8], values[:8], rtol=2e-2)
    nothing = known.replace(vectors=jnp.zeros((1000, 1)), values=jnp.zeros(1))
    b = jnp.asarray(np.random.default_rng(0).standard_normal(1000))

    def count(kernel, shift):
        calls = []

        def couple(x):
            jax.debug.callback(lambda: calls.append(1))
            return linalg.dot(jnp.asarray(K), x)

        kernel.solve(couple, shift, b).block_until_ready()
        jax.effects_barrier()
        return len(calls)

    for share in (1e-4, 1e-3, 1e-2):
        shift = share * values[0]
        assert 4 * count(known, shift) <= count(nothing, shift), share


@pytest.mark.parametrize("gated", [True, False])
def test_nothing_is_as_large_as_a_matrix_of_all_samples(gated):
    """Compiled for n = 20,000, whose matrix has 3.2 GB; nothing is run."""
    n, d, P = 20_000, 5, 8
    program = sampled_program(n=50, d=d, P=P, gated=gated)

    def grown(leaf):
        shape = [n if k == 50 else k for k in leaf.shape]
        return jax.ShapeDtypeStruct(shape, leaf.dtype)

    program, solver = jax.tree.map(grown, program), cj.solvers.Admm()
    w = jax.ShapeDtypeStruct(program.shape, jnp.float64)
    state = jax.eval_shape(solver.init, program, w)
    temporary = lambda f, x: (  # noqa: E731
        jax.jit(f).lower(program, x).compile().memory_analysis().temp_size_in_bytes
    )
    assert temporary(solver.init, w) < n * n * 8 / 10
    assert temporary(solver.step, state) < n * n * 8 / 20


def test_exact_fits_of_many_samples_are_refused():
    message = r"Admm cannot take .*: to fit 8 labels exactly takes a matrix \[n, n\]"
    with pytest.raises(ValueError, match=message):
        cj.solve(instances.program_of("two_layer/interpolation"), FREE)
