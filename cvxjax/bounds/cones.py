"""The relaxation of `relaxed` on many convex cones at once.

On a cone {u : w_j^T u >= 0} every w_j^T u is its own absolute value, so that

    M_j w_j^T u - M_j |w_j^T u| = 0   for any M_j >= 0.

This adds concave terms to v^T a / 2 + sum_i v_i |a_i| / 2, a = X u, out of which the
convex ones may be paid like out of those that the data have: the d_i of `relaxed` also
lose multiples of w_j. Nothing else changes, and the bound becomes exact on cones that
are small. It is convex in v as before, for each cone.

So that thousands of cones can be bounded, a row k of the data pays for those few rows i
only for which it does so on the whole ball; the w_j pay for all. Rounding is estimated
as in `relaxed`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy

from cvxjax.bounds.balls import balls
from cvxjax.bounds.relaxed import Adam, Relaxation

Array = np.ndarray

_FAST = np.float32  # to improve parameters in
_PARTNERS = 24  # rows for which a row of the data may pay
_LINEAR = 3  # first columns of shares, as in `relaxed`
_RATE, _LOGIT_RATE, _WALL_RATE = 0.1, 0.3, 0.1  # of log c, logits, log M, at first
_LEAST = -8.0  # logits of new cones, relative to the largest: so that they can rise
_UNUSED = 1.0  # logit of a new w_j's share that changes nothing
_FIRST_WALL = 0.1  # M_j of a first w_j, in the units of `Cones.log_m`
_LONG = 1 + 1e-6  # so that no w_j is longer than one after rounding


class Cones(NamedTuple):
    """Parameters of the bounds of L cones; a cone with fewer w_j has zeros at the end.

    Each may have been found in any way: what they bound holds for all their values.
    """

    logits: Array  # [L, K, 3 + 2 q], of how |v_k| is shared
    log_c: Array  # [L, G]
    walls: Array  # [L, J, d], w_j of length at most one, or 0
    wall_logits: Array  # [L, J, 3 + 2 G], of how M_j is shared
    log_m: Array  # [L, J], in units of the sum of v_i ||x_i||, v_i > 0

    def take(self, which: Array | slice) -> Cones:
        """Some of the cones."""
        return Cones(*(array[which] for array in self))

    def exact(self) -> Cones:
        """In float64, for bounds that are to hold."""
        return Cones(*(np.asarray(array, np.float64) for array in self))


class _Data(NamedTuple):
    """The data in one dtype."""

    X: Array  # [n, d]
    rows: Array  # [G, d], with v_i > 0
    others: Array  # [K, d], with v_k < 0


class Bounds(NamedTuple):
    """Bounds of L cones, and where they are attained on average."""

    values: Array  # [L]
    points: Array  # [L, d], u
    moments: Array  # [L, d, d], of u u^T


class Slopes(NamedTuple):
    """Derivatives of all bounds in their parameters, and in v."""

    logits: Array
    log_c: Array
    wall_logits: Array
    log_m: Array
    v: Array  # [L, n]


class ConeRelaxation:
    """Bounds on cones, for one data set and one sign pattern of v.

    Args:
      whole: the relaxation on the whole ball, improved, without a linear function.
    """

    def __init__(self, whole: Relaxation) -> None:
        self.X, self.gain, self.cost = whole.X, whole.gain, whole.cost
        self.lengths = whole.lengths
        values, vectors = np.linalg.eigh(self.X.T @ self.X)
        self.metric = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
        self._data = {
            np.dtype(kind): _Data(
                *(
                    array.astype(kind)
                    for array in (self.X, self.X[self.gain], self.X[self.cost])
                )
            )
            for kind in (_FAST, np.float64)
        }
        logits, log_c = whole.parameters
        paid = logits[:, _LINEAR:].reshape(len(logits), 2, whole.paid)
        q = min(_PARTNERS, whole.paid)
        strength = -np.max(paid, axis=1)
        self.partners = np.sort(np.argpartition(strength, q - 1, axis=1)[:, :q], axis=1)
        kept = np.take_along_axis(paid, self.partners[:, None], axis=2)
        start = [logits[:, :_LINEAR], kept.reshape(len(logits), 2 * q)]
        (n, d), G = self.X.shape, len(self.gain)
        places = self.partners * (n - G) + np.arange(n - G)[:, None]
        self._places = places.ravel()  # of partners among all products
        self.root = Cones(
            logits=np.concatenate(start, axis=1)[None].astype(_FAST),
            log_c=log_c[None].astype(_FAST),
            walls=np.zeros((1, 0, d), _FAST),
            wall_logits=np.zeros((1, 0, _LINEAR + 2 * G), _FAST),
            log_m=np.zeros((1, 0), _FAST),
        )

    def split(self, cones: Cones, bounds: Bounds) -> Cones:
        """Both halves of each cone, [2 L], cut where products with X vary most."""
        centres = bounds.points @ self.metric
        sizes = np.maximum(np.linalg.norm(centres, axis=1), 1e-300)
        along = centres / sizes[:, None]
        wide = self.metric @ bounds.moments @ self.metric
        wide = wide - centres[:, :, None] * centres[:, None, :]
        wide = wide - along[:, :, None] * np.einsum("bi,bij->bj", along, wide)[:, None]
        wide = wide - np.einsum("bij,bj->bi", wide, along)[:, :, None] * along[:, None]
        cuts = np.linalg.eigh((wide + np.swapaxes(wide, 1, 2)) / 2)[1][:, :, -1]
        cuts = cuts @ self.metric
        sizes = np.linalg.norm(cuts, axis=1, keepdims=True)
        cuts /= np.maximum(_LONG * sizes, 1e-300)
        L, d = cuts.shape
        G = len(self.gain)
        rest = np.maximum(
            cones.logits - np.max(cones.logits, axis=2, keepdims=True), _LEAST
        )
        used = np.any(cones.walls != 0, axis=2)
        J = int(np.max(np.sum(used, axis=1), initial=0)) + 1
        walls, log_m = np.zeros((2, L, J, d), _FAST), np.zeros((2, L, J), _FAST)
        logits = np.zeros((2, L, J, _LINEAR + 2 * G), _FAST)
        logits[..., _LINEAR:] -= np.log(max(1, G))
        known = min(J, cones.walls.shape[1])
        walls[:, :, :known] = cones.walls[:, :known]
        log_m[:, :, :known] = cones.log_m[:, :known]
        old = cones.wall_logits[:, :known]
        if known > 0:
            old = np.maximum(old - np.max(old, axis=2, keepdims=True), 2 * _LEAST)
        logits[:, :, :known] = old
        new, each = np.sum(used, axis=1), np.arange(L)
        logits[:, each, new] = 0
        logits[:, each, new, 0] = _UNUSED
        logits[:, each, new, _LINEAR:] = -np.log(max(1, G))
        log_m[:, each, new] = np.log(_FIRST_WALL / (1 + new))
        for side, sign in enumerate((1.0, -1.0)):
            walls[side, each, new] = sign * cuts
        return Cones(
            logits=np.concatenate([rest, rest]),
            log_c=np.concatenate([cones.log_c, cones.log_c]),
            walls=walls.reshape(2 * L, J, d),
            wall_logits=logits.reshape(2 * L, J, -1),
            log_m=log_m.reshape(2 * L, J),
        )

    def bound(self, cones: Cones, v: Array, smoothing: float) -> tuple[Bounds, Slopes]:
        """Bounds of v^T (X u)_+ over the unit vectors of each cone.

        Args:
          cones: L of them; their dtype is what is computed in, and only bounds in
            float64 hold.
          v: [n], with the signs that the relaxation was made for.
          smoothing: > 0, of the largest eigenvalues, relative.
        """
        (n, d), G, q = self.X.shape, len(self.gain), self.partners.shape[1]
        kind, walls = cones.logits.dtype, cones.walls
        X, rows, others = self._data[kind]
        v, all_lengths = v.astype(kind), self.lengths.astype(kind)
        gain, cost = v[self.gain], -v[self.cost]
        lengths = all_lengths[self.cost]
        shares = _softmax(cones.logits)
        parts = shares * cost[:, None]
        B = parts[..., _LINEAR : _LINEAR + q] - parts[..., _LINEAR + q :]
        wall_shares = _softmax(cones.wall_logits)
        unit = float(gain @ all_lengths[self.gain])
        M = np.exp(cones.log_m) * unit * np.any(walls != 0, axis=2)
        wall_parts = wall_shares * M[..., None]
        N = wall_parts[..., _LINEAR : _LINEAR + G] - wall_parts[..., _LINEAR + G :]
        rest = gain[:, None] * rows - self._paid(B, others)
        rest -= np.swapaxes(N, 1, 2) @ walls
        c = np.exp(cones.log_c) * (gain * all_lengths[self.gain])
        squares = parts[..., 2] / lengths
        left = M - wall_parts[..., 0] + wall_parts[..., 1]
        p = X.T @ v / 2 - (parts[..., 0] - parts[..., 1]) @ others / 2
        p = p + np.einsum("bj,bjd->bd", left, walls) / 2
        turned = np.swapaxes(rest, 1, 2)
        Q = (turned / c[:, None]) @ rest / 4
        Q -= (others.T * squares[:, None]) @ others / 2
        Q -= (np.swapaxes(walls, 1, 2) * wall_parts[:, None, :, 2]) @ walls / 2

        size = float(np.abs(v) @ all_lengths) + 2 * np.sum(M, axis=1)
        values, u, moments = balls(p, Q, smoothing * size / np.sqrt(d))
        weight = np.einsum("bgd,bgd,bg->b", rest, rest, 1 / c)
        scale = 2 * size + weight + np.sum(c, axis=1) + np.abs(values)
        terms = 8 * (n + d + walls.shape[1]) * np.finfo(float).eps
        values = values + np.sum(c, axis=1) / 4 + terms * scale

        u, moments = u.astype(kind), moments.astype(kind)
        pulled = rest @ moments
        slope_c = (1 - np.sum(pulled * rest, axis=2) / c**2) / 4 * c
        slope_rest = pulled / (2 * c[..., None])
        slope = np.empty_like(parts)
        slope[..., 0] = -(u @ others.T) / 2
        slope[..., 1] = -slope[..., 0]
        slope[..., 2] = -np.sum((others @ moments) * others, axis=2) / 2
        slope[..., 2] /= lengths
        for of_cone, pulls in zip(slope, slope_rest, strict=True):
            products = np.take(pulls @ others.T, self._places).reshape(-1, q)
            of_cone[:, _LINEAR : _LINEAR + q] = -products
        slope[..., _LINEAR + q :] = -slope[..., _LINEAR : _LINEAR + q]
        mean = np.einsum("bks,bks->bk", shares, slope)
        slope_v = u @ X.T / 2
        slope_v[:, self.gain] += np.sum(rows * slope_rest, axis=2) + slope_c / gain
        slope_v[:, self.cost] -= mean
        slope -= mean[..., None]
        slope *= parts
        reach = np.einsum("bjd,bd->bj", walls, u)
        wall = np.empty_like(wall_parts)
        wall[..., 0] = -reach / 2
        wall[..., 1] = reach / 2
        wall[..., 2] = -np.sum((walls @ moments) * walls, axis=2) / 2
        wall[..., _LINEAR : _LINEAR + G] = -walls @ np.swapaxes(slope_rest, 1, 2)
        wall[..., _LINEAR + G :] = -wall[..., _LINEAR : _LINEAR + G]
        wall_mean = np.einsum("bjs,bjs->bj", wall_shares, wall)
        slope_m = M * (wall_mean + reach / 2)
        of_unit = np.sum(slope_m, axis=1) / unit
        slope_v[:, self.gain] += of_unit[:, None] * all_lengths[self.gain]
        wall -= wall_mean[..., None]
        wall *= wall_parts
        slopes = Slopes(slope, slope_c, wall, slope_m, slope_v)
        return Bounds(values, u, moments), slopes

    def improve(self, cones: Cones, adam: Adam, slopes: Slopes, left: float) -> Cones:
        """One step of Adam; `left` is the share of steps still to come, 1 to 0."""
        rate = left + 0.01
        return cones._replace(
            logits=cones.logits + adam.move("B", slopes.logits, _LOGIT_RATE * rate),
            log_c=cones.log_c + adam.move("c", slopes.log_c, _RATE * rate),
            wall_logits=cones.wall_logits
            + adam.move("N", slopes.wall_logits, _LOGIT_RATE * rate),
            log_m=cones.log_m + adam.move("M", slopes.log_m, _WALL_RATE * rate),
        )

    def _paid(self, B: Array, others: Array) -> Array:
        """sum_k B_ki x_k for each i, [L, G, d], from B [L, K, q]."""
        L, K, q = B.shape
        G, d = len(self.gain), self.X.shape[1]
        columns = self.partners.ravel() + G * np.arange(L)[:, None]
        starts = np.arange(0, B.size + 1, q) if q > 0 else np.zeros(L * K + 1, int)
        matrix = scipy.sparse.csr_array(
            (B.ravel(), columns.ravel(), starts), shape=(L * K, L * G)
        )
        return (matrix.T @ np.tile(others, (L, 1))).reshape(L, G, d)


def stacked(parts: list[Cones]) -> Cones:
    """All cones of several batches, with as many w_j as the one with most."""
    J = max(part.walls.shape[1] for part in parts)
    padded = []
    for part in parts:
        more = J - part.walls.shape[1]
        padded.append(
            part._replace(
                walls=np.pad(part.walls, ((0, 0), (0, more), (0, 0))),
                wall_logits=np.pad(part.wall_logits, ((0, 0), (0, more), (0, 0))),
                log_m=np.pad(part.log_m, ((0, 0), (0, more))),
            )
        )
    return Cones(*(np.concatenate(arrays) for arrays in zip(*padded, strict=True)))


def _softmax(logits: Array) -> Array:
    shares = logits - np.max(logits, axis=2, keepdims=True)
    np.exp(shares, out=shares)
    shares /= np.sum(shares, axis=2, keepdims=True)
    return shares
