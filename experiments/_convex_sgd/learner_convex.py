"""SGD on the convex program over sampled gates, as one side of a comparison.

    (1/n) [1/2 ||F w - Y||^2 + beta sum_{s,i,k} ||w_sik||] + (rho/n) hinge of the cones

with weights [2, P, c, d] that start at zero. The authors' hinge is of each block's sum
over classes, and leaves no block in its cone.

Source: the code with Pilanci & Ergen, Neural networks are convex regularizers (ICML
2020).
"""

from __future__ import annotations

import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh

import cvxjax as cj
from cvxjax.arrangements.convolutional import filter_gates
from cvxjax.solvers.minibatches.minibatch import GateModel, Sums
from cvxjax.solvers.minibatches.spread import (
    compile_move,
    compile_sums,
    spread_iterate,
    spread_model,
)
from cvxjax.terms.regularisers import GroupNorm
from experiments._convex_sgd.learner import (
    Cost,
    Learner,
    add_up,
    batch_shapes,
    chunks,
    memory_of,
    replicated,
)
from experiments._convex_sgd.rows import Images, Rows
from experiments._convex_sgd.settings import Curve, Settings

_FILTER = (3, 3)  # pixels of a convolutional gate


def make_convex(config: Settings, curve: Curve, data: Images, mesh: Mesh) -> Learner:
    """The run of one kind of gates at one learning rate."""
    n, d = data.train.x.shape
    shape = (2, config.num_patterns, data.train.y.shape[1], d)
    each = curve.kind == "cones"
    model = spread_model(
        GateModel(
            gates=_sample_gates(config, curve, data.shape),
            beta=np.float32(config.beta * n),
            loss=cj.losses.squared(),
            regulariser=GroupNorm(),
            cone_weight=np.float32(
                config.class_cone_weight if each else config.cone_weight
            ),
            num_samples=n,
            summed=not each,
            products=jnp.bfloat16 if config.bf16 else None,
        ),
        mesh,
    )
    solver = _solver(config, curve.rate, n)
    iterate = spread_iterate(solver, shape, jnp.float32, mesh)
    rate = jax.device_put(np.float32(curve.rate), replicated(mesh))
    batch = batch_shapes(data.train, config.batch_size, mesh)
    start = time.perf_counter()
    move = compile_move(solver, model, iterate, mesh)
    compiled = move.lower(model, iterate, *batch, rate).compile()
    cost = Cost(
        model.flops(shape, config.batch_size),
        int(np.prod(shape)),
        time.perf_counter() - start,
        *memory_of(compiled),
    )
    sums = compile_sums(model, mesh)

    def total(w: Any, rows: Rows) -> tuple[Sums, float]:
        """What all rows say, and R(w)."""
        parts = [sums(model, w, x, y) for x, y in chunks(rows, config.batch_size, mesh)]
        return add_up([part for part, _ in parts]), float(parts[0][1])

    def measure(iterate: Any) -> dict[str, Any]:
        train, norms = total(iterate.w, data.train)
        test, _ = total(iterate.w, data.test)
        penalty, num_test = config.beta * norms, len(data.test.x)
        return {
            "objective": train.loss / n + penalty,
            "network_objective": train.network_loss / n + penalty,
            "violation": train.violation / max(train.reach, 1e-30),
            "train_accuracy": train.right / n,
            "test_accuracy": test.right / num_test,
            "network_train_accuracy": train.network_right / n,
            "network_test_accuracy": test.network_right / num_test,
            "zero_blocks": float(_zero_blocks(iterate.w)),
        }

    return Learner(
        iterate, lambda state, x, y: compiled(model, state, x, y, rate), measure, cost
    )


def _sample_gates(config: Settings, curve: Curve, shape: tuple[int, int, int]) -> Any:
    """[P, d], float32; the same for every learning rate."""
    key = jax.random.key(config.seed)
    if curve.kind == "gaussian":
        gates = jax.random.normal(key, (config.num_patterns, int(np.prod(shape))))
    else:
        gates = filter_gates(key, shape, _FILTER, num=config.num_patterns)
    return gates.astype(jnp.float32)


def _solver(config: Settings, rate: float, n: int) -> cj.solvers.Stochastic:
    """Momentum at the rate, which a plateau of the epochs' mean loss lowers.

    Raises:
      ValueError: for a plateau with proximal steps, whose length it would not change.
    """
    optimizer = None
    if config.plateau < 1:
        if config.proximal:
            raise ValueError("want plateau = 1 with proximal steps, or --noproximal")
        optimizer = optax.chain(
            optax.sgd(rate, config.momentum),
            optax.contrib.reduce_on_plateau(
                config.plateau, accumulation_size=n // config.batch_size
            ),
        )
    return cj.solvers.Stochastic(
        momentum=config.momentum, optimizer=optimizer, proximal=config.proximal
    )


@jax.jit
def _zero_blocks(w: Any) -> Any:
    return jnp.mean(jnp.all(w == 0, axis=-1))
