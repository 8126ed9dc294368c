"""A small training that is killed, or told to stop, and started again by tests.

python -m tests.interrupted_run FOLDER RESULT
"""

import os
import re
import signal
import sys
import time
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import NamedSharding, PartitionSpec

from cvxjax.saving.checkpoints import Checkpoints
from cvxjax.saving.preemption import Preemption

STEPS, EVERY = 40, 4
ROWS, BATCH = 24, 8
OPTIMIZER = optax.adam(1e-2)


def start():
    """Least squares: weights, the optimizer's state, a key, and the rows' order."""
    params = {"w": jnp.zeros((4, 3), jnp.bfloat16), "b": jnp.zeros(3, jnp.float32)}
    return {
        "params": params,
        "optimizer": OPTIMIZER.init(params),
        "key": jax.random.key(1),
        "order": np.arange(ROWS),
        "generator": np.random.default_rng(1).bit_generator.state,
    }


@partial(jax.jit, donate_argnums=(0, 1))
def update(params, state, key, X, y):
    key, noise_key = jax.random.split(key)
    noise = jax.random.uniform(noise_key, X.shape, X.dtype) / 10

    def objective(params):
        residual = (X + noise) @ params["w"] + params["b"][None] - y
        return jnp.sum(residual**2)

    updates, state = OPTIMIZER.update(jax.grad(objective)(params), state, params)
    return optax.apply_updates(params, updates), state, key


def advance(step, state):
    """One step; the rows are shuffled, in place, at the start of each epoch."""
    generator = np.random.default_rng(0)
    X = generator.standard_normal((ROWS, 4), np.float32)
    y = generator.standard_normal((ROWS, 3), np.float32)
    batch = (step - 1) % (ROWS // BATCH)
    if batch == 0:
        generator.bit_generator.state = state["generator"]
        generator.shuffle(state["order"])
        state["generator"] = generator.bit_generator.state
    rows = state["order"][batch * BATCH : (batch + 1) * BATCH]
    params, optimizer, key = update(
        state["params"], state["optimizer"], state["key"], X[rows], y[rows]
    )
    return {**state, "params": params, "optimizer": optimizer, "key": key}


def progress_of(folder):
    """The last step that the run in `folder` finished; 0 at first."""
    path = Path(f"{folder}.progress")
    lines = path.read_text().split("\n")[:-1] if path.exists() else []
    return int(lines[-1]) if lines else 0


def train(folder, result, pause=0.0):
    """Trains to the end, from where `folder` stands, and writes all leaves."""
    with (
        Checkpoints(folder, identity="least squares", every_steps=EVERY) as saved,
        Preemption() as preemption,
        open(f"{folder}.progress", "ab", buffering=0) as progress,
    ):
        first, state = saved.restore(start()) or (0, start())
        for step in range(first + 1, STEPS + 1):
            state = advance(step, state)
            progress.write(f"{step}\n".encode())
            saved.save_when_due(step, state, preemption)
            time.sleep(pause)
        saved.save(STEPS, state)
    state["key"] = jax.random.key_data(state["key"])
    leaves = [
        np.asarray(leaf).tobytes() if hasattr(leaf, "dtype") else repr(leaf).encode()
        for leaf in jax.tree.leaves(state)
    ]
    Path(result).write_bytes(b"".join(leaves))


def train_in_two(rank, port, folder, signal_at=None):
    """One of two processes: ten steps of a state that spans both.

    Args:
      signal_at: the step in which this process sends itself SIGTERM.
    """
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, rank)
    mesh = jax.make_mesh((2,), ("samples",))
    split = NamedSharding(mesh, PartitionSpec("samples"))
    whole = NamedSharding(mesh, PartitionSpec())
    half = np.full(2, rank + 1.0, np.float32)
    state = {
        "split": jax.make_array_from_process_local_data(split, half, (4,)),
        "key": jax.jit(lambda: jax.random.key(5), out_shardings=whole)(),
        "order": np.arange(3),
    }

    @partial(jax.jit, out_shardings=(split, whole))
    def move(x, key):
        key, subkey = jax.random.split(key)
        return x * 1.1 + jax.random.normal(subkey, x.shape) * jnp.mean(x), key

    def run(first, state, after_step):
        for step in range(first + 1, 11):
            x, key = move(state["split"], state["key"])
            state = {**state, "split": x, "key": key}
            after_step(step, state)
        return state

    want = run(0, state, lambda step, state: None)
    with (
        Checkpoints(folder, identity="two", every_steps=4) as saved,
        Preemption() as preemption,
    ):

        def after_step(step, state):
            if step == signal_at:
                os.kill(os.getpid(), signal.SIGTERM)
            saved.save_when_due(step, state, preemption)

        try:
            saved.save(0, {**state, "order": np.arange(3) + rank})
        except ValueError as error:
            assert re.search("processes differ|already holds", str(error))
        else:
            raise AssertionError("an order of each process went unnoticed")
        first, state = saved.restore(state) or (0, state)
        state = run(first, state, after_step)
    for name in ("split", "key"):
        assert state[name].sharding == want[name].sharding
    got, want = (
        (x["split"].addressable_data(0), jax.random.key_data(x["key"]))
        for x in (state, want)
    )
    for x, y in zip(got, want, strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


def move_between_devices(folder):
    """From two devices of one process to one, to none, and back."""
    jax.config.update("jax_num_cpu_devices", 2)
    mesh = jax.make_mesh((2,), ("samples",))
    split = NamedSharding(mesh, PartitionSpec("samples"))
    keys = jax.random.split(jax.random.key(0), 4)
    state = {"x": jnp.arange(4.0), "keys": keys}
    state = {name: jax.device_put(leaf, split) for name, leaf in state.items()}
    with Checkpoints(folder, identity="devices") as saved:
        saved.save(1, state)
        one = jax.device_put(jnp.arange(4.0), jax.devices()[1])
        free = jax.ShapeDtypeStruct((4,), jnp.float32)
        for x in (state["x"], one, free, np.arange(4, dtype=np.float32)):
            _, got = saved.restore({"x": x, "keys": state["keys"]})
            np.testing.assert_array_equal(got["x"], np.arange(4))
            if isinstance(x, jax.Array):
                assert got["x"].sharding == x.sharding
            assert got["keys"].sharding == split
            assert jnp.all(got["keys"] == state["keys"])


if __name__ == "__main__":
    train(*sys.argv[1:], pause=0.02)
