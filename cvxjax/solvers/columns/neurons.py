"""The neurons that column generation works with, and their way into a program.

A neuron of sign s and size c > 0 in direction u predicts s c f(u), where f(u) of a
sample is the sum of (x^T u)_+ over its rows x.
"""

from __future__ import annotations

from typing import Any, NamedTuple, Self

import numpy as np

from cvxjax.bounds.ascent import ON

_DIGITS = 9  # by which directions agree that are taken to be the same
_NEAR = 1e-8  # |x^T u| of unit vectors: planes from which a gate moves away
_ROUNDING = 1e-15  # the same, that is zero up to rounding
_DRAWS = 32  # choices of sides on which a neuron may leave the planes it lies on
_ROOM = 0.5  # of the way to the next plane, for points inside of cells


class Rows(NamedTuple):
    """The data as unit rows, K of each sample; f(u) sums lengths (unit u)_+ over K."""

    unit: np.ndarray  # [n K, d], zero rows stay zero
    lengths: np.ndarray  # [n K]
    samples: int  # n

    @classmethod
    def of(cls, program: Any) -> Self:
        """The rows of a `NeuronProgram`, in float64."""
        X = np.asarray(program.rows, np.float64)
        lengths = np.linalg.norm(X, axis=1)
        unit = X / np.where(lengths > 0, lengths, 1)[:, None]
        return cls(unit, lengths, len(program.y))

    def weights(self, v: np.ndarray) -> np.ndarray:
        """w [n K] with v^T f(u) = w^T (unit u)_+, for v [n]."""
        return np.repeat(v, len(self.unit) // self.samples) * self.lengths

    def features(self, u: np.ndarray) -> np.ndarray:
        """f(u_j) in columns, [n, m], for u [m, d]."""
        active = np.maximum(self.unit @ u.T, 0) * self.lengths[:, None]
        return active.reshape(self.samples, -1, len(u)).sum(axis=1)


class Neurons(NamedTuple):
    """Neurons with directions of length 1."""

    u: np.ndarray  # [m, d]
    signs: np.ndarray  # [m], 1 or -1
    sizes: np.ndarray  # [m], >= 0

    @classmethod
    def of(cls, w: np.ndarray, signs: np.ndarray) -> Self:
        """Neurons c u = w [m, d], without those of size 0."""
        sizes = np.linalg.norm(w, axis=1)
        live = sizes > 0
        return cls(w[live] / sizes[live, None], signs[live], sizes[live])

    def take(self, chosen: np.ndarray) -> Self:
        return type(self)(*(x[chosen] for x in self))

    def and_also(self, other: Neurons) -> Self:
        return type(self)(*map(np.concatenate, zip(self, other, strict=True)))

    def predictions(self, rows: Rows) -> np.ndarray:
        """s_j f(u_j) in columns, [n, m]."""
        return rows.features(self.u) * self.signs

    def distinct(self) -> Self:
        """Without later copies of the same direction and sign."""
        keys = np.column_stack([np.round(self.u, _DIGITS), self.signs])
        first = np.unique(keys, axis=0, return_index=True)[1]
        return self.take(np.sort(first))

    def joined(self, rows: Rows) -> Self:
        """Neurons of one sign and one closed cell replaced by their sum.

        Predictions stay what they were, and the sum of sizes does not grow. Groups are
        formed greedily, around the largest neurons.
        """
        w = self.u * self.sizes[:, None]
        products = rows.unit @ self.u.T
        above = (products > ON).astype(np.float32)
        below = (products < -ON).astype(np.float32)
        apart = above.T @ below
        alike = (apart + apart.T == 0) & (self.signs[:, None] == self.signs)
        free, sums, signs = np.ones(len(w), bool), [], []
        for j in np.argsort(-self.sizes):
            if not free[j]:
                continue
            group, may = [j], alike[j] & free
            may[j] = False
            while np.any(may):
                k = int(np.argmax(may))
                group.append(k)
                may &= alike[k]
                may[k] = False
            free[group] = False
            sums.append(w[group].sum(axis=0))
            signs.append(self.signs[j])
        return type(self).of(np.reshape(sums, (-1, w.shape[1])), np.asarray(signs))


def open_cells(rows: Rows, u: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """For every unit u [m, d], an open cell whose closure holds it.

    Signs of products that are more than rounding stay. Where u lies on planes of rows,
    a direction is sought in which it leaves all of them; zero rows count as active.

    Returns:
      masks [m, n K] and gates [m, d], unit, inside of the cells, or near them where a
      cell is thin.
    """
    rng, live = np.random.default_rng(0), rows.lengths > 0
    masks, gates = [], []
    for point, products in zip(u, u @ rows.unit.T, strict=True):
        near = live & (np.abs(products) <= _NEAR)
        gate, mask = point, products > 0
        if np.any(near):
            sides = np.where(np.abs(products[near]) > _ROUNDING, products[near], 0)
            step = _away(rng, rows.unit[near], np.sign(sides))
            change = rows.unit @ step
            mask[near] = np.where(sides == 0, change[near] > 0, sides > 0)
            back = live & ~near & (products * change < 0)
            reach = np.min(-products[back] / change[back], initial=1.0)
            gate = point + _ROOM * reach * step
        masks.append(mask | ~live)
        gates.append(gate / np.linalg.norm(gate))
    shape = (-1, len(rows.unit)), (-1, u.shape[1])
    return np.reshape(masks, shape[0]).astype(bool), np.reshape(gates, shape[1])


def _away(
    rng: np.random.Generator, planes: np.ndarray, sides: np.ndarray
) -> np.ndarray:
    """A unit direction that leaves all planes [k, d] through 0, the steepest of some.

    Args:
      rng: for sides that are free.
      planes: unit rows.
      sides: [k], 1 or -1 for the side of a plane on which to end, 0 for either.
    """
    drawn = rng.choice([-1.0, 1.0], size=(_DRAWS, len(planes)))
    drawn[:, sides != 0] = sides[sides != 0]
    tried = drawn @ np.linalg.pinv(planes).T
    tried /= np.maximum(np.linalg.norm(tried, axis=1, keepdims=True), 1e-300)
    reached = tried @ planes.T
    depth = np.where(sides == 0, np.abs(reached), sides * reached)
    return tried[np.argmax(np.min(depth, axis=1))]


def of_blocks(params: Any) -> Neurons:
    """The neurons of blocks [2, P, d]."""
    blocks = np.asarray(params, np.float64)
    signs = np.repeat([1.0, -1.0], blocks.shape[1])
    return Neurons.of(blocks.reshape(-1, blocks.shape[-1]), signs)


def as_blocks(program: Any, rows: Rows, neurons: Neurons) -> tuple[Any, np.ndarray]:
    """The program over its patterns and those of the neurons, and the parameters.

    Neurons of the same cell and sign are added up.
    """
    masks, gates = open_cells(rows, neurons.u)
    own = np.asarray(program.masks)
    place = {mask.tobytes(): i for i, mask in reversed(list(enumerate(own)))}
    new: dict[bytes, int] = {}
    for i, mask in enumerate(masks):
        if mask.tobytes() not in place:
            new.setdefault(mask.tobytes(), i)
    if new:
        chosen = list(new.values())
        program = program.with_patterns(
            np.concatenate([own, masks[chosen]]),
            np.concatenate([np.asarray(program.patterns.gates), gates[chosen]]),
        )
        now = np.asarray(program.masks)
        place = {mask.tobytes(): i for i, mask in reversed(list(enumerate(now)))}
    params = np.zeros(program.shape)
    w = neurons.u * neurons.sizes[:, None]
    for mask, sign, block in zip(masks, neurons.signs, w, strict=True):
        if mask.tobytes() in place:
            params[0 if sign > 0 else 1, place[mask.tobytes()]] += block
    return program, params
