"""A step of SGD on the convex program: cvxjax beside PyTorch, and its limits.

    scripts/bench_environments peers   # PyTorch, in an environment of its own
    python -m experiments.bench_stochastic

About 4 minutes on two CPU cores. Nothing else should run meanwhile.

Gaussian rows and gates of CIFAR-10's size, ten outputs, float32: squared loss, norms by
subgradients, the cones' penalty of sums over outputs, SGD with momentum. PyTorch takes
the same steps from zero in the published formulation (one product for each pattern) and
in the one that cvxjax has (one product for all of them), by autograd; weights after the
last step are compared. Rounds alternate; a time is the median of all steps but the
first, compilation apart. The limit is the products' floating-point operations at the
speed of the machine's own large products.

Expect 16 to 33 times the published formulation's speed, and 1.2 to 1.7 times that of
the same formulation in PyTorch, which spends its time in the same products.
"""

from __future__ import annotations

import dataclasses
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

import cvxjax as cj
from cvxjax.saving.files import read_arrays, write_arrays
from cvxjax.solvers.minibatches.minibatch import GateModel
from cvxjax.terms.regularisers import GroupNorm
from experiments._frame import launch, style
from experiments._frame.clock import timed
from experiments._frame.record import Claim, Verdict, resumable
from experiments._peers.session import ENVIRONMENTS, ROOT

MINUTES = 4

_PEERS = ("published", "one product")
_NAMES = {
    "published": "PyTorch, as published",
    "one product": "PyTorch, one product",
}
_ASKED = 1.5  # times as fast as plain PyTorch
_MOMENTUM = 0.9
_PENALTY, _RHO = 1e-3, 1e-2  # beta and rho of a sum over the batch


@dataclasses.dataclass(frozen=True)
class Config:
    num_patterns: tuple[int, ...] = (64, 128)
    num_features: tuple[int, ...] = (3072, 784)  # CIFAR-10's, Fashion-MNIST's
    num_outputs: int = 10
    batch_size: int = 1000
    steps: int = 4  # of a round
    rounds: int = 2
    threads: int = 2
    learning_rate: float = 1e-5
    seed: int = 0

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            num_patterns=(4, 8),
            num_features=(12,),
            num_outputs=3,
            batch_size=16,
            steps=3,
            rounds=1,
            learning_rate=1e-3,
        )


def run(config: Config) -> dict[str, np.ndarray]:
    parts = resumable("bench_stochastic", config)
    sizes = [(d, P) for d in config.num_features for P in config.num_patterns]
    rows = [
        parts.part(f"{d}-{P}", lambda d=d, P=P: _compare(config, d, P))
        for d, P in launch.progress(sizes, "sizes")
    ]
    return {
        **{key: np.stack([row[key] for row in rows]) for key in rows[0]},
        "d": np.asarray([d for d, _ in sizes]),
        "P": np.asarray([P for _, P in sizes]),
        "num_outputs": np.asarray(config.num_outputs),
        "batch_size": np.asarray(config.batch_size),
        "threads": np.asarray(config.threads),
    }


def draw(config: Config, d: int, P: int) -> dict[str, np.ndarray]:
    """Batches X [steps, b, d] and Y [steps, b, c], one-hot, and gates [P, d]."""
    rng = np.random.default_rng(config.seed)
    shape = (config.steps, config.batch_size)
    classes = rng.integers(0, config.num_outputs, shape)
    return {
        "X": rng.standard_normal((*shape, d), np.float32),
        "Y": np.eye(config.num_outputs, dtype=np.float32)[classes],
        "gates": rng.standard_normal((P, d), np.float32),
    }


def _compare(config: Config, d: int, P: int) -> dict[str, np.ndarray]:
    given = draw(config, d, P)
    step = Step(config, given)
    seconds: dict[str, list[float]] = {"ours": [], **{name: [] for name in _PEERS}}
    apart, peaks = np.full(len(_PEERS), np.nan), [gemm_peak(d)]
    for _ in range(config.rounds):
        ours, weights = step.take(given)
        seconds["ours"] += ours[1:]
        for k, name in enumerate(_PEERS):
            taken = ask_torch(config, given, published=name == "published")
            if taken is None:
                continue
            seconds[name] += taken["seconds"][1:].tolist()
            peaks.append(float(taken["peak"]))
            size = np.abs(weights).max()
            apart[k] = np.abs(taken["weights"] - weights).max() / size
    medians = [np.median(seconds[k]) if seconds[k] else np.nan for k in seconds]
    return {
        "seconds": np.asarray(medians),  # ours, then the peers
        "compile_seconds": np.asarray(step.compile_seconds),
        "flops": np.asarray(float(step.flops)),
        "peak": np.asarray(max(peaks)),
        "apart": apart,
        "memory": np.asarray(step.memory),
    }


