"""Training of Flax networks with Optax, to compare with the convex programs.

`train` minimises the objective of the theorems,

    L(f(X), y) + (beta / 2) ||params||^2,

a sum over samples, with the weight decay inside the objective (optimizers that decouple
it minimise something else). All seeds run together in one compiled loop.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import core
from flax import linen as nn
from jax import lax

from cvxjax.algebra.arrays import as_array, check_key
from cvxjax.arrangements.arguments import check_loss
from cvxjax.interfaces import Loss
from cvxjax.record import Record

Array = jax.Array
Penalty = Callable[[Any], Array]


def half_squared_norm(params: Any) -> Array:
    """1/2 ||params||^2 over all leaves: the penalty of weight decay."""
    return optax.tree.norm(params, squared=True) / 2


def weight_decay_objective(
    network: nn.Module,
    variables: Any,
    X: Array,
    y: Array,
    *,
    beta: Any,
    loss: Loss | None = None,
    penalty: Penalty = half_squared_norm,
) -> Array:
    """L(f(X), y) + beta * penalty(params), by default (beta / 2) ||params||^2.

    At the weights that a program's `recover` returns, this is the convex optimum.

    Args:
      network: a Flax module, from X [n, ...] to [n] or [n, c].
      variables: its variables; only the collection "params" is penalised.
      X: [n, ...].
      y: [n] or [n, c], whatever the loss takes.
      beta: [], >= 0.
      loss: L, a sum over samples; None is the squared loss 1/2 ||f(X) - y||^2.
      penalty: from the collection "params" to [].

    Returns:
      [].
    """
    fit = check_loss(loss).value(network.apply(variables, X), y)
    return fit + beta * penalty(variables.get("params", {}))


class TrainingResult(Record):
    """What `train` returns, for S seeds and R records.

    A seed that diverges ends with NaN or infinity in its objective and variables; the
    other seeds are not affected.
    """

    variables: Any  # leaves [S, ...], after the last step
    optimizer_state: Any  # leaves [S, ...]
    objective: Array  # [S, R], of all data, whatever the batch size
    metrics: Any  # leaves [S, R, ...]; None without `metrics`
    steps: Array  # [R], int32, the steps taken at each record
    run_seconds: float  # of all seeds together, without compilation
    compile_seconds: float  # with initialisation; about 0 if compiled before

    @property
    def seconds(self) -> np.ndarray:
        """Seconds from the start of this run to each record, [R].

        Interpolated from `run_seconds`, since all steps cost the same.
        """
        steps = np.asarray(self.steps)
        return self.run_seconds * (steps - steps[0]) / (steps[-1] - steps[0])

    def best(self) -> tuple[Any, float]:
        """The variables and the objective of the seed with the lowest last objective.

        Raises:
          ValueError: if every seed diverged.
        """
        last = np.asarray(self.objective)[:, -1]
        last = np.where(np.isfinite(last), last, np.inf)
        seed = int(np.argmin(last))
        if not np.isfinite(last[seed]):
            raise ValueError(f"all {last.size} seeds diverged: use a smaller step size")
        return jax.tree.map(lambda leaf: leaf[seed], self.variables), float(last[seed])


def train(
    key: Array,
    network: nn.Module,
    data: tuple[Any, Any],
    optimizer: optax.GradientTransformation,
    *,
    steps: int,
    num_seeds: int = 1,
    weight_decay: float = 0.0,
    loss: Loss | None = None,
    batch_size: int | None = None,
    record_every: int | None = None,
    initial: Any = None,
    metrics: Callable[[Any], Any] | None = None,
    penalty: Penalty = half_squared_norm,
) -> TrainingResult:
    """Minimises L(f(X), y) + weight_decay * penalty(params) from `num_seeds` starts.

    With a batch B of b rows a step follows the gradient of
    (n / b) L(f(X_B), y_B) + weight_decay * penalty(params), an unbiased estimate of the
    objective's. Each epoch has n // b batches, drawn without replacement from a fresh
    permutation; its last n mod b rows sit out that epoch.

    Seed i draws its weights and its batches from `fold_in(key, i)`: it is the same run
    whatever `num_seeds`. The compiled loop is used again for another `weight_decay`,
    other data of the same shape, or `steps` with the same number of records, if
    `network`, `optimizer`, `metrics` and `penalty` are equal (functions: identical).

    Args:
      key: a typed PRNG key.
      network: a Flax module, from [n, ...] to [n] or [n, c], deterministic and without
        state; collections other than "params" are held fixed.
      data: (X [n, ...], y [n] or [n, c]); floating y takes the dtype of X, which the
        parameters follow.
      optimizer: without weight decay of its own.
      steps: >= 1.
      num_seeds: >= 1.
      weight_decay: >= 0, the beta of the convex program.
      loss: L, a sum over samples; None is the squared loss 1/2 ||f(X) - y||^2.
      batch_size: b, from 1 to n; None takes all rows in every step.
      record_every: steps between records; the start and the last step are recorded
        too. None makes about 100 records.
      initial: where to start, in place of `network.init`: variables, for all seeds or
        with a leading axis [num_seeds]; or a `TrainingResult`, to go on from its end.
      metrics: from one seed's variables to arrays, evaluated at every record.
      penalty: from the collection "params" to [].

    Returns:
      `TrainingResult`.

    Raises:
      ValueError: for data, labels or numbers that are not as said above.
    """
    key, criterion = check_key(key), check_loss(loss)
    if criterion.constraint is not None:
        raise ValueError(f"{criterion.name} loss is a constraint, without a gradient")
    X, y = _check_data(data, criterion)
    n = X.shape[0]
    for name, count in (("steps", steps), ("num_seeds", num_seeds)):
        if count < 1:
            raise ValueError(f"want {name} >= 1; got {count}")
    if record_every is None:
        record_every = max(1, steps // 100)
    if record_every < 1:
        raise ValueError(f"want record_every >= 1; got {record_every}")
    if batch_size is not None and not 1 <= batch_size <= n:
        raise ValueError(f"want 1 <= batch_size <= n = {n}; got {batch_size}")
    if not (np.isfinite(weight_decay) and weight_decay >= 0):
        raise ValueError(f"want a finite weight_decay >= 0; got {weight_decay}")

    start, state = 0, None
    if isinstance(initial, TrainingResult):
        start, state = int(initial.steps[-1]), initial.optimizer_state
        initial = initial.variables
    keys = jax.vmap(functools.partial(jax.random.fold_in, key))(jnp.arange(num_seeds))
    marks = np.append(np.arange(0, steps, record_every), steps) + start

    clock = time.perf_counter()
    if initial is None:
        initial = _init(keys, X[:1], network=network)
    else:
        initial = _per_seed(initial, network, X, num_seeds)
    fresh = jax.vmap(optimizer.init)(initial.get("params", {}))
    if state is None:
        state = fresh
    elif jax.tree.structure(state) != jax.tree.structure(fresh):
        raise ValueError("initial was trained with another kind of optimizer")
    arguments = (keys, initial, state, criterion, X, y)
    arguments += (jnp.asarray(weight_decay, X.dtype), jnp.asarray(marks, jnp.int32))
    run = _run.lower(
        *arguments,
        network=network,
        optimizer=optimizer,
        batch_size=None if batch_size == n else batch_size,
        metrics=metrics,
        penalty=penalty,
    ).compile()
    compile_seconds = time.perf_counter() - clock
    clock = time.perf_counter()
    variables, state, objective, values = jax.block_until_ready(run(*arguments))
    return TrainingResult(
        variables=variables,
        optimizer_state=state,
        objective=objective,
        metrics=values,
        steps=arguments[-1],
        run_seconds=time.perf_counter() - clock,
        compile_seconds=compile_seconds,
    )


@functools.partial(jax.jit, static_argnames="network")
def _init(keys: Array, X: Array, *, network: nn.Module) -> Any:
    return jax.vmap(lambda key: network.init(jax.random.fold_in(key, 0), X))(keys)


@functools.partial(
    jax.jit,
    static_argnames=("network", "optimizer", "batch_size", "metrics", "penalty"),
)
def _run(
    keys: Array,
    initial: Any,
    state: Any,
    loss: Loss,
    X: Array,
    y: Array,
    beta: Array,
    marks: Array,
    *,
    network: nn.Module,
    optimizer: optax.GradientTransformation,
    batch_size: int | None,
    metrics: Callable[[Any], Any] | None,
    penalty: Penalty,
) -> tuple[Any, Any, Array, Any]:
    """The loops over seeds (vmap), records (scan) and steps (fori_loop)."""
    n = X.shape[0]

    def run_seed(key: Array, initial: Any, state: Any) -> tuple[Any, Any, Array, Any]:
        batch_key = jax.random.fold_in(key, 1)
        fixed = {name: tree for name, tree in initial.items() if name != "params"}
        params = initial.get("params", {})

        def record(params: Any) -> tuple[Array, Any]:
            variables = {**fixed, "params": params}
            objective = weight_decay_objective(
                network, variables, X, y, loss=loss, beta=beta, penalty=penalty
            )
            return objective, None if metrics is None else metrics(variables)

        def step(t: Array, carry: tuple[Any, Any, Any]) -> tuple[Any, Any, Any]:
            params, state, order = carry
            if batch_size is None:
                inputs, labels, scale, part = X, y, 1, loss
            else:
                epoch, batch = jnp.divmod(t, n // batch_size)
                epoch_key = jax.random.fold_in(batch_key, epoch)
                order = lax.cond(
                    (batch == 0) | (t == marks[0]),
                    lambda: jax.random.permutation(epoch_key, n),
                    lambda: order,
                )
                rows = lax.dynamic_slice_in_dim(order, batch * batch_size, batch_size)
                inputs, labels, scale = X[rows], y[rows], n / batch_size
                part = loss.take(rows)

            def forward(params: Any) -> Any:
                return network.apply({**fixed, "params": params}, inputs)

            z, pull_back = jax.vjp(forward, params)
            (data_gradient,) = pull_back(scale * part.gradient(z, labels))
            gradient = jax.tree.map(
                lambda g, p: g + beta * p, data_gradient, jax.grad(penalty)(params)
            )
            updates, state = optimizer.update(gradient, state, params)
            return optax.apply_updates(params, updates), state, order

        def block(carry: Any, bounds: tuple[Array, Array]) -> tuple[Any, Any]:
            # Bounds are traced, so that blocks of any length share one compiled step.
            carry = lax.fori_loop(*bounds, step, carry)
            return carry, record(carry[0])

        order = jnp.arange(0 if batch_size is None else n)
        starts = jnp.concatenate([marks[:1], marks[:-1]])  # the first block is empty
        carry, records = lax.scan(block, (params, state, order), (starts, marks))
        return {**fixed, "params": carry[0]}, carry[1], *records

    return jax.vmap(run_seed)(keys, initial, state)


def _per_seed(
    variables: Any, network: nn.Module, X: Array, num_seeds: int
) -> dict[str, Any]:
    """The variables, cast, with a leading axis [num_seeds]; ValueError for shapes."""
    variables = core.unfreeze(variables)
    want = core.unfreeze(jax.eval_shape(network.init, jax.random.key(0), X[:1]))
    got = jax.tree.map(jnp.shape, variables)
    shapes = jax.tree.map(lambda leaf: leaf.shape, want)
    batched = jax.tree.map(lambda leaf: (num_seeds, *leaf.shape), want)
    if got not in (shapes, batched):
        raise ValueError(
            f"want initial variables of shapes {shapes}, or of these with {num_seeds} "
            f"seeds before them; got {got}"
        )
    variables = jax.tree.map(lambda v, w: jnp.asarray(v, w.dtype), variables, want)
    if got == batched:
        return variables
    return jax.tree.map(lambda v: jnp.broadcast_to(v, (num_seeds, *v.shape)), variables)


def _check_data(data: tuple[Any, Any], loss: Loss) -> tuple[Array, Array]:
    X, y = as_array(data[0], "X"), as_array(data[1], "y")
    for name, array in (("X", X), ("y", y)):
        if array.dtype.kind not in "biuf":
            raise ValueError(f"want real numbers in {name}; got dtype {array.dtype}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{name} holds NaN or infinity")
    if X.ndim < 2 or y.ndim < 1 or X.shape[0] != y.shape[0] or X.shape[0] == 0:
        raise ValueError(
            f"want X [n, ...], y [n] or [n, c], n >= 1; got {X.shape}, {y.shape}"
        )
    loss.check_labels(y)
    inputs = jnp.asarray(X, None if X.dtype.kind == "f" else float)
    return inputs, jnp.asarray(y, inputs.dtype if y.dtype.kind == "f" else None)
