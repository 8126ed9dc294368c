"""The activation patterns around the neurons of a trained network.

Training tends to leave neurons on kinks, the hyperplanes x_i^T u = 0 of some samples,
up to rounding or the optimiser's tolerance. The signs of such a neuron are arbitrary
there. So the neuron is taken to lie on those hyperplanes, and all cells around that
face are listed, each with a gate well inside.
"""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from cvxjax.algebra.row_space import coordinates
from cvxjax.arrangements.exact import enumerate_patterns
from cvxjax.arrangements.patterns import (
    Patterns,
    check_data,
    count_bound,
    find_lines,
    unit,
)
from cvxjax.solution import Scope

_AROUND = 256  # the most cells around a face that are all listed
_SIDES = 32  # random directions to sample where there may be more
_ZERO = 1e-13  # a product of unit vectors that is zero up to rounding


def from_network(X: ArrayLike, first: Any, *, tol: float = 1e-6) -> Patterns:
    """The patterns of all open cells whose closure holds a neuron of the network.

    A neuron u lies on the kink of row i if |z_i^T c| <= tol ||z_i|| ||c||, where z_i
    and c are the row and the neuron in coordinates in which the columns of X are
    orthonormal: units and offsets of columns do not matter. Where more than 256 cells
    may meet at a neuron, some are sampled, on both sides of every kink and beyond.

    Args:
      X: [n, d].
      first: the first layer's weights [d, m], a Flax kernel; or the variables of a
        `cj.networks.TwoLayer`. Neurons that are zero on every sample are passed over.
      tol: >= 0, as above.

    Returns:
      Patterns of scope SAMPLED, in the order of the neurons, with gates strictly inside
      their cells. A neuron off its kinks by more than rounding is not in the listed
      cells itself, but within tol of them.

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
        gates=jnp.asarray(unit(inner @ space.change.T).astype(data.dtype)),
        scope=Scope.SAMPLED,
    )


def _around(rows: np.ndarray, point: np.ndarray, tol: float) -> list[np.ndarray]:
    """Points inside the cells whose closure holds the unit `point` [r], up to tol."""
    kinks = np.abs(rows @ point) <= tol
    for _ in range(len(rows)):
        face = point
        if np.any(kinks):
            meet = rows[kinks]
            face = point - np.linalg.pinv(meet, rcond=1e-12) @ (meet @ point)
        size = np.linalg.norm(face)
        if size <= max(tol, _ZERO):  # the kinks meet at 0 alone, as all cells do
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
    """Directions from a face into the cells around it, that of the neuron first.

    Args:
      meet: the rows that vanish on the face.
      towards: from the face to the neuron.
    """
    tried = [towards] if np.min(np.abs(meet @ towards)) > _ZERO else []
    lines = find_lines(meet).directions
    if count_bound(*lines.shape) <= _AROUND:
        cells = enumerate_patterns(meet)
        signs = np.where(np.asarray(cells.masks), 1.0, -1.0)
        gates = np.asarray(cells.gates, np.float64)
        right = np.all(signs * (meet @ gates.T).T > 0, axis=1)
        return tried + list(gates[right])
    draws = np.random.default_rng(0).standard_normal((_SIDES, meet.shape[1]))
    sides = [s * row for row in meet for s in (1.0, -1.0)]
    return tried + sides + [s * draw for draw in draws for s in (1.0, -1.0)]


def _beside(
    rows: np.ndarray, face: np.ndarray, heights: np.ndarray, step: np.ndarray
) -> list[np.ndarray]:
    """The unit vector half way from the face along `step` to the next hyperplane.

    Args:
      heights: rows @ face, 0 for the rows that vanish there.

    Returns:
      A list with this vector; empty if it lies on a hyperplane itself.
    """
    step = unit(step)
    slopes = rows @ step
    back = (heights != 0) & (heights * slopes < 0)
    reach = np.min(-heights[back] / slopes[back], initial=1.0)
    inner = unit(face + reach / 2 * step)
    return [inner] if np.min(np.abs(rows @ inner)) > _ZERO else []
