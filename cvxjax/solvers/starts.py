"""Where a solver starts: parameters and, after a similar program, its dual solution."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import trees
from cvxjax.arrangements.patterns import Patterns, cells_holding
from cvxjax.forms.contracts import Neurons
from cvxjax.interfaces import NeuronProgram
from cvxjax.record import Record
from cvxjax.solution import Scope, Solution

_ON = 1e-12  # of the lengths: a product that counts as zero


class Start(Record):
    """A point to start from; None stands for what is not known.

    Solvers use what they can. Stepwise ones do so in `adopt(program, state, start)`,
    which is called after `init`.
    """

    params: Any  # of the program's shape; [2, P', d] where `patterns` has P'
    dual: Any = None  # as y, minus a gradient of the loss
    multipliers: Any = None  # of the cones, >= 0, in the units of a solution's
    patterns: Any = None  # of params; None: the program's


def as_start(given: Any) -> Start | None:
    """A start of parameters, of a solution, or of nothing."""
    if given is None or isinstance(given, Start):
        return given
    if isinstance(given, Solution):
        return Start(
            params=given.params,
            dual=given.dual,
            multipliers=given.multipliers,
            patterns=given.patterns,
        )
    return Start(params=given)


def rescaled_dual(
    program: Any, v: Any, multipliers: Any, gauge: Any
) -> tuple[Any, Any]:
    """The dual vector v of a similar program, scaled to be feasible at this beta.

    So are its multipliers, if there are any. The gauge is the largest price of v.
    """
    scale = jnp.where(gauge > 0, program.beta / jnp.where(gauge > 0, gauge, 1), 1)
    v = -program.loss.clip_dual(-scale * v, program.y)
    return v, None if multipliers is None else scale * multipliers


def check_start(given: Any, program: Any, solver: Any) -> Start | None:
    """`as_start` of what a user gave, in the program's dtype, or ValueError."""
    networks = isinstance(program, NeuronProgram | Neurons)
    if networks and isinstance(given, Mapping | tuple):
        given = _of_network(given, program)
        keeps = solver is None or not solver.leaves_patterns
        if given is not None and given.patterns is not None and keeps:
            given = _on_listed(given, program)
    start = as_start(given)
    if start is None:
        return None
    dtype, own = program.X.dtype, start.patterns
    params = jax.tree.map(lambda x: _array(x, "start", dtype), start.params)
    wanted = jax.eval_shape(program.zeros)
    if program.free_width:  # neurons lie in any cells
        start = start.replace(patterns=None)
        own = None
    if own is not None:
        if solver is None or not solver.leaves_patterns:
            raise ValueError(
                f"want a start on the program's own patterns for "
                f"{type(solver).__name__}; got a solution with patterns of its own, "
                "whose program is program.with_patterns(patterns.masks, patterns.gates)"
            )
        shape = (program.shape[0], len(own.masks), *program.shape[2:])
        wanted = jax.ShapeDtypeStruct(shape, dtype)
    if not (trees.alike(params, wanted) or own is None and program.holds(params)):
        wanted, got = trees.shapes_of(wanted), trees.shapes_of(params)
        raise ValueError(f"want start {wanted}; got {got}")
    start = start.replace(params=params)
    like = program.multipliers_shape
    for name, wanted in (("dual", program.y.shape), ("multipliers", like)):
        value = getattr(start, name)
        if value is None:
            continue
        value = _array(value, f"{name} of start", dtype)
        # Neither helps where it belongs to other data; parameters still do.
        known = value.shape == wanted and start.patterns is None
        start = start.replace(**{name: value if known else None})
    return start


def _of_network(given: Any, program: Any) -> Any:
    """Where to start from a trained network: its neurons, in cells of their own.

    Args:
      given: variables with params/first/kernel [d, m] and params/second/kernel [m, c],
        or the two kernels; with one output the second may be [m].
      program: over patterns, with cones.

    Raises:
      ValueError: if that is no network of this program's data.
    """
    if program.cones is None:
        raise ValueError("want parameters or a Solution as start of this program")
    if isinstance(given, Mapping):
        layers = given.get("params", given)
        known = isinstance(layers, Mapping) and set(layers) == {"first", "second"}
        if not known or not all("kernel" in layers[name] for name in layers):
            raise ValueError(
                "want start, variables with params/first/kernel and "
                f"params/second/kernel; got {sorted(map(str, layers))}"
            )
        given = layers["first"]["kernel"], layers["second"]["kernel"]
    if len(given) != 2:
        raise ValueError(f"want start, two kernels; got {len(given)} arrays")
    first, second = (np.asarray(_array(x, "start", np.float64)) for x in given)
    d, c = program.rows.shape[1], program.y[0].size
    second = second[:, None] if second.ndim == 1 else second
    if first.ndim != 2 or first.shape[0] != d or second.shape != (first.shape[1], c):
        raise ValueError(
            f"want start, a network of weights [{d}, m] and [m, {c}] for this data; "
            f"got {list(first.shape)} and {list(second.shape)}"
        )
    u = first.T
    if isinstance(program, Neurons):
        return Start(params=np.concatenate([u, second], axis=1)[None])
    live = np.any(u != 0, axis=1) & (second[:, 0] != 0)
    if not np.any(live):
        return None
    u, a = u[live], second[live, 0]
    params = np.abs(a)[None, :, None] * u * (np.asarray([[1], [-1]]) * a > 0)[..., None]
    masks = u @ np.asarray(program.rows, np.float64).T >= 0
    return Start(
        params=params,
        patterns=Patterns(
            masks=jnp.asarray(masks),
            gates=jnp.asarray(u, program.X.dtype),
            scope=Scope.SAMPLED,
        ),
    )


def _on_listed(start: Start, program: Any) -> Start:
    """The start of a network, each neuron in the first listed cell that holds it.

    Raises:
      ValueError: if a neuron lies in none.
    """
    u = np.sum(np.asarray(start.params, np.float64), axis=0)
    sides = np.asarray(start.params, np.float64) != 0
    masks = np.asarray(program.masks)
    held = cells_holding(u, np.asarray(program.rows, np.float64), masks, _ON)
    if np.any(lost := ~np.any(held, axis=1)):
        raise ValueError(
            f"want a start within the program's {len(masks)} patterns; "
            f"{int(np.sum(lost))} of {len(u)} neurons lie outside of them"
        )
    params = np.zeros(program.shape)
    for neuron, cell in enumerate(np.argmax(held, axis=1)):
        params[:, cell] += u[neuron] * sides[:, neuron]
    return Start(params=params)


def _array(value: Any, name: str, dtype: Any) -> Any:
    """A finite array of this dtype, or ValueError."""
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in "biuf":
        arrived = type(value).__name__
        raise ValueError(f"want {name}, parameters or a Solution; got {arrived}")
    if not np.all(np.isfinite(array)):
        raise ValueError(f"want a finite {name}; got NaN or infinity")
    return jnp.asarray(array, dtype)
