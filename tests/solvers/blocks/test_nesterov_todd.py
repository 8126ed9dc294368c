"""Second-order cones against their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
from numpy.testing import assert_allclose

from cvxjax.solvers.blocks import nesterov_todd as soc


def inside(seed, shape=(4, 3)):
    tail = jax.random.normal(jax.random.key(seed), shape)
    extra = jax.random.uniform(jax.random.key(seed + 1), shape[:-1])
    return soc.norm(tail) + extra + 1e-3, tail


def joined(x):
    return np.concatenate([np.asarray(x[0])[..., None], x[1]], axis=-1)


def test_scaling_maps_the_pair_to_one_point():
    x, z = inside(0), inside(2)
    scaling = soc.Scaling.between(x, z)
    assert_allclose(joined(scaling.inverse(x)), joined(scaling.apply(z)), rtol=1e-9)
    assert_allclose(joined(scaling.apply(scaling.inverse(x))), joined(x), rtol=1e-9)


def test_curvature_is_the_schur_complement_of_the_inverse_square():
    x, z, w = inside(0), inside(2), inside(4)[1]
    scaling = soc.Scaling.between(x, z)
    target = jnp.arange(4.0)
    head = scaling.head_of(target, w)
    full = scaling.inverse(scaling.inverse((head, w)))
    assert_allclose(full[0], target, atol=1e-9)
    free = scaling.head_of(jnp.zeros(4), w)
    eliminated = scaling.inverse(scaling.inverse((free, w)))[1]
    assert_allclose(scaling.curvature(w), eliminated, rtol=1e-7, atol=1e-9)
    root = scaling.root()
    assert_allclose(
        jnp.einsum("bij,bjk,bk->bi", root, root, w), eliminated, rtol=1e-7, atol=1e-9
    )


def test_divide_undoes_product_and_eigenvalues_come_back():
    x, u = inside(0), inside(2)
    found = soc.divide(soc.product(x, u), x)
    assert_allclose(joined(found), joined(u), rtol=1e-8)
    same = soc.map_eigenvalues(x, lambda v: v)
    assert_allclose(joined(same), joined(x), rtol=1e-12)


def test_room_is_where_the_cone_ends():
    for seed in range(20):
        x = inside(seed)
        move = jax.random.normal(jax.random.key(50 + seed), (4, 4))
        move = move[:, 0] + 0.5, move[:, 1:]
        length = np.asarray(soc.room(x, move))
        for share, within in ((0.999, True), (1.001, False)):
            a = np.where(np.isfinite(length), share * length, 1e6)
            slack = x[0] + a * move[0] - soc.norm(x[1] + a[:, None] * move[1])
            expected = within | ~np.isfinite(length)
            assert_allclose(np.asarray(slack > 0), expected)
