"""All neurons of several outputs at once, inside their cells, by an interior point.

    minimise  L(sum_j D_j X u_j v_j^T, Y)
              + beta/2 sum_j (||u_j||^2 + ||v_j||^2) - mu sum_js log (A_j u_j)_s

over neurons whose cells are given: D_j the pattern of neuron j's cell, A_j the rows of
(2 D_j - I) X that are not zero, to unit length. For mu -> 0 its minima are local minima
of the program, neurons on the walls of their cells included.

The steps are primal-dual Newton steps, in float64 on the host. Neurons of one cell can
rotate into each other without changing fit or penalty, so that the Hessian is singular
at a minimum; damping by the size of the gradient keeps the steps fast there. Neurons
that nearly agree, above all on two sides of a wall, do so along curves that slow the
steps down; they are joined first.

Source: Nocedal & Wright, Numerical Optimization (2006), section 19.3, for the steps;
Li, Fukushima, Qi & Yamashita, Regularized Newton Methods for Convex Minimization
Problems with Singular Solutions (2004), for the damping.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.watch import Watch

_ALIKE = 1e-2  # 1 - cosine of neurons that may be joined
_KEEP = 0.995  # of the way to the nearest wall
_SOLVED = 10.0  # errors of so many mu end the steps
_CLOSE = 1e10  # the factor of mu within which (A u) z is kept
_ENOUGH = 1e-4  # of its slope that a step has to gain
_SHORTEST = 1e-10  # step
_ROUNDING = 1e-15  # of values
_DAMPING = 1e-3  # the most that the first trial adds to the Hessian


@dataclasses.dataclass(frozen=True, kw_only=True)
class CellNeurons:
    """m neurons strictly inside their cells, and the multipliers of the walls."""

    u: np.ndarray  # [m, d]
    v: np.ndarray  # [m, c]
    z: np.ndarray  # [m, k], > 0; 0 before the first step
    cells: np.ndarray  # [m], which pattern

    def take(self, chosen: np.ndarray) -> CellNeurons:
        """Those of a mask [m]."""
        return CellNeurons(**{name: x[chosen] for name, x in vars(self).items()})

    def and_also(self, more: CellNeurons) -> CellNeurons:
        """These, then more."""
        pairs = {name: [x, getattr(more, name)] for name, x in vars(self).items()}
        return CellNeurons(
            **{name: np.concatenate(pair) for name, pair in pairs.items()}
        )

    def sizes(self) -> np.ndarray:
        """||u_j|| ||v_j||, [m]."""
        return np.linalg.norm(self.u, axis=1) * np.linalg.norm(self.v, axis=1)


def walls(X: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """A_j for masks [m, n], [m, k, d]."""
    lengths = np.linalg.norm(X, axis=1)
    live = lengths > 0
    sides = np.where(masks[:, live, None], 1.0, -1.0)
    return sides * (X[live] / lengths[live, None])


def correct(
    X: np.ndarray,
    masks: np.ndarray,
    Y: np.ndarray,
    neurons: CellNeurons,
    *,
    loss: Any,
    beta: float,
    mu: float,
    max_steps: int,
    watch: Watch,
) -> CellNeurons:
    """Steps at one mu, until gradients and |(A u) z - mu| are below 10 mu.

    Args:
      X: [n, d].
      masks: [P, n], bool.
      Y: [n, c].
      neurons: where to start.
      loss: L, smooth.
      beta: > 0.
      mu: > 0, of the barrier, in units of the objective.
      max_steps: fewer where no step gains any more.
      watch: ends the steps.
    """
    features = np.where(masks[neurons.cells, :, None], X, 0)
    A = walls(X, masks[neurons.cells])
    local = _Local(features=features, walls=A, Y=Y, loss=loss, beta=beta, mu=mu)
    start = np.where(neurons.z > 0, neurons.z, mu / local.reach(neurons.u))
    neurons = dataclasses.replace(neurons, z=start)
    d, damping = X.shape[1], 0.0
    for _ in range(max_steps):
        if watch.over:
            break
        watch.repeat()
        s = local.reach(neurons.u)
        slope, forces, hessian = local.expand(neurons, s)
        error = max(np.max(np.abs(forces)), np.max(np.abs(s * neurons.z - mu)))
        if error <= _SOLVED * mu:
            break
        step, damping = _direction(
            hessian, slope, max(damping / 8, min(float(error), _DAMPING))
        )
        du, dv = step[:, :d], step[:, d:]
        ds = local.reach(du)
        dz = (mu - neurons.z * ds) / s - neurons.z
        gain = _ENOUGH * float(np.sum(slope * step))
        before, length = local.value(neurons.u, neurons.v, s), _room(s, ds)
        while length > _SHORTEST:
            u, v = neurons.u + length * du, neurons.v + length * dv
            s = local.reach(u)
            if local.value(u, v, s) <= before + length * gain + _ROUNDING * abs(before):
                break
            length /= 2
        else:
            break
        z = neurons.z + _room(neurons.z, dz) * dz
        z = np.clip(z, mu / (_CLOSE * s), _CLOSE * mu / s)
        neurons = dataclasses.replace(neurons, u=u, v=v, z=z)
    return neurons


def join_alike(
    X: np.ndarray,
    Y: np.ndarray,
    neurons: CellNeurons,
    *,
    loss: Any,
    beta: float,
    most: float,
) -> CellNeurons:
    """Gives a neuron's size to one like it where that costs `most` at most.

    Neurons on both sides of a wall, or side by side, can exchange their sizes at the
    same fit and penalty, along a curve on which Newton steps must be short.
    """
    w = np.hstack([neurons.u, neurons.v])
    w = w / np.linalg.norm(w, axis=1, keepdims=True)
    cosines = np.tril(w @ w.T, -1)
    fits, sizes = np.maximum(X @ neurons.u.T, 0), neurons.sizes()

    def value(scales: np.ndarray) -> float:
        return float(loss.value((fits * scales) @ neurons.v, Y) + beta * scales @ sizes)

    scales = np.ones(len(w))
    now = value(scales)
    pairs = np.argwhere(cosines > 1 - _ALIKE)
    for pair in pairs[np.argsort(-cosines[tuple(pairs.T)])]:
        small, large = pair[np.argsort((scales * sizes)[pair])]
        if scales[small] > 0:
            trial = scales.copy()
            trial[large] += scales[small] * sizes[small] / sizes[large]
            trial[small] = 0
            after = value(trial)
            if after <= now + most:
                scales, now = trial, after
    root = np.sqrt(scales)[:, None]
    live = scales > 0
    z = neurons.z / np.where(root > 0, root, 1)
    return dataclasses.replace(
        neurons, u=root * neurons.u, v=root * neurons.v, z=z
    ).take(live)


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Local:
    """The problem of neurons in cells."""

    features: np.ndarray  # D_j X, [m, n, d]
    walls: np.ndarray  # A_j, [m, k, d]
    Y: np.ndarray  # [n, c]
    loss: Any
    beta: float
    mu: float

    def reach(self, u: np.ndarray) -> np.ndarray:
        """A_j u_j, [m, k]."""
        return np.einsum("mkd,md->mk", self.walls, u)

    def value(self, u: np.ndarray, v: np.ndarray, s: np.ndarray) -> float:
        """The objective, barrier included; inf outside."""
        if np.min(s) <= 0:
            return np.inf
        fit = np.einsum("mnd,md->nm", self.features, u) @ v
        smooth = self.loss.value(fit, self.Y)
        smooth = smooth + self.beta / 2 * (np.sum(u**2) + np.sum(v**2))
        return float(smooth - self.mu * np.sum(np.log(s)))

    def expand(
        self, neurons: CellNeurons, s: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Gradient, gradient of the Lagrangian [m, d + c], and a Hessian of m (d + c).

        The Hessian has z / s for mu / s^2, which makes the steps primal-dual.
        """
        u, v, z = neurons.u, neurons.v, neurons.z
        (m, d), (n, c) = u.shape, self.Y.shape
        at, outer = np.arange(m), np.arange(d, d + c)
        fits = np.einsum("mnd,md->mn", self.features, u)
        fit = fits.T @ v
        slopes = self.loss.gradient(fit, self.Y)
        jacobian = np.zeros((m, d + c, n, c))
        jacobian[:, :d] = np.einsum("mnd,mc->mdnc", self.features, v)
        jacobian[:, outer, :, outer - d] = fits
        jacobian = jacobian.reshape(m * (d + c), n * c)
        plain = (jacobian @ slopes.ravel()).reshape(m, d + c)
        plain += self.beta * np.hstack([u, v])
        slope, forces = plain.copy(), plain
        slope[:, :d] -= np.einsum("mkd,mk->md", self.walls, self.mu / s)
        forces[:, :d] -= np.einsum("mkd,mk->md", self.walls, z)
        bent = jacobian
        if not self.loss.quadratic:
            curvatures = np.asarray(_curvatures(self.loss, fit, self.Y))
            bent = jacobian.reshape(-1, n, 1, c) @ curvatures
            bent = bent.reshape(jacobian.shape)
        hessian = bent @ jacobian.T + self.beta * np.eye(m * (d + c))
        blocks = hessian.reshape(m, d + c, m, d + c)
        cross = np.einsum("mnd,nc->mdc", self.features, slopes)
        blocks[at, :d, at, d:] += cross
        blocks[at, d:, at, :d] += np.swapaxes(cross, 1, 2)
        weighted = self.walls * (z / s)[..., None]
        blocks[at, :d, at, :d] += np.swapaxes(weighted, 1, 2) @ self.walls
        return slope, forces, hessian