class Step:
    """The compiled step of cvxjax."""

    def __init__(self, config: Config, given: dict[str, np.ndarray]):
        P, d = given["gates"].shape
        b, c = config.batch_size, config.num_outputs
        self.shape = (2, P, c, d)
        self.model = GateModel(
            gates=jnp.asarray(given["gates"]),
            beta=jnp.float32(_PENALTY),
            loss=cj.losses.squared(),
            regulariser=GroupNorm(),
            cone_weight=jnp.float32(_RHO),
            num_samples=b,
            summed=True,
        )
        self.solver = cj.solvers.Stochastic(momentum=_MOMENTUM, proximal=False)
        self.rate = jnp.float32(config.learning_rate)
        first = self._first()
        start = time.perf_counter()
        moved = jax.jit(self.solver.move, donate_argnums=1)
        rows = given["X"][0], given["Y"][0]
        self.move = moved.lower(self.model, first, *rows, self.rate).compile()
        self.compile_seconds = time.perf_counter() - start
        self.flops = self.model.flops(self.shape, b)
        used: Any = self.move.memory_analysis()
        # Bytes that are held at once, and those of weights, momentum, batch and gates.
        held = sum(leaf.nbytes for leaf in jax.tree.leaves((first, self.model, rows)))
        activations = 4 * b * P * (c + 2)
        self.memory = (used.argument_size_in_bytes + used.temp_size_in_bytes) / (
            held + activations
        )

    def _first(self) -> Any:
        return self.solver.start(jnp.zeros(self.shape, jnp.float32))

    def take(self, given: dict[str, np.ndarray]) -> tuple[list[float], np.ndarray]:
        """Seconds of each step from zero, and the last weights [2, P, c, d]."""
        iterate, seconds = self._first(), []
        for x, y in zip(given["X"], given["Y"], strict=True):
            x, y = jax.block_until_ready((jnp.asarray(x), jnp.asarray(y)))
            start = time.perf_counter()
            iterate, _ = self.move(self.model, iterate, x, y, self.rate)
            iterate.w.block_until_ready()
            seconds.append(time.perf_counter() - start)
        return seconds, np.asarray(iterate.w)


def gemm_peak(order: int) -> float:
    """FLOP/s of a square product in float32, the best of four."""
    a = jnp.ones((order, order), jnp.float32)
    product = jax.jit(lambda a: a @ a).lower(a).compile()
    return 2 * order**3 / min(timed(lambda: product(a), 4)[1])


def ask_torch(
    config: Config, given: dict[str, np.ndarray], *, published: bool
) -> dict[str, np.ndarray] | None:
    """What `_peers.torch_steps` writes; None where PyTorch is not installed."""
    python = ENVIRONMENTS / "peers" / "bin" / "python"
    if not python.exists():
        return None
    with tempfile.TemporaryDirectory(prefix="cvxjax-bench-") as folder:
        paths = [Path(folder) / name for name in ("given.npz", "taken.npz")]
        settings = {
            "published": published,
            "threads": config.threads,
            "rate": config.learning_rate,
            "momentum": _MOMENTUM,
            "beta": _PENALTY,
            "rho": _RHO,
        }
        write_arrays(paths[0], given | settings)
        command = [python, "-m", "experiments._peers.torch_steps", *paths]
        subprocess.run(command, cwd=ROOT, check=True)
        return read_arrays(paths[1])


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(1, 2, width=11.0, height=4.2)
    labels = [
        f"P = {P}\nd = {d}" for P, d in zip(arrays["P"], arrays["d"], strict=True)
    ]
    x, width = np.arange(len(labels)), 0.26
    limit = arrays["flops"] / arrays["peak"]
    colors = [style.COLORS[role] for role in ("convex", "baseline", "sgd")]
    names = ["cvxjax", *_NAMES.values()]
    for k, name in enumerate(names):
        place = x + (k - 1) * width
        seconds = arrays["seconds"][:, k]
        axes[0].bar(place, 1e3 * seconds, width, color=colors[k], label=name)
        axes[1].bar(place, 100 * limit / seconds, width, color=colors[k])
    for k, value in enumerate(limit):
        line = axes[0].plot(
            [k - 1.5 * width, k + 1.5 * width], 2 * [1e3 * value], color="black", lw=1.5
        )
    line[0].set_label("products at the machine's peak")
    axes[0].set(yscale="log", ylabel="milliseconds per step", title="(a) Time")
    axes[0].legend(fontsize=8)
    axes[1].set(ylabel="share of the measured peak (%)", title="(b) Utilisation")
    axes[1].axhline(100, color="black", lw=1)
    for axis in axes:
        axis.set_xticks(x, labels, fontsize=8)
    style.caption(
        figure,
        f"One step on {arrays['batch_size']} rows, {arrays['num_outputs']} outputs, "
        f"float32, {arrays['threads']} threads, medians of alternating rounds, without "
        "compilation. Peak: the largest speed of a square product of order d that "
        "cvxjax or PyTorch reached here.",
    )
    return figure


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    ours, *theirs = arrays["seconds"].T
    if not np.all(np.isfinite(arrays["seconds"])):
        return [
            Claim(
                "a step takes less time than in PyTorch",
                "PyTorch is not installed here",
                Verdict.UNCHECKABLE,
            )
        ]
    ratios = [times / ours for times in theirs]
    share = arrays["flops"] / arrays["peak"] / ours
    spans = [f"{min(r):.2f} to {max(r):.2f} times" for r in ratios]
    return [
        Claim(
            f"a step is at least {_ASKED} times as fast as in plain PyTorch",
            f"{spans[0]} as fast as the published formulation; {spans[1]} as fast as "
            f"PyTorch in the formulation of one product; weights after the last step "
            f"agree to {np.max(arrays['apart']):.0e}",
            Verdict.of(np.min(ratios[0]) >= _ASKED),
        ),
        Claim(
            "it runs at half or more of the measured peak",
            f"{100 * np.min(share):.0f} to {100 * np.max(share):.0f} %",
            Verdict.of(np.min(share) >= 0.5),
        ),
        Claim(
            "its memory is within 1.3 of weights, momentum, gates and one batch of "
            "activations",
            f"{np.max(arrays['memory']):.2f}",
            Verdict.of(np.max(arrays["memory"]) <= 1.3),
        ),
    ]


if __name__ == "__main__":
    launch.main(__name__)
