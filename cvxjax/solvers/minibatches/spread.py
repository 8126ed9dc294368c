"""Minibatch steps on a mesh: patterns spread over one axis, rows over the other.

Every device has its share of the gates and all weights of their patterns, so that a
step communicates its predictions [b, c], in one all-reduce, and no weights. Only a mesh
that spreads rows too adds up gradients, over its axis of rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cvxjax.devices.sharding import PATTERNS, SAMPLES
from cvxjax.solvers.minibatches.minibatch import GateModel, Sums
from cvxjax.solvers.minibatches.stochastic import MinibatchIterate, Stochastic

Array = jax.Array

_EVERYWHERE = PartitionSpec()


def spread_model(model: GateModel, mesh: Mesh) -> GateModel:
    """The model with its gates over the axis "patterns" of the mesh.

    Args:
      model: with all gates, [P, d].
      mesh: of axes "samples" and "patterns".

    Raises:
      ValueError: if P is not a multiple of the devices along "patterns".
    """
    P, devices = len(model.gates), mesh.shape[PATTERNS]
    if P % devices:
        raise ValueError(f"want P, a multiple of {devices} devices; got {P}")
    rows = SAMPLES if mesh.shape[SAMPLES] > 1 else None
    model = model.replace(axis=PATTERNS, rows_axis=rows)
    return jax.device_put(model, _places(model, mesh))


def spread_iterate(
    solver: Stochastic, shape: tuple[int, ...], dtype: Any, mesh: Mesh
) -> MinibatchIterate:
    """`solver.start` at zero weights [S, P, c, d], made where they belong."""

    def start() -> MinibatchIterate:
        return solver.start(jnp.zeros(shape, dtype))

    return jax.jit(start, out_shardings=_places(jax.eval_shape(start), mesh))()


def compile_move(
    solver: Stochastic, model: GateModel, iterate: MinibatchIterate, mesh: Mesh
) -> Callable[..., tuple[MinibatchIterate, Array]]:
    """`solver.move` as one program over the mesh, which takes the iterate's memory.

    Args:
      model: of `spread_model`.
      iterate: of `spread_iterate`; its shapes alone matter.

    Returns:
      A function (model, iterate, x [b, d], y [b, c], step size) -> (iterate, L / b).
    """
    state, batch = _specs(iterate), PartitionSpec(model.rows_axis)
    spread = jax.shard_map(
        solver.move,
        mesh=mesh,
        in_specs=(_specs(model), state, batch, batch, _EVERYWHERE),
        out_specs=(state, _EVERYWHERE),
    )
    return jax.jit(spread, donate_argnums=1)


def compile_sums(model: GateModel, mesh: Mesh) -> Callable[..., tuple[Sums, Array]]:
    """A function (model, w, x, y) -> (`model.sums`, R(w)), rows on every device."""

    def both(model: GateModel, w: Array, x: Array, y: Array) -> tuple[Sums, Array]:
        return model.sums(w, x, y), model.penalty(w)

    weights = PartitionSpec(None, PATTERNS)
    spread = jax.shard_map(
        both,
        mesh=mesh,
        in_specs=(_specs(model), weights, _EVERYWHERE, _EVERYWHERE),
        out_specs=(_EVERYWHERE, _EVERYWHERE),
    )
    return jax.jit(spread)


def _specs(tree: Any) -> Any:
    """Gates [P, d] and weights [S, P, c, d], also in memory, over the patterns."""
    specs = {2: PartitionSpec(PATTERNS), 4: PartitionSpec(None, PATTERNS)}
    return jax.tree.map(lambda leaf: specs.get(jnp.ndim(leaf), _EVERYWHERE), tree)


def _places(tree: Any, mesh: Mesh) -> Any:
    return jax.tree.map(lambda spec: NamedSharding(mesh, spec), _specs(tree))