@jax.jit
def _curvatures(loss: Any, fit: Any, Y: Any) -> jax.Array:
    """The second derivatives of L in the outputs of each sample, [n, c, c]."""

    def along(output: jax.Array) -> jax.Array:
        tangent = jnp.broadcast_to(output, fit.shape)
        return jax.jvp(lambda z: loss.gradient(z, Y), (fit,), (tangent,))[1]

    return jnp.swapaxes(jax.vmap(along)(jnp.eye(fit.shape[1], dtype=fit.dtype)), 0, 1)


def _direction(
    hessian: np.ndarray, slope: np.ndarray, damping: float
) -> tuple[np.ndarray, float]:
    """-(H + damping I)^-1 slope, and the damping that makes H positive definite."""
    eye = np.eye(len(hessian))
    while np.isfinite(damping):
        try:
            factor = scipy.linalg.cho_factor(
                hessian + damping * eye, check_finite=False
            )
        except scipy.linalg.LinAlgError:
            damping *= 4
        else:
            step = scipy.linalg.cho_solve(factor, slope.ravel(), check_finite=False)
            return -step.reshape(slope.shape), damping
    return np.full_like(slope, np.nan), damping


def _room(s: np.ndarray, ds: np.ndarray) -> float:
    """The longest step up to 1 that leaves s > 0 a rest."""
    return _KEEP / max(_KEEP, float(np.max(-ds / s)))
