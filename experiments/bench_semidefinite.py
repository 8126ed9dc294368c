"""Polynomial and quantized networks: seconds to a certified optimum, beside CVXPY.

    python -m experiments.bench_semidefinite

About 11 minutes on two CPU cores. Nothing else should run meanwhile.

Gaussian data and a planted ReLU network with noise, at a thousandth of the beta from
which on zero is optimal. Every answer is made feasible and judged by the certificate;
a peer's time is that of the loosest of its tolerances with which it certifies the gap,
CVXPY's own work included. `reduced` hands CVXPY the triangular factor of the features
in place of the features, which takes the number of samples out of its problem; ours
does as much by itself. Ours is the default solver, warm, a median; its first call is
given apart.

Costs against the order of the matrices and the number of samples are those to the same
gap, with exponents by least squares on the logarithms, which speak of these sizes
alone.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

import cvxjax as cj
from cvxjax.solvers.choice import default_solver
from experiments._frame import launch, style
from experiments._frame.clock import timed
from experiments._frame.record import Claim, Verdict, resumable
from experiments._peers.spectral import solve_by_cvxpy

MINUTES = 11

_TOLERANCES = (1e-5, 1e-6, 1e-7, 1e-8)  # of peers, until one certifies the gap
_PEERS = ("CLARABEL", "SCS", "CLARABEL reduced", "SCS reduced")
_NAMES = {
    "CLARABEL": "CVXPY + Clarabel",
    "SCS": "CVXPY + SCS",
    "CLARABEL reduced": "CVXPY + Clarabel, reduced",
    "SCS reduced": "CVXPY + SCS, reduced",
}
_SOLVERS = {
    "SemidefiniteInteriorPoint": ("convex", "-", "o"),
    "Semidefinite": ("network", "--", "s"),
    "LowRankSemidefinite": ("baseline", ":", "^"),
}
_ASKED = (20, 50)  # times as fast as CVXPY, by size


@dataclasses.dataclass(frozen=True)
class Config:
    samples: tuple[int, ...] = (12_000, 10_000)  # of the two sizes
    orders: tuple[int, ...] = (17, 49)  # of their matrices
    kinds: tuple[str, ...] = ("polynomial", "quantized")
    gap: float = 1e-5  # certified
    fraction: float = 1e-3  # of the beta from which on zero is optimal
    limit: float = 100.0  # seconds that a peer's solver may take
    repeats: int = 5
    grid_orders: tuple[int, ...] = (9, 17, 33, 49)  # with grid_samples[1]
    grid_samples: tuple[int, ...] = (1_000, 4_000, 16_000)  # with order 25
    grid_order: int = 25
    seed: int = 0

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            samples=(60,),
            orders=(4,),
            limit=20.0,
            repeats=1,
            grid_orders=(3, 4),
            grid_samples=(30, 60),
            grid_order=3,
        )


def run(config: Config) -> dict[str, np.ndarray]:
    parts = resumable("bench_semidefinite", config)
    jobs = [
        (kind, n, q)
        for n, q in zip(config.samples, config.orders, strict=True)
        for kind in config.kinds
    ]
    rows = [
        parts.part(f"{kind}-{n}-{q}", lambda job=(kind, n, q): _compare(config, *job))
        for kind, n, q in launch.progress(jobs, "problems")
    ]
    middle = config.grid_samples[min(1, len(config.grid_samples) - 1)]
    grid = [("order", middle, q) for q in config.grid_orders]
    grid += [("samples", n, config.grid_order) for n in config.grid_samples]
    lines = [
        parts.part(f"grid-{n}-{q}", lambda n=n, q=q: _grid(config, n, q))
        for _, n, q in launch.progress(grid, "sizes")
    ]
    return {
        **{key: np.stack([row[key] for row in rows]) for key in rows[0]},
        "kind": np.asarray([kind for kind, _, _ in jobs]),
        "n": np.asarray([n for _, n, _ in jobs]),
        "q": np.asarray([q for _, _, q in jobs]),
        "grid_axis": np.asarray([axis for axis, _, _ in grid]),
        "grid_n": np.asarray([n for _, n, _ in grid]),
        "grid_q": np.asarray([q for _, _, q in grid]),
        "grid_seconds": np.stack([line["seconds"] for line in lines]),
        "grid_gap": np.stack([line["gap"] for line in lines]),
        "asked_gap": np.asarray(config.gap),
        "fraction": np.asarray(config.fraction),
        "limit": np.asarray(config.limit),
    }


def make(kind: str, n: int, q: int, config: Config) -> Any:
    """The program of n samples with matrices of order q."""
    rng = np.random.default_rng(config.seed)
    d = q - 1 if kind == "polynomial" else q
    X = rng.standard_normal((n, d))
    hidden = np.maximum(X @ rng.standard_normal((d, 10)), 0)
    y = hidden @ rng.standard_normal(10)
    y = y / np.std(y) + 0.1 * rng.standard_normal(n)
    polynomial, quantized = cj.programs.make_polynomial, cj.programs.make_quantized
    maker: Any = polynomial if kind == "polynomial" else quantized
    program = maker(X, y, beta=1.0)
    return program.replace(beta=jnp.asarray(config.fraction * program.beta_max()))


def _compare(config: Config, kind: str, n: int, q: int) -> dict[str, np.ndarray]:
    program = make(kind, n, q, config)
    seconds, gap, objective, steps = _ours(program, None, config)
    found = {"objective": objective, "gap": gap, "steps": steps}
    peers = np.full((len(_PEERS), 3), np.nan)  # seconds, objective, gap
    for k, name in enumerate(_PEERS):
        solver, *reduced = name.split()
        for tol in _TOLERANCES:
            answer = solve_by_cvxpy(
                program, solver, tol, config.limit, reduced=bool(reduced)
            )
            peers[k] = answer
            if answer.gap <= config.gap or answer.seconds >= config.limit:
                break
    return {
        **{name: np.asarray(value) for name, value in found.items()},
        "seconds": np.asarray(np.median(seconds[1:])),
        "first": np.asarray(seconds[0]),
        "peers": peers,
    }


def _ours(
    program: Any, solver: Any, config: Config
) -> tuple[list[float], float, float, int]:
    """Seconds of the first and the warm calls; certified gap; objective; steps."""
    if solver is None:
        solver = default_solver(program).replace(tol=config.gap / 2)
    solution, seconds = timed(lambda: cj.solve(program, solver), 1 + config.repeats)
    certificate = cj.certify(program, solution)
    return seconds, certificate.gap, certificate.primal, int(solution.iterations)


def _grid(config: Config, n: int, q: int) -> dict[str, np.ndarray]:
    program = make("polynomial", n, q, config)
    few = dataclasses.replace(config, repeats=min(config.repeats, 2))
    found = [
        _ours(program, getattr(cj.solvers, name)(tol=config.gap / 2), few)
        for name in _SOLVERS
    ]
    return {
        "seconds": np.asarray([np.median(seconds[1:]) for seconds, *_ in found]),
        "gap": np.asarray([gap for _, gap, *_ in found]),
    }


def ratios(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """[problems, peers]: a peer's seconds over ours; NaN where it does not certify."""
    certified = arrays["peers"][..., 2] <= arrays["asked_gap"]
    seconds = np.where(certified, arrays["peers"][..., 0], np.nan)
    return seconds / arrays["seconds"][:, None]


