"""ReLU networks from gated ones, by the cone decomposition of every neuron.

A gated neuron u acts through the fixed pattern D, on whatever side of its hyperplanes
u lies. Written as u = v - w with v and w in the pattern's cone, it is two ReLU neurons:
D X u = (X v)_+ - (X w)_+. The shortest such pair solves

    minimise  ||v||_2 + ||w||_2   subject to  v - w = u,  A v >= 0,  A w >= 0,

A = (2 D - I) X. With b = (-A u)_+ the constraints are A w >= b, and the optimality
conditions say, unless u or -u is in the cone, that

    w(t) = argmin ||w + t u|| subject to A w >= b,   t = ||w|| / (||v|| + ||w||):

one least-distance problem for each t in [0, 1], and one equation in t. It has one root,
because the objective is strictly convex off the line of u.

How long the pair is depends on the cone: if its half-angle is a, a u across it needs
||v|| + ||w|| near ||u|| / sin a. With independent rows of X, ||v|| + ||w|| <=
(1 + 2 cond(X)) ||u||; with more samples than features there is no bound: over all 12
patterns of 30 Gaussian data sets [6, 2], beta = 0.1, the objective of an optimal gated
network grew 8.9 times (median; at most 550), and no other pairs are shorter. The ReLU
network is then far from optimal; `Decomposition.ratio` says how far.

Source: Mishkin, Sahiner & Pilanci, Fast convex optimization for two-layer ReLU networks
(ICML 2022), section 4, for the decomposition; Lawson & Hanson, Solving Least Squares
Problems (1974), chapter 23, for least distance by NNLS; the equation in t is ours.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy

from cvxjax.interfaces import Program
from cvxjax.record import Record
from cvxjax.terms.cones import SignCones, make_sign_cones

Array = jax.Array

_EPS = np.finfo(np.float64).eps


class Decomposition(Record):
    """A feasible point of the ReLU program with the predictions of a gated network."""

    program: Any  # the ReLU program over the same patterns
    params: Array  # [2, P, d], inside the cones
    objective: float  # of `params`, in float64
    gated: float  # of the gated network; at its optimum a bound of the ReLU program
    bound: float  # no cone decomposition of this gated network has a lower objective

    @property
    def ratio(self) -> float:
        """The ReLU objective over the gated one, >= 1."""
        return self.objective / self.gated


def to_relu(program: Program, params: Any) -> Decomposition:
    """Writes every gated neuron as two ReLU neurons of its pattern.

    Minimises ||v_i|| + ||w_i|| over v_i - w_i = params_0i - params_1i in the cone of
    pattern i, for each i separately, on the host in float64. Neurons inside their cone
    do not change, and predictions stay the same to rounding.

    Args:
      program: gated, from `make_two_layer(..., gated=True)`.
      params: [2, P, d], of any point of it.

    Returns:
      Decomposition d: `d.program.recover(d.params)` are the variables of the ReLU
      network, and `d.params` may be a `start` for solving `d.program`.

    Raises:
      ValueError: if the program is not gated, `params` are not its own or not finite,
        or a non-zero neuron's pattern is that of no open cell: its gate lies on a
        hyperplane, and v - w cannot reach every u.
    """
    gated: Any = program
    if gated.cones is not None:
        raise ValueError(
            "want a gated program, make_two_layer(..., gated=True); got one with cones"
        )
    blocks = gated.checked(params).astype(np.float64)
    if not np.all(np.isfinite(blocks)):
        raise ValueError("want finite params; got NaN or infinity")
    masks, gates = np.asarray(gated.masks), np.asarray(gated.gates)
    cones, kept = make_sign_cones(np.asarray(gated.X), masks, gates)
    whole = blocks[0] - blocks[1]
    lost = int(np.sum(np.any(whole != 0, axis=1) & ~kept))
    if lost:
        raise ValueError(
            f"want gates off the hyperplanes of X; got {lost} neurons on gates whose "
            "patterns belong to no open cell"
        )
    relu = gated.replace(cones=cones, masks=cones.masks, gates=jnp.asarray(gates[kept]))
    pairs, shortest = _decompose_all(cones, whole[kept])
    judge = relu.judge()
    y, beta = np.asarray(gated.y, np.float64), float(gated.beta)
    fit = float(gated.loss.value(judge.predict(pairs), y))
    return Decomposition(
        program=relu,
        params=jnp.asarray(pairs),
        objective=fit + beta * judge.penalty(pairs),
        gated=fit + beta * judge.penalty(whole[None]),
        bound=fit + beta * shortest,
    )


def decompose(
    A: np.ndarray, u: np.ndarray, inside: np.ndarray
) -> tuple[np.ndarray, np.ndarray, float]:
    """argmin ||v|| + ||w|| over v - w = u, A v >= 0 and A w >= 0, to rounding.

    Args:
      A: [n, d], unit rows.
      u: [d].
      inside: [d], unit, A inside > 0; the deeper, the more precise in narrow cones.

    Returns:
      v [d], w [d] and a lower bound of every pair's ||v|| + ||w||, by weak duality.
    """
    size = float(np.linalg.norm(u))
    along = A @ u
    rounding = 8 * len(u) * _EPS * size
    if np.all(along >= -rounding):
        return u, np.zeros_like(u), size
    if np.all(along <= rounding):
        return np.zeros_like(u), -u, size
    b, margin = np.maximum(-along, 0), A @ inside

    def split(t: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        move, multipliers = _least_distance(A, b + t * along, margin)
        return move - t * u + u, move - t * u, multipliers

    def excess(t: float) -> float:
        v, w, _ = split(t)
        return t * float(np.linalg.norm(v)) - (1 - t) * float(np.linalg.norm(w))

    try:
        with np.errstate(divide="raise", invalid="raise"):
            root: Any = scipy.optimize.brentq(
                excess, 0.0, 1.0, xtol=_EPS, rtol=4 * _EPS
            )
            v, w, multipliers = split(root)
            return v, w, max(size, _lower_bound(A, b, u, v, w, multipliers))
    except (RuntimeError, FloatingPointError):  # a cone as narrow as rounding
        w = np.max(b / margin) * inside
        return w + u, w, size


def _lower_bound(
    A: np.ndarray,
    b: np.ndarray,
    u: np.ndarray,
    v: np.ndarray,
    w: np.ndarray,
    multipliers: np.ndarray,
) -> float:
    """b^T mu - q^T u for mu >= 0, p + q + A^T mu = 0, ||p|| <= 1, ||q|| <= 1.

    It bounds ||v|| + ||w|| by weak duality. At the optimum p = -w / ||w||,
    q = -v / ||v||, and mu is the least distance's times 1 / ||v|| + 1 / ||w||. Off it,
    q follows from p and mu, and all are scaled.
    """
    length = np.linalg.norm(w)
    mu = multipliers * (1 / length + 1 / np.linalg.norm(v))
    q = w / length - A.T @ mu
    return float((b @ mu - q @ u) / max(1.0, np.linalg.norm(q)))


def _least_distance(
    A: np.ndarray, h: np.ndarray, margin: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """argmin ||x|| subject to A x >= h, and mu >= 0 [n] with x = A^T mu.

    NNLS finds the active rows; solving these as equations is more precise.

    Args:
      h: [n], >= 0 and not 0.
      margin: [n], > 0, A times a unit vector, some multiple of which is feasible.
    """
    scale = np.max(h / margin)
    for _ in range(2):  # the second round knows the size of x
        target = np.append(np.zeros(A.shape[1]), 1.0)
        mu, _ = scipy.optimize.nnls(np.vstack([A.T, h / scale]), target)
        gap = 1 - h @ mu / scale
        mu = mu * (scale / gap)
        scale = np.linalg.norm(A.T @ mu)
    rows = np.flatnonzero(mu > 0)
    x = np.linalg.lstsq(A[rows], h[rows], rcond=None)[0]
    return x, mu


def _decompose_all(cones: SignCones, whole: np.ndarray) -> tuple[np.ndarray, float]:
    """Decomposes every row of `whole` [P, d].

    Returns:
      [2, P, d] in the cones, in the dtype of the program, and a lower bound of the
      least sum of norms.
    """
    rows = np.asarray(cones.rows, np.float64)
    masks, interior = np.asarray(cones.masks), np.asarray(cones.interior, np.float64)
    live = np.any(rows != 0, axis=1)
    pairs = np.zeros((2, *whole.shape))
    shortest = 0.0
    for i in np.flatnonzero(np.any(whole != 0, axis=1)):
        A = np.where(masks[i], 1.0, -1.0)[live, None] * rows[live]
        v, w, least = decompose(A, whole[i], interior[i])
        shortest += least
        # Rounding may leave v or w outside; both are moved, so that v - w stays u.
        margin = A @ interior[i]
        outside = np.maximum(-np.minimum(A @ v, A @ w), 0)
        lift = np.max(outside / margin, initial=0.0)
        pairs[:, i] = v + lift * interior[i], w + lift * interior[i]
    return pairs.astype(np.asarray(cones.rows).dtype), shortest
