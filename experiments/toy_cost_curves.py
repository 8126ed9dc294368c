"""SGD on five points gets stuck; the convex program finds the global optimum.

    python -m experiments.toy_cost_curves

About 1 minute on two CPU cores, half of it compilation (0.5 when run again).

Labels 1, -1, 1, 1, -1 at x = -2, ..., 2, with a bias column, are fitted by two-layer
ReLU networks of 8, 15 and 50 neurons on

    1/2 ||f(X) - y||^2 + beta/2 ||params||^2,  beta = 0.03,

by mini-batch SGD from 10 initialisations, as in the talk. The convex program over all
10 activation patterns gives the global optimum, 0.29292788, with a certificate, and the
network recovered from it has 4 neurons.

Expect 7, 8 and 10 of the 10 runs within 1 % of the optimum at 8, 15 and 50 neurons; 64,
90 and 95 of 100 runs. The rest are not slow: each ends at the optimum of the convex
program over the activation patterns and signs of its own neurons, which makes it a
stationary point (Wang, Lacotte & Pilanci, ICLR 2022), most often at 1.126 times the
global optimum. Adam gets stuck less often: not every local method fails, but only the
certificate tells which runs did.

Source: Pilanci & Ergen, Neural Networks are Convex Regularizers (ICML 2020), whose beta
is not known here. At much smaller beta, slow convergence hides the local minima.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

import cvxjax as cj
from experiments._frame import launch, style
from experiments._frame.record import Claim, Verdict, resumable
from experiments._parts.stationary import own_optimum

MINUTES = 1

_SAME = 1e-3  # relative, between a stuck run and its own convex program


@dataclasses.dataclass(frozen=True)
class Config:
    widths: tuple[int, ...] = (8, 15, 50)  # neurons
    beta: float = 3e-2  # weight decay
    num_seeds: int = 100  # initialisations; they also choose the learning rate
    num_shown: int = 10  # of them drawn
    steps: int = 100_000  # of SGD
    batch_size: int = 1  # 5 is the full batch
    learning_rates: tuple[float, ...] = (2e-3, 5e-3, 1e-2)  # first of a cosine decay
    adam_steps: int = 20_000  # full batch
    adam_rate: float = 1e-2  # first of a cosine decay
    tolerance: float = 1e-2  # relative; nearer to the optimum counts as reached
    tol: float = 1e-8  # certified gap of the convex program
    seed: int = 0

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            widths=(4, 8),
            num_seeds=4,
            num_shown=3,
            steps=2_000,
            learning_rates=(1e-2,),
            adam_steps=300,
            tol=1e-6,
        )


def run(config: Config) -> dict[str, np.ndarray]:
    X, y = cj.data.synthetic.five_points()
    arrays = _convex(config, X, y)
    launch.say(f"  {_certificate(arrays)}")
    parts = resumable("toy_cost_curves", config)
    jobs = [(m, rate) for m in config.widths for rate in (*config.learning_rates, None)]
    runs = {}
    for m, rate in launch.progress(jobs, "training"):
        runs[m, rate] = parts.part(
            f"{m}-{rate}", lambda m=m, rate=rate: _train(config, m, rate, X, y)
        )

    optimum = arrays["optimum"]
    final = np.asarray(
        [
            [runs[m, rate]["final"] for rate in config.learning_rates]
            for m in config.widths
        ]
    )
    reached = final <= (1 + config.tolerance) * optimum
    chosen = int(np.argmax(reached.sum(axis=(0, 2))))
    rate = config.learning_rates[chosen]
    own = np.full((len(config.widths), config.num_seeds), np.nan)
    for w, m in enumerate(config.widths):
        for seed in np.flatnonzero(~reached[w, chosen]):
            neurons = (
                runs[m, rate]["first"][seed].T,
                runs[m, rate]["second"][seed, :, 0],
            )
            own[w, seed] = own_optimum(*neurons, X, y, config.beta)
    everything = list(runs.values())
    return arrays | {
        "widths": np.asarray(config.widths),
        "learning_rates": np.asarray(config.learning_rates),
        "chosen": np.asarray(chosen),
        "steps": runs[config.widths[0], rate]["steps"],
        "curves": np.stack([runs[m, rate]["curves"] for m in config.widths]),
        "final": final,  # [width, learning rate, seed]
        "adam_final": np.stack([runs[m, None]["final"] for m in config.widths]),
        "own_optimum": own,  # [width, seed], NaN where the global one was reached
        "beta": np.asarray(config.beta),
        "tolerance": np.asarray(config.tolerance),
        "batch_size": np.asarray(config.batch_size),
        "num_samples": np.asarray(len(y)),
        "compile_seconds": sum(part["compile_seconds"] for part in everything),
    }


def _convex(config: Config, X: np.ndarray, y: np.ndarray) -> dict[str, np.ndarray]:
    """The global optimum, its certificate, and the recovered networks' objectives."""
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, y, patterns, beta=config.beta)
    solution = cj.solve(program, cj.solvers.Admm(tol=config.tol)).check()
    certificate = cj.certify(program, solution)
    recovered = program.recover(solution.params)
    minimal = cj.recovery.minimal(recovered, X)

    def objective(variables: Any) -> np.ndarray:
        value = cj.networks.weight_decay_objective(
            program.network(), variables, program.X, program.y, beta=config.beta
        )
        return np.asarray(value)

    return {
        "optimum": np.asarray(certificate.primal),
        "lower_bound": np.asarray(certificate.dual),
        "gap": np.asarray(certificate.gap),
        "cone_violation": np.asarray(certificate.cone_violation),
        "scope": np.asarray(certificate.scope.value),
        "num_patterns": np.asarray(len(patterns.masks)),
        "recovered": objective(recovered),
        "minimal": objective(minimal),
        "minimal_neurons": np.asarray(_width(minimal)),
    }