def exponents(arrays: dict[str, np.ndarray]) -> dict[tuple[str, str], float]:
    """d log seconds / d log size, of (solver, axis), where the gap was certified."""
    found = {}
    for k, name in enumerate(_SOLVERS):
        for axis, sizes in (
            ("order", arrays["grid_q"]),
            ("samples", arrays["grid_n"]),
        ):
            rows = (arrays["grid_axis"] == axis) & _certified(arrays, k)
            if rows.sum() >= 2:
                logs = np.log(sizes[rows]), np.log(arrays["grid_seconds"][rows, k])
                found[name, axis] = float(np.polyfit(*logs, 1)[0])
    return found


def _certified(arrays: dict[str, np.ndarray], solver: int) -> np.ndarray:
    return arrays["grid_gap"][:, solver] <= arrays["asked_gap"]


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(
        1, 3, width=14.5, height=4.2, gridspec_kw={"width_ratios": (1.5, 1, 1)}
    )
    _plot_bars(axes[0], arrays)
    slopes = exponents(arrays)
    for axis, name, sizes, label in (
        (axes[1], "order", arrays["grid_q"], "order of the matrices"),
        (axes[2], "samples", arrays["grid_n"], "samples"),
    ):
        for k, (solver, look) in enumerate(_SOLVERS.items()):
            rows = (arrays["grid_axis"] == name) & _certified(arrays, k)
            role, dashes, marker = look
            slope = slopes.get((solver, name))
            power = "" if slope is None else f", power {slope:.1f}"
            axis.plot(
                sizes[rows],
                arrays["grid_seconds"][rows, k],
                linestyle=dashes,
                marker=marker,
                color=style.COLORS[role],
                label=solver + power,
            )
        axis.set(xscale="log", yscale="log", xlabel=label)
        shown = sorted(set(sizes[arrays["grid_axis"] == name].tolist()))
        axis.set_xticks(shown, [f"{size:,}" for size in shown])
        axis.xaxis.set_minor_locator(NullLocator())
        axis.legend(fontsize=8)
    axes[1].set(ylabel="seconds, warm")
    axes[1].set_title("(b) Cost against the order")
    axes[2].set_title("(c) Cost against samples")
    rows = {axis: arrays["grid_axis"] == axis for axis in ("order", "samples")}
    style.caption(
        figure,
        f"Seconds to a certified relative gap of {arrays['asked_gap']:.0e}: over all "
        "networks (polynomial), or of the relaxation (quantized). beta is "
        f"{arrays['fraction']:.0e} of the one where zero is optimal. Arrows: not "
        f"certified at any tolerance in {arrays['limit']:.0f} s. (b) polynomial, "
        f"{arrays['grid_n'][rows['order']][0]} samples; (c) polynomial, order "
        f"{arrays['grid_q'][rows['samples']][0]}; points left out: not certified.",
    )
    return figure


