"""Quadratic activation: the cost of SGD against time, and the convex optimum.

    python -m experiments.quadratic_activation_toy

About 1.5 minutes on two CPU cores, most of it compilation.

100 Gaussian points in 10 dimensions with the labels of 10 planted neurons,
sum_j (x^T u_j)^2 alpha_j with all weights N(0, 1) and no noise, are fitted by networks
of activation t^2 with first-layer weights of unit norm on

    1/2 ||f(X) - y||^2 + beta sum_j |alpha_j|,  beta = 0.01 and 1.

Training is min over symmetric Z of 1/2 ||(x_i^T Z x_i)_i - y||^2 + beta ||Z||_*, and
eigenvectors of Z are the neurons. Mini-batch SGD, and Adam on all points, train
networks of 2 to 50 neurons, one at a time, so that the clock of a run is its own.

Expect optima 0.9104842 and 91.02935, 10 and 9 neurons, in about 10 ms after
compilation. 2 and 5 neurons are too few, whatever trains them. With 10 and more Adam
reaches the optimum to 1e-3, in about the convex solver's time; SGD does at beta = 1,
later than the solver, and at beta = 0.01 within 60,000 steps with 10 neurons alone.

Source: Bartan & Pilanci, Neural Spectrahedra and Semidefinite Lifts (2021). Data, beta
and widths of the talk's figure are not known.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

import cvxjax as cj
from experiments._frame import launch, style
from experiments._frame.clock import timed
from experiments._frame.record import Claim, Verdict, resumable
from experiments._parts.low_rank import truncated

MINUTES = 1.5

_QUADRATIC = (1.0, 0.0, 0.0)
_NONE = 1e-6  # eigenvalues below it, relative to the largest of all, are none
_METHODS = ("SGD", "Adam")
_SHADES = ("#FDBE85", "#FD8D3C", "#E6550D", "#A63603", "#4D1A02")  # of SGD's colour


@dataclasses.dataclass(frozen=True)
class Config:
    num_samples: int = 100
    dim: int = 10
    planted: int = 10  # neurons
    betas: tuple[float, ...] = (0.01, 1.0)
    widths: tuple[int, ...] = (2, 5, 10, 20, 50)  # neurons of the trained networks
    num_seeds: int = 3  # initialisations
    steps: int = 60_000  # of SGD
    batch_size: int = 10
    learning_rates: tuple[float, ...] = (3e-5, 1e-4)  # first of a cosine decay
    adam_steps: int = 20_000  # full batch
    adam_rate: float = 0.1  # first of a cosine decay
    tolerance: float = 1e-3  # relative; nearer to the optimum counts as reached
    tol: float = 1e-9  # certified gap of the convex program
    solves: int = 9  # of the convex program, for its time
    seed: int = 0

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            num_samples=30,
            dim=4,
            planted=4,
            betas=(0.1, 1.0),
            widths=(2, 6),
            num_seeds=2,
            steps=300,
            learning_rates=(1e-4,),
            adam_steps=300,
            solves=2,
        )


def sample(config: Config) -> tuple[np.ndarray, np.ndarray]:
    """X [n, d], and y [n] of planted neurons."""
    rng = np.random.default_rng(config.seed)
    X = rng.standard_normal((config.num_samples, config.dim))
    u = rng.standard_normal((config.dim, config.planted))
    return X, (X @ u) ** 2 @ rng.standard_normal(config.planted)


def run(config: Config) -> dict[str, np.ndarray]:
    X, y = sample(config)
    convex = [_convex(config, X, y, beta) for beta in config.betas]
    parts = resumable("quadratic_activation_toy", config)
    jobs = [(m, rate) for m in config.widths for rate in (*config.learning_rates, None)]
    runs = {}
    for m, rate in launch.progress(jobs, "training"):
        runs[m, rate] = parts.part(
            f"{m}-{rate}", lambda m=m, rate=rate: _train(config, m, rate, X, y)
        )
    shape = range(len(config.betas)), config.widths
    best = [[_best_rate(config, runs, m, b) for m in shape[1]] for b in shape[0]]
    made = {name: np.asarray([c[name] for c in convex]) for name in convex[0]}
    for name in ("curves", "seconds"):  # [SGD and Adam, beta, width, seed, record]
        sgd = [
            [runs[m, best[b][k]][name][b] for k, m in enumerate(shape[1])]
            for b in shape[0]
        ]
        adam = [[runs[m, None][name][b] for m in shape[1]] for b in shape[0]]
        made[name] = np.asarray([sgd, adam])
    every = [[part["curves"][b] for part in runs.values()] for b in shape[0]]
    return made | {
        "lowest": np.asarray([np.nanmin(curves) for curves in every]),
        "rates": np.asarray(config.learning_rates),
        "betas": np.asarray(config.betas),
        "widths": np.asarray(config.widths),
        "sizes": np.asarray([*X.shape, config.planted]),
        "steps": np.asarray([config.steps, config.batch_size, config.adam_steps]),
        "tolerance": np.asarray(config.tolerance),
    }


def _best_rate(config: Config, runs: dict[Any, Any], m: int, b: int) -> float:
    """Of SGD, by the median over seeds; diverged runs count as infinite."""
    last = [runs[m, rate]["curves"][b, :, -1] for rate in config.learning_rates]
    last = np.where(np.isfinite(last), last, np.inf)
    return config.learning_rates[int(np.argmin(np.median(last, axis=1)))]


def _convex(
    config: Config, X: np.ndarray, y: np.ndarray, beta: float
) -> dict[str, Any]:
    """The optimum, its certificate, times, and the network that is recovered."""
    program = cj.programs.make_polynomial(X, y, beta=beta, coefficients=_QUADRATIC)
    solver = cj.solvers.SemidefiniteInteriorPoint(tol=config.tol)
    solution, clocks = timed(lambda: cj.solve(program, solver), config.solves + 1)
    certificate = cj.certify(program, solution.check())
    low, rank = truncated(program, solution.params, _NONE)
    network, variables = program.network(), program.recover(low)
    recovered = cj.networks.weight_decay_objective(
        network, variables, program.X, program.y, beta=beta, penalty=network.penalty
    )
    return {
        "optimum": certificate.primal,
        "bound": certificate.dual,
        "gap": certificate.gap,
        "scope": certificate.scope.value,
        "first_seconds": clocks[0],
        "convex_seconds": np.median(clocks[1:]),
        "rank": rank,
        "neurons": variables["params"]["first"]["kernel"].shape[1],
        "recovered": float(recovered),
    }


def _train(
    config: Config, m: int, rate: float | None, X: np.ndarray, y: np.ndarray
) -> dict[str, Any]:
    """Every beta and seed of one width by SGD, or by Adam where the rate is None."""
    network = cj.networks.Polynomial(_QUADRATIC, num_neurons=m)
    steps = config.adam_steps if rate is None else config.steps
    decay = optax.cosine_decay_schedule(rate or config.adam_rate, steps)
    optimizer = optax.adam(decay) if rate is None else optax.sgd(decay)

    def one(beta: float, seed: int) -> Any:
        return cj.networks.train(
            jax.random.key(config.seed + seed),
            network,
            (X, y),
            optimizer,
            steps=steps,
            weight_decay=beta,
            batch_size=None if rate is None else config.batch_size,
            record_every=max(1, steps // 2000),
            penalty=network.penalty,
        )

    one(config.betas[0], 0)  # compiled, and warm
    runs = [[one(beta, k) for k in range(config.num_seeds)] for beta in config.betas]
    curves = np.asarray([[r.objective[0] for r in row] for row in runs])
    seconds = np.asarray([[r.seconds for r in row] for row in runs])
    marks = curves.shape[-1]
    kept = np.unique(np.geomspace(1, marks - 1, 200).round().astype(int))
    return {"curves": curves[..., kept], "seconds": seconds[..., kept]}


def _reached(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """[method, beta, width, seed], whether the last point is near the optimum."""
    limit = (1 + arrays["tolerance"]) * arrays["optimum"]
    return arrays["curves"][..., -1] <= limit[:, None, None]


def _first_reached(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """[method, beta], seconds of the fastest run that reaches the optimum, or inf."""
    limit = (1 + arrays["tolerance"]) * arrays["optimum"]
    near = arrays["curves"] <= limit[:, None, None, None]
    return np.min(np.where(near, arrays["seconds"], np.inf), axis=(2, 3, 4))


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    betas, widths = arrays["betas"], arrays["widths"]
    figure, axes = style.figure(
        2, len(betas), width=10.5, height=7.2, sharex=True, sharey="col", squeeze=False
    )
    shades = [_SHADES[k * len(_SHADES) // len(widths)] for k in range(len(widths))]
    for axis, (i, b) in zip(axes.ravel(), np.ndindex(2, len(betas)), strict=True):
        for k, shade in enumerate(shades):
            curves, seconds = arrays["curves"][i, b, k], arrays["seconds"][i, b, k]
            axis.plot(seconds.T, curves.T, color=shade, lw=1.1)
        color = style.COLORS["convex"]
        axis.axhline(arrays["optimum"][b], color=color, ls="--", zorder=4)
        place = arrays["convex_seconds"][b], arrays["optimum"][b]
        axis.plot(*place, "X", ms=12, color=color, mec="white", zorder=5)
        axis.set(
            xscale="log",
            yscale="log",
            title=f"({'abcdefgh'[i * len(betas) + b]}) {_METHODS[i]}, "
            f"beta = {betas[b]:g}",
        )
        if i:
            axis.set_xlabel("seconds of one run, without compilation")
        if b == 0:
            axis.set_ylabel("training objective")
    handles = [
        Line2D([], [], color=shade, label=f"{m} neurons")
        for m, shade in zip(widths, shades, strict=True)
    ]
    look: dict[str, Any] = {"ls": "--", "marker": "X", "markeredgecolor": "white"}
    look |= {"label": "convex optimum, and when the solver has it", "ms": 9}
    handles.append(Line2D([], [], color=style.COLORS["convex"], **look))
    figure.legend(handles=handles, loc="outside upper center", ncols=len(handles))
    n, d, planted = arrays["sizes"]
    steps, batch, adam_steps = arrays["steps"]
    optima, ms, neurons = (
        " and ".join(format(value, form) for value in values)
        for values, form in (
            (arrays["optimum"], ".7g"),
            (1e3 * arrays["convex_seconds"], ".0f"),
            (arrays["neurons"], "d"),
        )
    )
    style.caption(
        figure,
        f"{n} Gaussian points in {d} dimensions, {planted} planted neurons. Optima "
        f"{optima}, certified gap at most {arrays['gap'].max():.0e} "
        f"({arrays['scope'][0]}: all networks of any width), {neurons} neurons, found "
        f"in {ms} ms: warm, the median of several calls; the first takes "
        f"{arrays['first_seconds'].max():.1f} s, with compilation.\n"
        f"SGD: batches of {batch}, {steps:,} steps, the better rate of "
        f"{', '.join(f'{r:g}' for r in arrays['rates'])} in each width; Adam: all "
        f"points, {adam_steps:,} steps; cosine decay. "
        f"{arrays['curves'].shape[3]} starts a width, each trained alone on the same "
        "machine, its seconds spread evenly over its steps.",
    )
    return figure


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    betas, widths, optimum = arrays["betas"], arrays["widths"], arrays["optimum"]
    off = np.max(np.abs(arrays["recovered"] / optimum - 1))
    below = int(np.sum(arrays["lowest"] < arrays["bound"]))
    excess = arrays["lowest"] / optimum - 1
    same = arrays["gap"].max() <= 1e-6 and off <= 1e-8 and below == 0
    reached = _reached(arrays)
    rank, seconds = arrays["rank"], arrays["convex_seconds"]
    enough = widths[None] >= rank[:, None]
    rows = [
        Claim(
            "p_convex = p_nonconvex",
            f"certified gap at most {arrays['gap'].max():.0e} at optima "
            f"{', '.join(f'{value:.8g}' for value in optimum)}; the recovered networks "
            f"differ by at most {off:.0e}; the best of all training is above by "
            f"{', '.join(f'{e:.0e}' for e in excess)}, below the bound nowhere"
            if below == 0
            else f"training is below the bound at {below} betas",
            Verdict.of(same),
        ),
        Claim(
            "the number of neurons is the rank of Z, at most d",
            "; ".join(
                f"beta {beta:g}: {m} neurons, rank {r}"
                for beta, m, r in zip(betas, arrays["neurons"], rank, strict=True)
            )
            + f"; d = {arrays['sizes'][1]}",
            Verdict.of(
                np.all(arrays["neurons"] == rank) and rank.max() <= arrays["sizes"][1]
            ),
        ),
    ]
    for i, method in enumerate(_METHODS):
        rows.append(
            Claim(
                f"{method} reaches the optimum where the network is wide enough, "
                "and only there",
                _counts(arrays, i),
                Verdict.of(reached[i][enough].all() and not reached[i][~enough].any()),
            )
        )
    first = _first_reached(arrays)
    for method, times in zip(_METHODS, first, strict=True):
        rows.append(
            Claim(
                f"the convex solver is there before {method}",
                "; ".join(
                    f"beta {beta:g}: {1e3 * t:.1f} ms, certified to {gap:.0e}, against "
                    + (f"{1e3 * u:.1f} ms" if np.isfinite(u) else "no run")
                    for beta, t, gap, u in zip(
                        betas, seconds, arrays["gap"], times, strict=True
                    )
                )
                + f", the fastest run within {arrays['tolerance']:g}; compilation "
                f"apart: the solver's first call takes "
                f"{arrays['first_seconds'].max():.1f} s",
                Verdict.of(np.all(seconds < times))
                if np.isfinite(times).any()
                else Verdict.UNCHECKABLE,
            )
        )
    return rows


def _counts(arrays: dict[str, np.ndarray], i: int) -> str:
    """How many runs of each width reach each optimum, and how near the median is."""
    count = _reached(arrays)[i].sum(axis=-1)
    excess = arrays["curves"][i, ..., -1] / arrays["optimum"][:, None, None] - 1
    median = np.median(excess, axis=-1)
    lines = []
    for beta, row, near in zip(arrays["betas"], count, median, strict=True):
        cells = zip(arrays["widths"], row, near, strict=True)
        words = ", ".join(f"{k} of width {m} ({e:.0e})" for m, k, e in cells)
        lines.append(f"beta {beta:g}: {words}")
    return (
        f"of {excess.shape[-1]} runs within {arrays['tolerance']:g} (median excess): "
        + "; ".join(lines)
        + f"; the optimum has {', '.join(map(str, arrays['rank']))} neurons"
    )


if __name__ == "__main__":
    launch.main(__name__)