def _width(variables: Any) -> int:
    return variables["params"]["first"]["kernel"].shape[1]


def _train(
    config: Config, m: int, rate: float | None, X: np.ndarray, y: np.ndarray
) -> dict[str, Any]:
    """All seeds of one width by SGD, or by Adam where the rate is None."""
    steps = config.adam_steps if rate is None else config.steps
    decay = optax.cosine_decay_schedule(rate or config.adam_rate, steps)
    result = cj.networks.train(
        jax.random.key(config.seed),
        cj.networks.TwoLayer(num_neurons=m),
        (X, y),
        optax.adam(decay) if rate is None else optax.sgd(decay),
        steps=steps,
        num_seeds=config.num_seeds,
        weight_decay=config.beta,
        batch_size=None if rate is None else config.batch_size,
        record_every=max(1, steps // 1000),
    )
    objective, marks = np.asarray(result.objective), np.asarray(result.steps)
    # Even steps on the logarithmic axis: a fifth of the file, the same picture.
    kept = np.unique(np.geomspace(1, len(marks) - 1, 200).round().astype(int))
    kept = np.append(0, kept)
    params = result.variables["params"]
    return {
        "steps": marks[kept],
        "curves": objective[: config.num_shown, kept],
        "final": objective[:, -1],
        "first": params["first"]["kernel"],
        "second": params["second"]["kernel"],
        "compile_seconds": result.compile_seconds,
    }


def _reached(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """[width, seed], at the chosen learning rate."""
    limit = (1 + arrays["tolerance"]) * arrays["optimum"]
    return arrays["final"][:, int(arrays["chosen"])] <= limit


def _certificate(arrays: dict[str, np.ndarray]) -> str:
    return (
        f"convex optimum {arrays['optimum']:.8f}, lower bound "
        f"{arrays['lower_bound']:.8f}, certified gap {arrays['gap']:.0e} "
        f"({arrays['scope']}: all {arrays['num_patterns']} activation patterns)"
    )


def _batch(arrays: dict[str, np.ndarray]) -> str:
    size = int(arrays["batch_size"])
    return "full batch" if size >= arrays["num_samples"] else f"batch size {size}"


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    widths, optimum = arrays["widths"], float(arrays["optimum"])
    shown = arrays["curves"].shape[1]
    figure, axes = style.figure(
        1, len(widths), width=3.4 * len(widths), height=3.8, sharey=True, squeeze=False
    )
    steps = np.maximum(arrays["steps"], 1)
    reached = _reached(arrays)
    good, bad = style.COLORS["other"], style.COLORS["sgd"]
    for axis, m, curves, done in zip(
        axes[0], widths, arrays["curves"] / optimum, reached, strict=True
    ):
        for curve, ok in zip(curves, done[:shown], strict=True):
            axis.plot(
                steps[1:],
                curve[1:],
                color=good if ok else bad,
                linewidth=0.9 if ok else 1.4,
                zorder=2 if ok else 3,
            )
        axis.axhline(1, color=style.COLORS["convex"], linestyle="--", zorder=4)
        axis.plot(
            steps[-1],
            arrays["minimal"] / optimum,
            marker="*",
            markersize=13,
            color=style.COLORS["network"],
            markeredgecolor="white",
            clip_on=False,
            zorder=5,
        )
        for level in np.unique(np.round(curves[~done[:shown], -1], 3)):
            axis.annotate(
                f"{level:g}",
                (steps[-1], level),
                xytext=(0, 3),
                textcoords="offset points",
                ha="right",
                color=bad,
            )
        axis.set(
            xscale="log",
            yscale="log",
            ylim=(0.93, 5),
            xlabel="SGD step",
            title=f"{m} neurons: {int(done[:shown].sum())} of {shown} runs reach it",
        )
        axis.yaxis.set_major_locator(FixedLocator([1, 1.2, 1.5, 2, 3, 5]))
        axis.yaxis.set_minor_locator(NullLocator())
        axis.yaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
    axes[0, 0].set_ylabel("training objective / global optimum")
    handles = [
        Line2D([], [], color=good, label="SGD, reaches the optimum"),
        Line2D([], [], color=bad, label="SGD, stuck above it"),
        Line2D(
            [], [], color=style.COLORS["convex"], ls="--", label="certified optimum"
        ),
        Line2D(
            [],
            [],
            color=style.COLORS["network"],
            marker="*",
            markersize=11,
            linestyle="",
            label=f"recovered network, {arrays['minimal_neurons']} neurons",
        ),
    ]
    figure.legend(handles=handles, loc="outside upper center", ncols=4)
    rate = arrays["learning_rates"][int(arrays["chosen"])]
    total = reached.shape[1]
    counts = ", ".join(map(str, reached.sum(axis=1)))
    adam = ", ".join(map(str, _adam_reached(arrays).sum(axis=1)))
    style.caption(
        figure,
        f"Five points, beta = {arrays['beta']:g}; {_certificate(arrays)}. SGD: "
        f"{_batch(arrays)}, cosine decay from {rate:g}, the best of "
        f"{', '.join(f'{r:g}' for r in arrays['learning_rates'])} over all widths. "
        f"Reached: within {100 * arrays['tolerance']:g} % of the optimum. Of {total} "
        f"runs a width, SGD reaches it in {counts}, full-batch Adam in {adam}.",
    )
    return figure


def _adam_reached(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return arrays["adam_final"] <= (1 + arrays["tolerance"]) * arrays["optimum"]


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    widths, shown = arrays["widths"], arrays["curves"].shape[1]
    reached, adam = _reached(arrays), _adam_reached(arrays)
    total = reached.shape[1]
    lowest = np.nanmin([np.nanmin(arrays["final"]), np.nanmin(arrays["adam_final"])])
    below = bool(lowest < arrays["lower_bound"])
    off = abs(float(arrays["minimal"] / arrays["optimum"]) - 1)
    globally = float(arrays["gap"]) <= 1e-5 and off <= 1e-6 and not below
    stuck = ~reached[0]
    rarer = bool(np.all(np.diff(reached.sum(axis=1)) > 0))
    rows = [
        Claim(
            f"SGD from {shown} initialisations gets stuck above the global optimum at "
            f"m = {widths[0]}",
            f"{int(stuck[:shown].sum())} of {shown} runs end more than "
            f"{100 * arrays['tolerance']:g} % above it ({int(stuck.sum())} of {total}; "
            f"by Adam {int((~adam[0]).sum())} of {total})",
            Verdict.REPRODUCED if stuck[:shown].any() else Verdict.NOT_REPRODUCED,
        ),
        Claim(
            "SGD gets stuck less often in wider networks",
            "reached: "
            + "; ".join(
                f"m = {m} {int(r[:shown].sum())} of {shown} ({int(r.sum())} of {total})"
                for m, r in zip(widths, reached, strict=True)
            )
            + "; best learning rate of each width: "
            + ", ".join(map(str, _best_per_width(arrays)))
            + f" of {total}; Adam: "
            + ", ".join(map(str, adam.sum(axis=1))),
            Verdict.REPRODUCED if rarer else Verdict.NOT_REPRODUCED,
        ),
        Claim(
            "the convex program finds the global optimum",
            f"{_certificate(arrays)}; the recovered network of "
            f"{arrays['minimal_neurons']} neurons differs by {off:.0e}; the lowest of "
            f"all trained networks is at {lowest:.8f}",
            Verdict.REPRODUCED if globally else Verdict.NOT_REPRODUCED,
        ),
    ]
    known = np.isfinite(arrays["own_optimum"])
    if known.any():
        final = arrays["final"][:, int(arrays["chosen"])]
        error = np.abs(final / np.where(known, arrays["own_optimum"], 1) - 1)
        same = int(np.sum(error[known] <= _SAME))
        rows.append(
            Claim(
                "a stuck run sits at a stationary point: the optimum of the convex "
                "program over its own neurons' patterns and signs",
                f"{same} of {int(known.sum())} runs are within {_SAME:g} of it (median "
                f"{np.median(error[known]):.0e}, largest {error[known].max():.0e})",
                Verdict.REPRODUCED if same == known.sum() else Verdict.NOT_REPRODUCED,
            )
        )
    return rows


def _best_per_width(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """[width], runs that reach the optimum at each width's own best learning rate."""
    limit = (1 + arrays["tolerance"]) * arrays["optimum"]
    return (arrays["final"] <= limit).sum(axis=2).max(axis=1)


if __name__ == "__main__":
    launch.main(__name__)