def _plot_bars(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    times = ratios(arrays)
    width = 0.8 / (1 + len(_PEERS))
    roles = ("sgd", "baseline", "bound", "other")
    places = np.arange(len(arrays["kind"]))
    axis.bar(
        places - 0.4 + width / 2,
        arrays["seconds"],
        width,
        color=style.COLORS["convex"],
        label="cvxjax",
    )
    for k, name in enumerate(_PEERS):
        x = places - 0.4 + (k + 1.5) * width
        seconds = arrays["peers"][:, k, 0]
        axis.bar(x, seconds, width, color=style.COLORS[roles[k]], label=_NAMES[name])
        for i, place in enumerate(x):
            known = np.isfinite(times[i, k])
            text = f"{times[i, k]:.0f}x" if known else "$\\uparrow$"
            axis.annotate(
                text, (place, seconds[i]), ha="center", va="bottom", fontsize=7
            )
    axis.set_xticks(
        places,
        [
            f"{kind}\n{n:,} samples\norder {q}"
            for kind, n, q in zip(arrays["kind"], arrays["n"], arrays["q"], strict=True)
        ],
    )
    axis.set(yscale="log", ylabel="seconds")
    axis.set_title("(a) To a certified optimum")
    axis.margins(y=0.3)
    axis.legend(fontsize=8, ncols=2)


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    times, made = ratios(arrays), []
    plain = [k for k, name in enumerate(_PEERS) if "reduced" not in name]
    for i, kind in enumerate(arrays["kind"]):
        size = int(np.searchsorted(np.unique(arrays["q"]), arrays["q"][i]))
        asked = _ASKED[min(size, 1)]
        texts = []
        for k, name in enumerate(_PEERS):
            seconds, _, gap = arrays["peers"][i, k]
            known = np.isfinite(times[i, k])
            texts.append(
                f"{_NAMES[name]} {seconds:.3g} s ({times[i, k]:.0f}x)"
                if known
                else f"{_NAMES[name]} not in {seconds:.3g} s (gap {gap:.0e})"
            )
        # A peer that does not certify takes at least the time that it was given.
        least = [
            arrays["peers"][i, k, 0] / arrays["seconds"][i]
            for k in plain
            if np.isfinite(times[i, k]) or arrays["peers"][i, k, 0] >= arrays["limit"]
        ]
        made.append(
            Claim(
                f"{kind}, {arrays['n'][i]} samples, order {arrays['q'][i]}: {asked} "
                "times as fast as CVXPY to the same certified gap",
                f"{arrays['seconds'][i]:.3g} s (first call {arrays['first'][i]:.2g} s),"
                f" gap {arrays['gap'][i]:.0e}, {arrays['steps'][i]} steps; "
                + "; ".join(texts),
                Verdict.of(bool(least) and min(least) >= asked),
            )
        )
    slopes = exponents(arrays)
    made.append(
        Claim(
            "the cost is polynomial in the order and at most linear in the samples",
            "; ".join(
                f"{name}: {axis}^{slope:.1f}" for (name, axis), slope in slopes.items()
            ),
            Verdict.of(
                all(
                    slope <= 1.2
                    for (_, axis), slope in slopes.items()
                    if axis[0] == "s"
                )
            ),
        )
    )
    return made


if __name__ == "__main__":
    launch.main(__name__)
