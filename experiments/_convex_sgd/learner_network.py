"""SGD on the non-convex two-layer ReLU network, as one side of a comparison.

    (1/n) [1/2 ||(X W1)_+ W2 - Y||^2
           + (beta / 2) (||W1||_F^2 + sum_j (sum_k |W2_jk|)^2)]

with the authors' penalty, under which a network that the convex program stands for has
the program's objective. It starts as PyTorch's linear layers do: uniform weights of at
most 1 / sqrt(d) and 1 / sqrt(m).

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


def half_squared_path_norm(params: Any) -> Any:
    """(||W1||_F^2 + sum_j ||row j of W2||_1^2) / 2, j a neuron."""
    first, second = params["first"]["kernel"], params["second"]["kernel"]
    return (jnp.sum(first**2) + jnp.sum(jnp.sum(jnp.abs(second), axis=1) ** 2)) / 2


def make_network(config: Settings, curve: Curve, data: Images, mesh: Mesh) -> Learner:
    """The run at one learning rate; every device has the whole network."""
    n, d = data.train.x.shape
    m, c = config.num_neurons, data.train.y.shape[1]
    network = cj.networks.VectorOutput(num_outputs=c, num_neurons=m)
    loss, optimizer = cj.losses.squared(), optax.sgd(curve.rate, config.momentum)
    factors = jnp.bfloat16 if config.bf16 else jnp.float32

    def predict(params: Any, x: Any) -> Any:
        params, x = jax.tree.map(lambda leaf: leaf.astype(factors), (params, x))
        return network.apply({"params": params}, x).astype(jnp.float32)  # pyright: ignore

    def estimate(params: Any, x: Any, y: Any) -> Any:
        fit = loss.value(predict(params, x), y) / len(y)
        return fit + config.beta * half_squared_path_norm(params), fit

    def move(state: Any, x: Any, y: Any) -> tuple[Any, Any]:
        params, memory = state
        slope, fit = jax.grad(estimate, has_aux=True)(params, x, y)
        change, memory = optimizer.update(slope, memory, params)
        return (optax.apply_updates(params, change), memory), fit

    everywhere = replicated(mesh)
    params = jax.device_put(_start(config.seed, d, m, c), everywhere)
    state = (params, jax.jit(optimizer.init, out_shardings=everywhere)(params))
    batch = batch_shapes(data.train, config.batch_size, mesh)
    start = time.perf_counter()
    step = jax.jit(move, donate_argnums=0, out_shardings=everywhere)
    compiled = step.lower(state, *batch).compile()
    cost = Cost(
        2 * config.batch_size * m * (2 * d + 3 * c),
        m * (d + c),
        time.perf_counter() - start,
        *memory_of(compiled),
    )

    @jax.jit
    def sums(params: Any, x: Any, y: Any) -> tuple[Any, Any]:
        fit = predict(params, x)
        right = jnp.argmax(fit, axis=1) == jnp.argmax(y, axis=1)
        return loss.value(fit, y), jnp.sum(right)

    def total(params: Any, rows: Rows) -> Any:
        parts = chunks(rows, config.batch_size, mesh)
        return add_up([sums(params, x, y) for x, y in parts])

    def measure(state: Any) -> dict[str, float]:
        params = state[0]
        value, right = total(params, data.train)
        _, right_test = total(params, data.test)
        penalty = config.beta * float(half_squared_path_norm(params))
        dead = jnp.mean(jnp.all(params["first"]["kernel"] == 0, axis=0))
        objective, test = value / n + penalty, right_test / len(data.test.x)
        return {
            "objective": objective,
            "network_objective": objective,
            "violation": np.nan,
            "train_accuracy": right / n,
            "test_accuracy": test,
            "network_train_accuracy": right / n,
            "network_test_accuracy": test,
            "zero_blocks": float(dead),
        }

    return Learner(state, compiled, measure, cost)


def _start(seed: int, d: int, m: int, c: int) -> dict[str, dict[str, np.ndarray]]:
    generator = np.random.default_rng(seed)

    def layer(inputs: int, outputs: int) -> dict[str, np.ndarray]:
        most = inputs**-0.5
        kernel = generator.uniform(-most, most, (inputs, outputs))
        return {"kernel": kernel.astype(np.float32)}

    return {"first": layer(d, m), "second": layer(m, c)}
