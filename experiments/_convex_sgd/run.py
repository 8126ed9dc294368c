"""SGD on convex programs beside SGD on the non-convex network: all runs, measured.

Every run sees the same batches in the same order. Its clock runs during training steps
alone: not while it compiles, is measured, or saves its state. Batches are made on a
thread, and what a step waits for them counts.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh

from cvxjax.data.batches import Batches
from cvxjax.devices.sharding import make_mesh
from cvxjax.saving.checkpoints import Checkpoints
from cvxjax.saving.preemption import Preemption, largest_of_all
from experiments._convex_sgd.efficiency import gemm_rate
from experiments._convex_sgd.learner import METRICS, Cost, Learner, batch_sharding
from experiments._convex_sgd.learner_convex import make_convex
from experiments._convex_sgd.learner_network import make_network
from experiments._convex_sgd.metrics import Metrics
from experiments._convex_sgd.rows import Images, load_rows
from experiments._convex_sgd.settings import Curve, Settings, curves_of, marks_of
from experiments._frame import launch
from experiments._frame.record import Resumable, resumable, stream_path

HISTORY = ("epoch", "step", "seconds", *METRICS)
_EPOCH, _STEP, _SECONDS, _OBJECTIVE = range(4)
_SHOWN = ("num_patterns", "num_neurons", "batch_size", "beta", "proximal")
_COLUMNS = ("curve", "kind", "learning_rate", *HISTORY)  # of the CSV


@dataclasses.dataclass(frozen=True)
class _Session:
    """What all runs of one experiment share."""

    config: Settings
    data: Images
    mesh: Mesh
    metrics: Metrics
    preemption: Preemption | None  # None: there are no checkpoints


def run_curves(name: str, config: Settings) -> dict[str, np.ndarray]:
    """Trains every curve of an experiment, or takes it from its finished parts.

    Returns:
      "curve", "kind" and "rate" [C]; every column of HISTORY [C, R], records beyond a
      curve's last NaN; every field of `Cost` [C]; "seconds_per_step" and "utilisation",
      the share of "peak_flops" that products attain, [C]; and the settings' sizes.
    """
    mesh, curves = make_mesh(config.samples_axis), curves_of(config)
    data = load_rows(config.data, config.data_dir, config.num_train)
    peak = gemm_rate(mesh, jnp.bfloat16 if config.bf16 else jnp.float32)
    launch.say(f"  {mesh.size} x {_device()}, GEMM {peak / 1e9:.0f} GFLOP/s")
    parts, found = resumable(name, config), []
    path = stream_path(name, ".csv")
    with contextlib.ExitStack() as stack:
        quiet = jax.process_index() > 0
        metrics = stack.enter_context(Metrics(path, _COLUMNS, quiet=quiet))
        signals = None
        if config.checkpoint_dir:
            signals = stack.enter_context(Preemption())
        session = _Session(config, data, mesh, metrics, signals)
        for number, curve in enumerate(curves, 1):
            label = f"{number} of {len(curves)}, {curve.name}"
            found.append(_finished(session, parts, curve, label))
            launch.say(f"  {label}: {_cost_line(found[-1], peak)}")
    arrays = _put_together(config, data, curves, found)
    return arrays | {
        "utilisation": arrays["flops"] / arrays["seconds_per_step"] / peak,
        "peak_flops": np.asarray(peak),
        "device": np.asarray(f"{mesh.size} x {_device()}"),
    }


def _device() -> str:
    return jax.devices()[0].device_kind


def _finished(
    session: _Session, parts: Resumable, curve: Curve, label: str
) -> dict[str, np.ndarray]:
    """A curve from its part, else trained."""
    stored = parts.get(curve.name)
    if stored is None:
        stored = _train(session, curve, label)
        parts.put(curve.name, stored)
    else:
        rows = _rows(curve, stored["history"])
        session.metrics.begin(label, len(rows), rows, done=len(rows))
    return stored


def _train(session: _Session, curve: Curve, label: str) -> dict[str, np.ndarray]:
    """Makes a run, or the rest of it, and its history [R, columns of HISTORY]."""
    config, metrics, train = session.config, session.metrics, session.data.train
    epochs = config.epochs if curve.convex else config.sgd_epochs
    marks = marks_of(epochs, config.records)
    make = make_convex if curve.convex else make_network
    learner = make(config, curve, session.data, session.mesh)
    history = np.full((len(marks), len(HISTORY)), np.nan)
    state = {"learner": learner.state, "history": history, "seconds": 0.0}
    with _checkpoints(config, curve) as saved:
        restored = saved.restore(state) if saved else None
        epoch, state = restored or (0, state)
        steps, history = len(train.x) // config.batch_size, state["history"]
        metrics.begin(label, epochs, _rows(curve, history), done=epoch)
        if restored is None:
            _measure(session, curve, learner, state, marks, 0)
        with Batches(
            *train,
            batch_size=config.batch_size,
            seed=config.seed,
            start=(epoch, 0),
            sharding=batch_sharding(session.mesh),
        ) as batches:
            while epoch < epochs and not _diverged(history):
                _advance(learner, state, itertools.islice(batches, steps))
                epoch += 1
                metrics.advance(epoch)
                if epoch in marks:
                    _measure(session, curve, learner, state, marks, epoch)
                if saved is not None:
                    saved.save_when_due(epoch, state, session.preemption)
        if saved is not None:
            saved.save(epoch, state)
    cost = {name: np.asarray(value) for name, value in learner.cost._asdict().items()}
    return {"history": history, **cost}


def _advance(
    learner: Learner, state: dict[str, Any], batches: Iterator[tuple[Any, Any]]
) -> None:
    """Steps on these batches; one is under way while the next is handed over."""
    start, waiting = time.perf_counter(), None
    for x, y in batches:
        state["learner"], loss = learner.step(state["learner"], x, y)
        if waiting is not None:
            waiting.block_until_ready()
        waiting = loss
    jax.block_until_ready(state["learner"])
    passed = time.perf_counter() - start
    state["seconds"] += largest_of_all(int(1e9 * passed)) / 1e9


def _measure(
    session: _Session,
    curve: Curve,
    learner: Learner,
    state: dict[str, Any],
    marks: list[int],
    epoch: int,
) -> None:
    """Adds a record to the history and to the CSV."""
    row, values = marks.index(epoch), learner.measure(state["learner"])
    steps = epoch * (len(session.data.train.x) // session.config.batch_size)
    line = (epoch, steps, state["seconds"], *(values[name] for name in METRICS))
    state["history"][row] = line
    text = ", ".join(
        f"{name.partition('_')[0]} {values[name]:.4f}"
        for name in ("objective", "network_objective", "train_accuracy")
    )
    (written,) = _rows(curve, state["history"][row : row + 1])
    session.metrics.record(written, text)


def _rows(curve: Curve, history: np.ndarray) -> list[dict[str, Any]]:
    """What the CSV says of the records made so far."""
    made = history[np.isfinite(history[:, _EPOCH])]
    whole = ("epoch", "step")
    return [
        {"curve": curve.name, "kind": curve.kind, "learning_rate": curve.rate}
        | {
            name: int(value) if name in whole else float(value)
            for name, value in zip(HISTORY, line, strict=True)
        }
        for line in made
    ]


def _diverged(history: np.ndarray) -> bool:
    made = history[np.isfinite(history[:, _EPOCH])]
    return len(made) > 0 and not np.isfinite(made[-1, _OBJECTIVE])


@contextlib.contextmanager
def _checkpoints(config: Settings, curve: Curve) -> Iterator[Checkpoints | None]:
    """Of one curve, in a folder of its own; None without --checkpoint_dir."""
    if not config.checkpoint_dir:
        yield None
        return
    shared = dataclasses.replace(
        config,
        data_dir="",
        checkpoint_dir="",
        checkpoint_seconds=0.0,
        learning_rates=(),
        sgd_rates=(),
    )
    with Checkpoints(
        Path(config.checkpoint_dir) / f"{config.data}-{curve.name}",
        identity=repr((curve, shared)),
        keep=2,
        every_seconds=config.checkpoint_seconds,
    ) as saved:
        yield saved


def _per_step(part: dict[str, np.ndarray]) -> float:
    """Seconds."""
    made = part["history"][np.isfinite(part["history"][:, _EPOCH])]
    return float(made[-1, _SECONDS] / max(made[-1, _STEP], 1))


def _cost_line(part: dict[str, np.ndarray], peak: float) -> str:
    seconds, cost = _per_step(part), Cost(*(part[name].item() for name in Cost._fields))
    rate = cost.flops / seconds
    return (
        f"{1e3 * seconds:.3g} ms a step, {rate / 1e9:.3g} GFLOP/s, model FLOP "
        f"utilisation {rate / peak:.0%}; {cost.parameters:,} parameters; memory "
        f"{cost.peak_bytes / 2**20:.0f} MiB, {cost.peak_bytes / cost.held_bytes:.2f} "
        "times parameters, optimizer, gates and a batch; compiled in "
        f"{cost.compile_seconds:.1f} s"
    )


def _put_together(
    config: Settings,
    data: Images,
    curves: list[Curve],
    found: list[dict[str, np.ndarray]],
) -> dict[str, np.ndarray]:
    longest = max(len(part["history"]) for part in found)
    histories = [
        np.pad(
            part["history"],
            ((0, longest - len(part["history"])), (0, 0)),
            constant_values=np.nan,
        )
        for part in found
    ]
    stacked = np.stack(histories)
    costs = {name: np.stack([part[name] for part in found]) for name in Cost._fields}
    costs["compile_seconds_of"] = costs.pop("compile_seconds")
    seconds = np.asarray([_per_step(part) for part in found])
    return {
        "curve": np.asarray([curve.name for curve in curves]),
        "kind": np.asarray([curve.kind for curve in curves]),
        "rate": np.asarray([curve.rate for curve in curves]),
        **{name: stacked[:, :, k] for k, name in enumerate(HISTORY)},
        **costs,
        "seconds_per_step": seconds,
        "compile_seconds": np.sum(costs["compile_seconds_of"]),
        "data": np.asarray(config.data),
        "shape": np.asarray(data.train.x.shape),
        "num_test": np.asarray(len(data.test.x)),
        "num_classes": np.asarray(data.train.y.shape[1]),
        **{name: np.asarray(getattr(config, name)) for name in _SHOWN},
    }
