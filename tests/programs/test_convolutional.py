"""Convolutional theorems on data: filters, images, published values, refusals."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from tests import instances
from tests.references import relu_search

PATCHES = np.random.default_rng(5).standard_normal((4, 3, 2))
LABELS = np.random.default_rng(6).standard_normal(4)


def make(kind, inputs=PATCHES, y=LABELS, beta=0.1, **options):
    return cj.programs.make_convolutional(inputs, y, beta=beta, kind=kind, **options)


@pytest.mark.parametrize("kind", ["sum_pool", "average_pool", "max_pool"])
def test_recovered_filters_are_a_flax_convolution(kind):
    """On the images themselves, filter for filter, for two channels and a stride."""
    rng = np.random.default_rng(7)
    images, y = rng.standard_normal((3, 4, 4, 2)), rng.standard_normal(3)
    size, strides = (2, 2), (2, 2)
    patches = cj.arrangements.extract_patches(images, size, strides=strides)
    gates = rng.standard_normal((30, 8))
    rows = cj.arrangements.stack_patches(patches)
    patterns = cj.arrangements.from_gates(rows, gates)
    program = make(kind, patches, y, patterns=patterns)
    assert program.scope is cj.Scope.SAMPLED
    solution = cj.solve(program).check()
    variables = program.recover(solution.params)
    network = cj.networks.ImageConvolutional(kind, size, strides=strides)
    at = cj.networks.image_variables(variables, size)
    got = network.apply(at, images)
    assert_allclose(got, program.forward(solution.params), atol=1e-12)
    fresh = cj.networks.ImageConvolutional(kind, size, 5, strides=strides)
    shapes = jax.tree.map(np.shape, fresh.init(jax.random.key(0), images))
    assert shapes["params"]["first"]["kernel"] == (2, 2, 2, 5)


def test_one_patch_is_the_two_layer_network():
    X, y = PATCHES[:, 0], LABELS
    patterns = cj.arrangements.enumerate_patterns(X)
    plain = cj.solve(cj.programs.make_two_layer(X, y, patterns, beta=0.1))
    for kind in ("sum_pool", "average_pool", "max_pool"):
        solution = cj.solve(make(kind, X[:, None], y))
        assert_allclose(solution.objective, plain.objective, rtol=1e-7)
    found = relu_search(X, y, 0.1, width=6, starts=10)
    assert_allclose(found[0], plain.objective, rtol=1e-6)


def test_average_pool_is_sum_pool_of_patches_over_their_number():
    average, total = (
        cj.solve(make(kind, inputs)).objective
        for kind, inputs in (("average_pool", PATCHES), ("sum_pool", PATCHES / 3))
    )
    assert_allclose(average, total, rtol=1e-7)


@pytest.mark.parametrize("d", [1, 2, 5])
@pytest.mark.parametrize("kind", ["circular", "circular_relu"])
def test_circular_networks_of_odd_and_even_length(kind, d):
    rng = np.random.default_rng(d)
    X, y = rng.standard_normal((3, d)), rng.standard_normal(3)
    program = make(kind, X, y)
    solution = cj.solve(program).check()
    want = instances.REFERENCES["convolutional"].optimum(program)
    assert_allclose(solution.objective, want, rtol=1e-6)
    variables = program.recover(solution.params)
    network = program.network()
    z = np.asarray(network.apply(variables, X))
    decay = float(network.penalty(variables["params"]))
    value = 0.5 * np.sum((z - y) ** 2) + 0.1 * decay
    assert_allclose(value, solution.objective, rtol=1e-9)
    if kind == "circular_relu":
        lengths = np.linalg.norm(variables["params"]["first"]["kernel"], axis=0)
        assert_allclose(lengths, 1, rtol=1e-12)


def test_a_degenerate_instance_is_solved_by_default():
    """Admm, by the last digit of y, takes 2,000 to more than 20,000 steps on it."""
    program = instances.convolutional("sum_pool", seed=3)
    certificate = cj.certify(program, cj.solve(program).check())
    want = instances.REFERENCES["convolutional"].optimum(program)
    assert_allclose(certificate.primal, want, rtol=1e-6)
    assert certificate.gap <= 1e-7


def test_patterns_of_max_pool_are_all_only_if_they_compare_patches():
    every = make("max_pool")
    assert every.scope is cj.Scope.EXHAUSTIVE
    rows = cj.arrangements.stack_patches(PATCHES)
    some = make("max_pool", patterns=cj.arrangements.enumerate_patterns(rows))
    assert some.scope is cj.Scope.SAMPLED
    values = [float(cj.solve(p).objective) for p in (every, some)]
    assert values[0] <= values[1] * (1 + 1e-8)


def test_refusals():
    with pytest.raises(ValueError, match="want kind, one of sum_pool"):
        make("median_pool")
    with pytest.raises(ValueError, match=r"want patches \[n, K, h\]"):
        make("sum_pool", PATCHES[:, 0])
    with pytest.raises(ValueError, match=r"want X \[n, d\]"):
        make("circular", PATCHES)
    with pytest.raises(ValueError, match="finite"):
        make("linear", np.where(PATCHES > 2, np.nan, PATCHES) * np.nan)
    with pytest.raises(ValueError, match="want a finite beta > 0"):
        make("linear", beta=0)
    with pytest.raises(ValueError, match="want X .* y"):
        make("linear", y=LABELS[:2])
    patterns = cj.arrangements.enumerate_patterns(PATCHES[:, 0])
    with pytest.raises(ValueError, match="want no patterns for kind 'linear'"):
        make("linear", patterns=patterns)
    with pytest.raises(ValueError, match="want patterns of this X"):
        make("sum_pool", patterns=patterns)
    large = np.random.default_rng(0).standard_normal((40, 4, 5))
    with pytest.raises(ValueError, match="want patterns, since there may be"):
        make("max_pool", large, np.ones(40))


def of_few_patterns(kind, patches=PATCHES, num=5):
    """A program over some sampled patterns, and that over all of them."""
    rows = cj.arrangements.stack_patches(patches)
    y = np.random.default_rng(6).standard_normal(len(patches))
    some = cj.arrangements.sample_patterns(jax.random.key(0), rows, num=num)
    every = cj.arrangements.enumerate_patterns(rows)
    return [make(kind, patches, y, patterns=p) for p in (some, every)]


@pytest.mark.parametrize(
    "kind, h",
    [("sum_pool", 2), ("average_pool", 2), ("sum_pool", 3), ("sum_pool", 4)],
)
def test_filters_of_other_patterns_are_found_and_bounded(kind, h):
    """Exact prices of filters up to three weights, a search and a relaxation above."""
    patches = np.random.default_rng(h).standard_normal((5, 2, h))
    few, full = of_few_patterns(kind, patches)
    optimum = instances.REFERENCES["convolutional"].optimum(full)
    assert cj.solve(few).objective > optimum * (1 + 1e-3)
    solution = cj.solve(few, cj.solvers.ColumnGeneration(tol=1e-7)).check()
    assert_allclose(solution.objective, optimum, rtol=1e-6)
    certificate = cj.certify(few, solution, scope=cj.Scope.GLOBAL_BOUND)
    assert certificate.dual <= optimum * (1 + 1e-8)
    exact = h <= 3
    assert (certificate.scope is cj.Scope.EXHAUSTIVE) == exact
    assert certificate.gap <= (1e-6 if exact else 0.1)
    grown = few.with_patterns(solution.patterns.masks, solution.patterns.gates)
    z = few.network().apply(few.recover(solution.params), patches)
    assert_allclose(z, grown.forward(solution.params), atol=1e-12)


def test_the_bound_over_filters_is_above_every_one():
    few, _ = of_few_patterns("average_pool", PATCHES)
    v = np.random.default_rng(1).standard_normal(len(LABELS))
    angles = np.linspace(0, 2 * np.pi, 20_000)
    filters = np.stack([np.cos(angles), np.sin(angles)])
    values = np.maximum(PATCHES @ filters, 0).mean(axis=1).T @ v
    bound = few.judge().network_bound(v)
    assert_allclose(bound, np.max(np.abs(values)), rtol=1e-4)
    assert bound >= np.max(np.abs(values))


def test_no_bound_over_other_patterns_of_max_pool():
    rows = cj.arrangements.max_pool_rows(PATCHES)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), rows, num=5)
    program = make("max_pool", patterns=patterns)
    solution = instances.point_of(program, np.zeros(program.shape), LABELS)
    with pytest.raises(ValueError, match="no bound over the networks of other"):
        cj.certify(program, solution, scope=cj.Scope.GLOBAL_BOUND)
    with pytest.raises(ValueError, match="not ReLU neurons of one output each"):
        cj.solve(program, cj.solvers.ColumnGeneration())


def test_many_patterns_are_solved_by_default():
    """Over a thousand blocks, which a working set takes on."""
    patches = np.random.default_rng(2).standard_normal((6, 4, 4))
    rows = cj.arrangements.stack_patches(patches)
    gates = np.random.default_rng(3).standard_normal((2_500, 4))
    patterns = cj.arrangements.from_gates(rows, gates)
    program = make("sum_pool", patches, np.arange(6.0), 0.01, patterns=patterns)
    assert np.prod(program.shape[:2]) > 1_000
    assert cj.certify(program, cj.solve(program).check()).gap <= 1e-7


@pytest.mark.parametrize(
    ("kind", "loss"),
    [
        ("sum_pool", "weighted logistic"),
        ("linear", "pinball"),
        ("max_pool", "weighted huber"),
    ],
)
def test_other_losses(kind, loss):
    y = LABELS if instances.has_real_labels(loss) else np.sign(LABELS)
    program = make(kind, y=y, loss=instances.loss_of(loss, len(y)))
    solution = cj.solve(program, cj.solvers.Admm(tol=1e-7)).check()
    want = instances.REFERENCES["convolutional"].optimum(program)
    assert_allclose(solution.objective, want, rtol=2e-6)
    assert cj.certify(program, solution).gap <= 1e-6


def test_losses_that_are_refused():
    with pytest.raises(ValueError, match="no constraint; got interpolation"):
        make("sum_pool", loss=cj.losses.interpolation())
    with pytest.raises(ValueError, match="want a loss of .* not called"):
        make("sum_pool", loss=cj.losses.Huber)
    with pytest.raises(ValueError, match="labels -1 and"):
        make("sum_pool", loss=cj.losses.logistic())
