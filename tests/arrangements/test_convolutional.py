"""Patches are what a Flax convolution sees; rows of arrangements; gates for images."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import cvxjax as cj


@pytest.mark.parametrize(
    "size, strides, padding",
    [
        ((2, 3), (1, 1), "VALID"),
        ((3, 3), (2, 1), "SAME"),
        ((2, 2), (2, 2), ((1, 0), (0, 1))),
    ],
)
@pytest.mark.parametrize("channels", [1, 3])
def test_patches_are_what_a_flax_convolution_sees(size, strides, padding, channels):
    images = np.random.default_rng(0).standard_normal((4, 6, 5, channels))
    conv = nn.Conv(7, size, strides, padding, use_bias=False, param_dtype=jnp.float64)
    variables = conv.init(jax.random.key(0), images)
    want = np.asarray(conv.apply(variables, images)).reshape(4, -1, 7)
    patches = cj.arrangements.extract_patches(
        images, size, strides=strides, padding=padding
    )
    kernel = variables["params"]["kernel"]
    assert_allclose(patches @ kernel.reshape(-1, 7), want, atol=1e-12)
    if channels == 1:
        flat = cj.arrangements.extract_patches(
            images[..., 0], size, strides=strides, padding=padding
        )
        assert_array_equal(flat, patches)


def test_patches_are_differentiable_and_refuse_what_does_not_fit():
    images = jnp.ones((2, 4, 4))
    total = lambda x: jnp.sum(cj.arrangements.extract_patches(x, (2, 2)))  # noqa: E731
    assert_allclose(jax.grad(total)(images)[0, 1, 1], 4)
    with pytest.raises(ValueError, match=r"want images \[n, height"):
        cj.arrangements.extract_patches(jnp.ones((2, 4)), (2, 2))
    with pytest.raises(ValueError, match="want a filter that fits"):
        cj.arrangements.extract_patches(images, (5, 2))


def test_circular_patches_are_shifts():
    X = np.arange(8.0).reshape(2, 4)
    got = np.asarray(cj.arrangements.circular_patches(X))
    for k in range(4):
        assert_array_equal(got[:, k], np.roll(X, -k, axis=1))


def test_patterns_of_patches_reach_covers_bound():
    """n = 4, K = 3, h = 2 in general position: 2 (C(11, 0) + C(11, 1)) = 24."""
    patches = np.random.default_rng(1).standard_normal((4, 3, 2))
    rows = cj.arrangements.stack_patches(patches)
    assert len(cj.arrangements.enumerate_patterns(rows).masks) == 24
    assert cj.arrangements.count_bound(len(rows), 2) == 24
    with pytest.raises(ValueError, match=r"want patches \[n, K, h\]"):
        cj.arrangements.stack_patches(patches[0])


def test_max_pool_rows_decide_the_largest_patch():
    patches = np.random.default_rng(2).standard_normal((3, 3, 2))
    rows = cj.arrangements.max_pool_rows(patches)
    assert rows.shape == (9 + 9, 2)
    patterns = cj.arrangements.enumerate_patterns(rows)
    at_gates = [
        tuple(np.where(v.max(axis=1) > 0, v.argmax(axis=1), -1))
        for v in (patches @ gate for gate in np.asarray(patterns.gates))
    ]
    seen = set()
    for u in np.random.default_rng(3).standard_normal((20_000, 2)):
        values = patches @ u
        seen.add(tuple(np.where(values.max(axis=1) > 0, values.argmax(axis=1), -1)))
    assert seen <= set(at_gates)


def test_filter_gates_are_zero_outside_one_patch():
    gates = cj.arrangements.filter_gates(jax.random.key(0), (5, 6, 2), (2, 3), num=50)
    images = np.asarray(gates).reshape(50, 5, 6, 2)
    assert len({img.tobytes() for img in images}) == 50
    corners = set()
    for image in images:
        rows, columns, _ = np.nonzero(image)
        assert np.ptp(rows) == 1 and np.ptp(columns) == 2
        assert np.count_nonzero(image) == 2 * 3 * 2
        corners.add((rows.min(), columns.min()))
    assert len(corners) > 10
    with pytest.raises(ValueError, match="want a filter that fits"):
        cj.arrangements.filter_gates(jax.random.key(0), (5, 6, 2), (6, 3), num=1)
