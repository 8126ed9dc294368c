"""The open cells that a trained network's neurons touch.

Training likes to leave neurons on kinks, hyperplanes x_i^T u = 0 of some samples, up to
rounding or to the optimiser's tolerance. Such a neuron's own signs name a cell as thin
as that; here the kinks are taken for what they are, and the cells around the face on
which the neuron lies are listed, each with a gate well inside.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from cvxjax.algebra.row_space import RowSpace, coordinates
from cvxjax.arrangements.exact import enumerate_patterns
from cvxjax.arrangements.patterns import (
    Patterns,
    check_data,
    count_bound,
    find_lines,
    unit,
)
from cvxjax.solution import Scope

_TOL = 1e-6
_AROUND = 256  # cells of one face that are all listed
_SIDES = 32  # directions that are tried where there may be more
_ZERO = 1e-13  # of a unit row's product: zero to rounding


def from_network(X: ArrayLike, first: Any, *, tol: float = _TOL) -> Patterns:
    """The patterns of all open cells whose closure holds a neuron of the network.

    Row i is a kink of neuron u where |z_i^T c| <= tol ||z_i|| ||c||, with z_i and c
    the row and the neuron in coordinates in which the columns of X are orthonormal:
    units and offsets of columns do not matter. Of a face on which many kinks meet in
    many directions, cells beside it are sampled: each kink from both sides, and more.

    Args:
      X: [n, d].
      first: the first layer's weights [d, m], a Flax kernel; or the variables of a
        `cj.networks.TwoLayer`. Neurons that are zero on every sample are passed over.
      tol: relative size of a product that counts as a kink, >= 0.

    Returns:
      Patterns of scope SAMPLED, gates strictly inside, the neurons' order kept. Only
      neurons within rounding of their kinks are in a listed closed cell exactly; the
      others, within tol, are next to one.

    Raises:
      ValueError: if shapes do not fit, or no neuron is active on any sample.
    """
    data = check_data(X)
    kernel = first
    if isinstance(first, dict):
        try:
            kernel = first.get("params", first)["first"]["kernel"]
        except (KeyError, TypeError):
            raise ValueError(
                "want weights [d, m], or variables with params/first/kernel; got a "
                f"dict of {sorted(map(str, first))}"
            ) from None
    if np.ndim(kernel) != 2 or np.shape(kernel)[0] != data.shape[1]:
        raise ValueError(
            f"want first-layer weights [{data.shape[1]}, m] for X {data.shape}; got "
            f"shape {np.shape(kernel)}"
        )
    weights = check_data(kernel).astype(np.float64)
    if not (np.isfinite(tol) and tol >= 0):
        raise ValueError(f"want a finite tol >= 0; got {tol}")
    live = np.any(data != 0, axis=1)
    space = coordinates(data)
    rows = unit(space.rows[live])
    values = weights.T @ data[live].astype(np.float64).T  # [m, n']
    values = np.ldexp(values, -space.exponents[live])
    lengths = np.linalg.norm(space.rows[live], axis=1)
    points = (values / lengths) @ np.linalg.pinv(rows).T
    found: dict[bytes, tuple[np.ndarray, np.ndarray]] = {}
    for point in points:
        if np.linalg.norm(point) > 0:
            for inner in _around(rows, unit(point), tol):
                mask = np.ones(len(data), bool)
                mask[live] = rows @ inner > 0
                found.setdefault(mask.tobytes(), (mask, inner))
    if not found:
        raise ValueError(
            f"want a neuron that is active on some sample; got {len(points)} without"
        )
    masks, inner = (np.stack(parts) for parts in zip(*found.values(), strict=True))
    return Patterns(
        masks=jnp.asarray(masks),
        gates=jnp.asarray(_gates(space, inner).astype(data.dtype)),
        scope=Scope.SAMPLED,
    )


def _gates(space: RowSpace, points: np.ndarray) -> np.ndarray:
    return unit(points @ space.change.T)


def _around(rows: np.ndarray, point: np.ndarray, tol: float) -> list[np.ndarray]:
    """Points inside the cells whose closure holds the unit `point` [r], up to tol."""
    kinks = np.abs(rows @ point) <= tol
    for _ in range(len(rows)):
        face = point
        if np.any(kinks):
            meet = rows[kinks]
            face = point - np.linalg.pinv(meet, rcond=1e-12) @ (meet @ point)
        size = np.linalg.norm(face)
        if size <= max(tol, _ZERO):  # the kinks leave no direction: all cells meet
            face, kinks = 0 * point, np.ones(len(rows), bool)
            break
        face = face / size
        more = ~kinks & (np.abs(rows @ face) <= _ZERO)
        if not np.any(more):
            break
        kinks = kinks | more
    if not np.any(kinks):
        return [point]
    steps = _steps(rows[kinks], point - face)
    heights = np.where(kinks, 0.0, rows @ face)
    return [inner for step in steps for inner in _beside(rows, face, heights, step)]


def _steps(meet: np.ndarray, towards: np.ndarray) -> list[np.ndarray]:
    """Directions from a face into its cells; first the neuron's own."""
    tried = [towards] if np.min(np.abs(meet @ towards)) > _ZERO else []
    lines = find_lines(meet).directions
    if count_bound(*lines.shape) <= _AROUND:
        space = coordinates(meet)
        cells = enumerate_patterns(meet)
        signs = np.where(np.asarray(cells.masks), 1.0, -1.0)
        gates = np.asarray(cells.gates, np.float64)
        right = np.all(signs * (meet @ gates.T).T > 0, axis=1)
        return tried + list(gates[right]) if space.rank else tried
    draws = np.random.default_rng(0).standard_normal((_SIDES, meet.shape[1]))
    sides = [s * row for row in meet for s in (1.0, -1.0)]
    return tried + sides + [s * draw for draw in draws for s in (1.0, -1.0)]


def _beside(
    rows: np.ndarray, face: np.ndarray, heights: np.ndarray, step: np.ndarray
) -> list[np.ndarray]:
    """The unit point half the way from the face to the next hyperplane, if inside."""
    step = unit(step)
    slopes = rows @ step
    back = (heights != 0) & (heights * slopes < 0)
    reach = np.min(-heights[back] / slopes[back], initial=1.0)
    inner = unit(face + reach / 2 * step)
    return [inner] if np.min(np.abs(rows @ inner)) > _ZERO else []
