"""A short training of a few networks, whose neurons column generation starts from.

    minimise  L(sum_j f(u_j) a_j, y) + beta/2 sum_j (||u_j||^2 + a_j^2)

by Adam with a cosine schedule, all networks at once in one compiled loop. Training
finds narrow maxima of the price that no search from random directions meets; what it
ends with need not be good, since the sizes of all neurons are found anew.

Source: Kingma & Ba, Adam (2015).
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.solvers.columns.neurons import Neurons, Rows

Array = jax.Array

STEPS = 300
RATE = 0.05
NETWORKS = 8
_MOST = 400  # neurons trained together
_BATCH = 1024  # samples of a step, at most
_SAMPLES = 128  # sizes are padded to multiples, so that few shapes are compiled
_FEATURES = 8
_NEURONS = 200
_TOGETHER = np.ones((NETWORKS, NETWORKS), np.float32)
_ELEMENTS = 1 << 21  # of the products of a step: beyond, fewer neurons are trained


def trained(
    program: Any,
    rows: Rows,
    first: np.ndarray,
    second: np.ndarray,
    *,
    apart: bool = False,
    rate: float = RATE,
    steps: int = STEPS,
    seed: int = 0,
) -> Neurons:
    """The neurons of a network, or of several, after Adam.

    Args:
      program: its loss, y and beta.
      rows: of the program.
      first: [m, d], weights of the first layer.
      second: [m], of the second layer.
      apart: whether they are those of `NETWORKS` networks, dealt to them in turn.
      rate: of Adam, at first.
      steps: of Adam.
      seed: of the batches.
    """
    (m, d), n = first.shape, rows.samples
    X = (rows.unit * rows.lengths[:, None]).reshape(n, -1, d)
    X = padded(X, np.float32)
    known = np.minimum(np.arange(len(X)), n - 1)
    loss = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), program.loss.take(known))
    room = -m % _NEURONS
    u = np.pad(first, ((0, room), (0, X.shape[2] - d))).astype(np.float32)
    a = np.pad(second, (0, room)).astype(np.float32)
    u, a = _train(
        X,
        np.asarray(program.y)[known].astype(np.float32),
        loss,
        np.float32(program.beta),
        np.ascontiguousarray(u.reshape(-1, NETWORKS, X.shape[2]).swapaxes(0, 1)),
        np.ascontiguousarray(a.reshape(-1, NETWORKS).T),
        np.eye(NETWORKS, dtype=np.float32) if apart else _TOGETHER,
        np.float32(rate),
        np.int32(steps),
        np.uint32(seed),
        batch=min(len(X), _BATCH),
    )
    u = np.asarray(u, np.float64).swapaxes(0, 1).reshape(m + room, -1)[:m, :d]
    a = np.asarray(a, np.float64).T.ravel()[:m]
    w = u * np.abs(a)[:, None]
    finite = np.all(np.isfinite(w), axis=1)
    return Neurons.of(w[finite], np.sign(a[finite]))


def most_neurons(rows: Rows) -> int:
    """How many neurons can be trained together in reasonable time, at most 400."""
    samples = min(rows.samples, _BATCH) * len(rows.unit) // rows.samples
    return int(np.clip(_ELEMENTS // max(samples, 1), NETWORKS, _MOST))


def padded(X: np.ndarray, dtype: Any) -> np.ndarray:
    """X [n, ..., d] with zeros up to multiples of 128 samples and of 8 features.

    So that data of almost one size share their compiled code.
    """
    n, d = X.shape[0], X.shape[-1]
    room = [(0, 0)] * X.ndim
    room[0] = (0, -n % _SAMPLES)
    room[-1] = (0, -d % _FEATURES if d > 1 else 0)
    return np.pad(X, room).astype(dtype)


@functools.partial(jax.jit, static_argnames="batch")
def _train(
    X: Array,
    y: Array,
    loss: Any,
    beta: Array,
    u: Array,
    a: Array,
    sums: Array,
    rate: Array,
    steps: Array,
    seed: Array,
    *,
    batch: int,
) -> tuple[Array, Array]:
    """u [S, m, d] and a [S, m] after Adam, S groups of m neurons.

    Groups are multiplied in one batch, which the cores share.

    Args:
      X: [n, K, d], rows of zeros beyond the samples.
      sums: [S, S], 1 where the predictions of a group count for another, else 0.
    """
    n = X.shape[0]
    order = jax.random.permutation(jax.random.key(seed), n)

    def slopes(k: Array, u: Array, a: Array) -> tuple[Array, Array]:
        rows, labels, criterion = X, y, loss
        if batch < n:
            part = order[(k * batch + jnp.arange(batch)) % n]
            rows, labels, criterion = X[part], y[part], loss.take(part)
        products = jnp.einsum("nkd,smd->snkm", rows, u)
        hidden = jnp.sum(jnp.maximum(products, 0), axis=2)  # [S, n, m]
        z = sums @ jnp.einsum("snm,sm->sn", hidden, a)
        g = jax.vmap(lambda z: criterion.gradient(z, labels))(z) * (n / batch)
        back = jnp.where(products > 0, g[:, :, None, None], 0)
        slope = jnp.einsum("snkm,nkd->smd", back, rows) * a[..., None]
        return slope + beta * u, jnp.einsum("snm,sn->sm", hidden, g) + beta * a

    def step(k: Array, carry: Any) -> Any:
        x, mean, square = carry
        slope = slopes(k, *x)
        done = (k + 1).astype(u.dtype)
        now = rate / 2 * (1 + jnp.cos(np.float32(np.pi) * done / steps))
        mean = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mean, slope)
        square = jax.tree.map(lambda s, g: 0.999 * s + 0.001 * g**2, square, slope)
        b, c = 1 - 0.9**done, 1 - 0.999**done

        def moved(x: Array, m: Array, s: Array) -> Array:
            return x - (now * (m / b) / (jnp.sqrt(s / c) + 1e-12)).astype(x.dtype)

        return jax.tree.map(moved, x, mean, square), mean, square

    start = (u, a)
    nothing = jax.tree.map(jnp.zeros_like, start)
    return jax.lax.fori_loop(0, steps, step, (start, nothing, nothing))[0]
