"""Three points in the plane: four activation patterns, and the program they lead to.

    python -m experiments.arrangements_picture

Seconds on two CPU cores.

The talk's example, X = [[2, 2], [3, 3], [1, 0]]. A neuron u splits the points by the
line x^T u = 0: those with x^T u >= 0 are active. Two points lie on one ray from the
origin, so that there are four patterns instead of six. The pattern without active
points contributes nothing, and three blocks are left. The talk prints D_i X u_i >= 0 as
their constraints. That leaves out the inactive points, x^T u_i <= 0, and without these
rows a block may be no neuron: the value is that of gated ReLU, which no ReLU network
attains.

Source: the talk; Pilanci & Ergen, Neural Networks are Convex Regularizers (ICML 2020).
The labels are not in the talk; those here show the effect.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

import cvxjax as cj
from experiments._frame import launch, style
from experiments._frame.record import Claim, Verdict
from experiments._parts.talk_example import LABELS, POINTS, active_rows_only

MINUTES = 0.5

_SAME = 1e-5  # relative difference of two values that are one


@dataclasses.dataclass(frozen=True)
class Config:
    beta: float = 0.05  # weight decay
    starts: int = 100  # local searches
    steps: int = 10_000  # of each
    width: int = 8  # neurons of each
    seed: int = 0

    @classmethod
    def smoke(cls) -> Config:
        return cls(starts=4, steps=200)


def run(config: Config) -> dict[str, np.ndarray]:
    patterns = cj.arrangements.enumerate_patterns(POINTS)
    programs = make_programs(patterns, config.beta)
    values, gaps = [], []
    for program in programs.values():
        certificate = cj.certify(program, cj.solve(program).check())
        values.append(certificate.primal)
        gaps.append(certificate.gap)
    exact = programs["all rows"]
    params = cj.solve(exact).params
    network = cj.recovery.minimal(exact.recover(params), POINTS)
    schedule = optax.exponential_decay(0.05, config.steps, 1e-6)
    searches = cj.networks.train(
        jax.random.key(config.seed),
        cj.networks.TwoLayer(config.width),
        (POINTS, LABELS),
        optax.adam(schedule, 0.9, 0.99),
        steps=config.steps,
        num_seeds=config.starts,
        weight_decay=config.beta,
    )
    return {
        "masks": np.asarray(patterns.masks),
        "gates": np.asarray(exact.cones.interior),
        "programs": np.asarray(list(programs)),
        "values": np.asarray(values),
        "gaps": np.asarray(gaps),
        "searches": np.sort(np.asarray(searches.objective)[:, -1]),
        "neurons": np.asarray(network["params"]["first"]["kernel"]).T,
        "outputs": np.asarray(network["params"]["second"]["kernel"])[:, 0],
        "beta": np.asarray(config.beta),
    }


def make_programs(patterns: cj.arrangements.Patterns, beta: float) -> dict[str, Any]:
    """The program with all rows, with those of active points alone, and without any."""
    make = cj.programs.make_two_layer
    every = make(POINTS, LABELS, patterns, beta=beta)
    gated = make(POINTS, LABELS, patterns, beta=beta, gated=True)
    return {
        "all rows": every,
        "active rows only": active_rows_only(every),
        "no rows": gated,
    }


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    count = len(arrays["masks"])
    figure, axes = style.figure(1, count + 1, width=2.7 * (count + 1), height=4.7)
    for i in range(count):
        _plot_pattern(axes[i], arrays["masks"][i], arrays["gates"][i], i + 1)
    _plot_values(axes[count], arrays)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=len(handles))
    style.caption(
        figure,
        f"X = [[2, 2], [3, 3], [1, 0]], y = {LABELS.tolist()}, squared loss, beta = "
        f"{arrays['beta']:g}; all patterns, so that the values are those of all "
        f"networks; certified gaps up to {arrays['gaps'].max():.0e}. Under each panel: "
        "the constraints of the pattern's blocks, for v and for w in place of u; the "
        "talk prints those with >= alone.",
    )
    return figure


def _plot_pattern(axis: Any, mask: np.ndarray, gate: np.ndarray, number: int) -> None:
    gate = gate / np.linalg.norm(gate)
    line = np.array([-gate[1], gate[0]])
    ends = 9 * np.stack([-line, line])
    side = np.concatenate([ends, ends[::-1] + 9 * gate])
    axis.fill(*side.T, color=style.COLORS["other"], alpha=0.25, lw=0)
    axis.plot(*ends.T, color=style.COLORS["truth"], lw=1.2, label="x^T u = 0")
    for active, color, marker, name in (
        (True, style.COLORS["convex"], "o", "active, x^T u >= 0"),
        (False, style.COLORS["sgd"], "X", "inactive"),
    ):
        shown = POINTS[mask == active]
        axis.plot(
            shown[:, 0], shown[:, 1], marker, color=color, ms=9, ls="none", label=name
        )
    arrow = {"arrowstyle": "->", "color": style.COLORS["truth"]}
    axis.annotate("", 1.4 * gate, (0, 0), arrowprops=arrow)
    axis.text(*(1.8 * gate), "u", ha="center", va="center")
    diagonal = ", ".join(str(int(on)) for on in mask)
    rows = (
        [_row(x, True) for x in POINTS[mask]],
        [_row(x, False) for x in POINTS[~mask]],
    )
    below = "\n".join(row for part in rows for row in part)
    axis.set(
        title=f"D{number} = diag({diagonal})",
        xlim=(-2, 4),
        ylim=(-2, 4),
        aspect="equal",
        xlabel=f"first feature\n{below}",
        ylabel="second feature" if number == 1 else None,
    )


def _row(x: np.ndarray, active: bool) -> str:
    terms = [f"{a:g} u{k}" for k, a in enumerate(x, 1) if a]
    return " + ".join(terms).replace("1 u", "u") + (" >= 0" if active else " <= 0")


def _plot_values(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    values = [*arrays["values"], arrays["searches"][0]]
    names = [*arrays["programs"], "best local\nsearch"]
    colors = [style.COLORS[role] for role in ("convex", "baseline", "bound", "sgd")]
    bars = axis.bar(range(len(values)), values, color=colors)
    axis.bar_label(bars, [f"{value:.5f}" for value in values], fontsize=8)
    ticks = [str(name).replace(" rows", "\nrows") for name in names]
    axis.set_xticks(range(len(values)), ticks, fontsize=8)
    axis.set(title="Optimal values", ylabel="objective", ylim=(0, 1.15 * max(values)))


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    named = {tuple(mask.astype(int).tolist()) for mask in arrays["masks"]}
    talk = {(1, 1, 1), (1, 1, 0), (0, 0, 1), (0, 0, 0)}
    exact, printed, gated = (float(value) for value in arrays["values"])
    best = float(arrays["searches"][0])
    agree = abs(best / exact - 1) <= _SAME
    right = abs(printed / exact - 1) <= _SAME
    same = "the same as" if abs(printed / gated - 1) <= _SAME else "not"
    return [
        Claim(
            "three points have the patterns 111, 110, 001 and 000",
            f"{len(named)} enumerated, {len(named & talk)} of these",
            Verdict.REPRODUCED if named == talk else Verdict.NOT_REPRODUCED,
        ),
        Claim(
            "the program of three blocks with D_i X u_i >= 0 has the network's value",
            f"with these rows alone {printed:.5f}, {same} without rows (gated ReLU, "
            f"{gated:.5f}); with the inactive points' rows too {exact:.5f}",
            Verdict.REPRODUCED if right else Verdict.CORRECTED,
        ),
        Claim(
            "the network recovered from the program is optimal",
            f"{len(arrays['outputs'])} neurons; program {exact:.6f}, best of "
            f"{len(arrays['searches'])} local searches {best:.6f}; certified over all "
            f"networks to {arrays['gaps'][0]:.0e}",
            Verdict.REPRODUCED if agree else Verdict.NOT_REPRODUCED,
        ),
    ]


if __name__ == "__main__":
    launch.main(__name__)
