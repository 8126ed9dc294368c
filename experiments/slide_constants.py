"""The talk's printed programs beside the exact ones and the best local searches.

    python -m experiments.slide_constants

About 1 minute on two CPU cores.

Every exact program here has the optimal value of training its network, so the best of
many local searches on the network (Adam from random starts, step sizes falling to
nothing) must come down to it and never below. The talk prints six of them otherwise:

* The penalty of ||f - y||^2 + lambda (||W1||^2 + ||W2||^2) is 2 lambda times the sum
  of norms; the talk has lambda.
* The example of three points keeps D_i X u >= 0 alone and leaves out the samples that
  are not active, (I - D_i) X u <= 0.
* With several outputs the penalty is a gauge of rank-one matrices whose left factor is
  in the cone; the talk has the nuclear norm, whose value without cones is the gated
  network's ("two outputs"; entry by entry in the cones it would be too large).
* Batch normalisation after the ReLU, with centring and a shift ("normalised after"):
  the talk takes the singular vectors of D_i X, without centring and without the shift's
  coordinate. That is exact for a layer that only divides by the norm, and only with the
  cones ("after, no centring", where the value without them stands for the printed one).
* The program of a polynomial activation has a pair of PSD matrices, Z for positive
  output weights and Z' for negative ones ("polynomial"); the talk has Z alone (and no
  unit norms, without which t^2 would cost nothing).
* The number of activation patterns is at most 2 sum_k C(n - 1, k); the talk has
  C(n, k).

Data are Gaussian and tiny, so that all patterns can be enumerated.

Source: the talk; for the exact programs Pilanci & Ergen (ICML 2020), Sahiner et al.
(ICLR 2021), Ergen & Pilanci, Implicit Convex Regularizers of CNN Architectures (ICLR
2021), Ergen et al., Demystifying Batch Normalization in ReLU Networks (ICLR 2022), and
Bartan & Pilanci, Neural Spectrahedra and Semidefinite Lifts (2021).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import optax
from matplotlib.figure import Figure

import cvxjax as cj
from cvxjax.programs.polynomial import RELU_LIKE
from experiments._frame import launch, style
from experiments._frame.record import Claim, Verdict, resumable
from experiments._parts.single_matrix import optimum_without_second
from experiments._parts.talk_example import LABELS, POINTS, active_rows_only

MINUTES = 1

_KINDS = (
    "sum_pool",
    "average_pool",
    "max_pool",
    "linear",
    "circular",
    "circular_relu",
)
_WORDS = {
    "ReLU, factor of lambda": "ReLU network:\nlambda for 2 lambda",
    "ReLU, three points": "ReLU, three points:\nconstraints left out",
    "two outputs": "two outputs:\nnuclear norm for the gauge",
    "after, no centring": "norm after the ReLU:\ncones left out",
    "normalised after": "batch norm after the ReLU:\ncentring, shift left out",
    "polynomial": "polynomial activation:\none PSD matrix for two",
}  # what the printed program is, for panel (a)
_SHORT = {
    "sum pool": "convolution, sum pooling",
    "average pool": "convolution, average pooling",
    "max pool": "convolution, max pooling",
    "linear": "linear convolution",
    "circular": "circular linear convolution",
    "circular relu": "circular convolution, ReLU",
    "normalised before": "batch norm before the ReLU",
    "after, no centring": "norm after the ReLU",
    "after, no shift": "batch norm after, no shift",
    "normalised after": "batch norm after the ReLU",
}  # networks, for panel (b)
_AGREE = 1e-5  # relative, between a program and the best local search


@dataclasses.dataclass(frozen=True)
class Config:
    beta: float = 0.1  # weight decay
    width: int = 20  # neurons of the searches
    starts: int = 100  # searches for each network
    steps: int = 20_000  # of each
    learning_rate: float = 0.05  # at the start; it falls to nothing
    only: tuple[str, ...] = ()  # names of the programs; none: all
    seed: int = 0

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            starts=3, steps=200, only=("ReLU, three points", "linear", "polynomial")
        )

    def check(self) -> None:
        """Raises ValueError for names that no program has."""
        known = {*_WORDS, *_SHORT, "two outputs, gated"}
        unknown = sorted({*self.only} - known)
        if unknown:
            raise ValueError(f"--only: no program {unknown[0]!r}; see {sorted(known)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """A network, its exact program, and what the talk prints."""

    name: str
    program: Any
    network: Any  # to search with
    scale: float = 1.0  # of the objective, so that it is the talk's
    printed: Callable[[], float] | None = None  # the talk's program's optimal value


def run(config: Config) -> dict[str, np.ndarray]:
    parts = resumable("slide_constants", config)
    cases = make_cases(config)
    if config.only:
        cases = [case for case in cases if case.name in config.only]
    rows = []
    for case in launch.progress(cases, "programs"):
        name = case.name.replace(" ", "-").replace(",", "")
        rows.append(parts.part(name, lambda case=case: _measure(case, config)))
    count = len(cj.arrangements.enumerate_patterns(_draw(config, 20, 3)[0]).masks)
    bounds = [2 * sum(math.comb(n, k) for k in range(3)) for n in (19, 20)]
    return {
        "names": np.asarray([case.name for case in cases]),
        **{key: np.asarray([row[key] for row in rows]) for key in rows[0]},
        "patterns": np.asarray([count, *bounds]),  # n = 20, d = 3: all, bound, talk's
        "beta": np.asarray(config.beta),
        "steps": np.asarray(config.steps),
    }


def make_cases(config: Config) -> list[Case]:
    """The programs, their networks and the talk's values."""
    make = cj.programs
    beta, width = config.beta, config.width
    plain = cj.networks.TwoLayer(width)
    X, y = _draw(config, 6, 2)

    def two_layer(
        X: np.ndarray, y: np.ndarray, beta: float, gated: bool = False
    ) -> Any:
        patterns = cj.arrangements.enumerate_patterns(X)
        return make.make_two_layer(X, y, patterns, beta=beta, gated=gated)

    made = [
        Case(
            name="ReLU, factor of lambda",
            program=two_layer(X, y, beta),
            network=plain,
            scale=2.0,
            printed=lambda: 2 * _optimum(two_layer(X, y, beta / 2)),
        ),
        Case(
            name="ReLU, three points",
            program=two_layer(POINTS, LABELS, beta / 2),
            network=plain,
            printed=lambda: _optimum(
                active_rows_only(two_layer(POINTS, LABELS, beta / 2))
            ),
        ),
    ]
    rng = np.random.default_rng(config.seed + 1)
    outputs = rng.standard_normal((6, 2))
    gated = make.make_vector_output(X, outputs, beta=beta, gated=True)
    gates = np.asarray(cj.arrangements.enumerate_patterns(X).gates)
    gates = np.repeat(gates, 2, axis=0)  # two neurons for each
    made += [
        Case(
            name="two outputs",
            program=make.make_vector_output(X, outputs, beta=beta),
            network=cj.networks.VectorOutput(2, width),
            printed=lambda: _optimum(gated),
        ),
        Case(
            name="two outputs, gated",
            program=gated,
            network=cj.networks.GatedVectorOutput(2, gates),
        ),
    ]
    for kind in _KINDS:
        shape = (5, 4) if kind.startswith("circular") else (4, 3, 2)
        inputs, labels = rng.standard_normal(shape), rng.standard_normal(shape[0])
        program = make.make_convolutional(inputs, labels, beta=beta, kind=kind)
        network = cj.networks.Convolutional(kind, width)
        made.append(Case(name=kind.replace("_", " "), program=program, network=network))
    variants = (
        ("before", True, True, "normalised before"),
        ("after", False, False, "after, no centring"),
        ("after", True, False, "after, no shift"),
        ("after", True, True, "normalised after"),
    )
    for order, centre, shift, name in variants:
        options: dict[str, Any] = {"order": order, "centre": centre, "shift": shift}
        program = make.make_batch_norm(X, y, beta=beta, **options)
        network = cj.networks.BatchNorm(num_neurons=width, batch=True, **options)
        case = Case(name=name, program=program, network=network)
        if order == "after" and centre == shift:
            talk = make.make_batch_norm(
                X, y, beta=beta, order="after", centre=False, shift=False
            )
            if not shift:  # the slide's program without cones
                talk = talk.replace(cones=None)
            case = dataclasses.replace(case, printed=lambda talk=talk: _optimum(talk))
        made.append(case)
    return [*made, _polynomial(X, y, config)]


def _polynomial(X: np.ndarray, y: np.ndarray, config: Config) -> Case:
    options: dict[str, Any] = {"beta": config.beta, "coefficients": RELU_LIKE}
    return Case(
        name="polynomial",
        program=cj.programs.make_polynomial(X, y, **options),
        network=cj.networks.Polynomial(RELU_LIKE, num_neurons=config.width),
        printed=lambda: optimum_without_second(X, y, **options),
    )


def _draw(config: Config, n: int, d: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(config.seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


def _measure(case: Case, config: Config) -> dict[str, Any]:
    program = case.program
    certificate = cj.certify(program, cj.solve(program).check())
    result = cj.networks.train(
        jax.random.key(config.seed),
        case.network,
        (program.inputs, program.y),
        optax.adam(
            optax.exponential_decay(config.learning_rate, config.steps, 1e-6), 0.9, 0.99
        ),
        steps=config.steps,
        num_seeds=config.starts,
        weight_decay=float(program.beta),
        penalty=case.network.penalty,
    )
    found = case.scale * np.asarray(result.objective)[:, -1]
    return {
        "exact": case.scale * certificate.primal,
        "gap": certificate.gap,
        "exhaustive": certificate.scope is cj.Scope.EXHAUSTIVE,
        "found": np.sort(found),
        "printed": np.nan if case.printed is None else case.printed(),
    }


def _optimum(program: Any) -> float:
    return cj.certify(program, cj.solve(program).check()).primal


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(
        1, 2, width=15.0, height=5.2, gridspec_kw={"width_ratios": (1.15, 1)}
    )
    _plot_printed(axes[0], arrays)
    _plot_agreement(axes[1], arrays)
    count, bound, talk = arrays["patterns"]
    style.caption(
        figure,
        f"Tiny Gaussian data, beta = {arrays['beta']:g}; every activation pattern "
        f"enumerated, so that the exact optima are those of all networks; largest "
        f"certified gap {arrays['gap'].max():.0e}. Local searches: Adam on the "
        f"network, {arrays['found'].shape[1]} starts, {arrays['steps']:,} steps each. "
        f"Patterns of 20 points in 3 dimensions: {count}; the bound with C(n - 1, k): "
        f"{bound}; the talk's, with C(n, k): {talk}.",
    )
    return figure


def _plot_printed(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    """A bar from 1, the exact optimum, to each ratio; values stand in a column."""
    shown = np.flatnonzero(np.isfinite(arrays["printed"]))
    exact, printed = arrays["exact"][shown], arrays["printed"][shown]
    place, ratio = np.arange(len(shown)), printed / exact
    axis.barh(
        place,
        ratio - 1,
        0.5,
        left=1,
        color=style.COLORS["baseline"],
        label="program as printed in the talk",
    )
    axis.axvline(1, color=style.COLORS["convex"], lw=2, label="exact program")
    axis.plot(
        arrays["found"][shown, 0] / exact,
        place,
        "D",
        color=style.COLORS["sgd"],
        label="best local search on the network",
    )
    for row, (left, right) in enumerate(zip(printed, exact, strict=True)):
        axis.annotate(
            f"{left:.3g} printed, {right:.3g} exact",
            (1.02, row),
            xycoords=("axes fraction", "data"),
            va="center",
            fontsize=9,
        )
    names = [str(name) for name in arrays["names"][shown]]
    axis.set_yticks(place, [_WORDS.get(name, name) for name in names])
    axis.set(
        title="(a) Optimal values of the printed programs",
        xlabel="optimal value / optimal value of training the network",
        ylim=(len(shown) - 0.5, -0.5),
        xlim=(0, 1.08 * max(ratio.max(initial=1), 1)),
    )
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)


def _plot_agreement(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    excess = arrays["found"] / arrays["exact"][:, None] - 1
    place = np.arange(len(excess))
    floor = 1e-9
    rows = np.broadcast_to(place[:, None], excess.shape)
    every = np.where(np.isfinite(excess), np.maximum(excess, floor), np.nan)
    axis.plot(
        every[:, 1:].ravel(),
        rows[:, 1:].ravel(),
        "o",
        ms=3,
        mew=0,
        alpha=0.25,
        color=style.COLORS["sgd"],
        label="other starts",
    )
    axis.plot(every[:, 0], place, "D", color=style.COLORS["sgd"], label="best start")
    axis.axvline(
        _AGREE,
        color=style.COLORS["muted"],
        ls="--",
        lw=1,
        label=f"{_AGREE:g}: counts as equal",
    )
    names = [str(name) for name in arrays["names"]]
    axis.set_yticks(place, [_SHORT.get(name, name) for name in names])
    axis.invert_yaxis()
    axis.set(
        title="(b) Local searches above the exact optimum",
        xlabel=f"relative excess (below {floor:g}: drawn there)",
        xscale="log",
    )
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.14), ncols=3)


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    exact, best = arrays["exact"], arrays["found"][:, 0]
    excess = best / exact - 1
    worst = int(np.argmax(np.abs(excess)))
    below = int(np.sum(arrays["found"] < exact[:, None] * (1 - 1e-8)))
    agree = np.max(np.abs(excess)) <= _AGREE and below == 0
    made = [
        Claim(
            "the optimal value of each convex program is that of training its network",
            f"best of {arrays['found'].shape[1]} local searches within "
            f"{np.max(excess):.0e} of the exact optimum on all {len(exact)} networks "
            f"(the farthest: {arrays['names'][worst]}); searches below it: {below}; "
            f"largest certified gap {arrays['gap'].max():.0e}",
            Verdict.REPRODUCED if agree else Verdict.NOT_REPRODUCED,
        )
    ]
    for i in np.flatnonzero(np.isfinite(arrays["printed"])).tolist():
        right = abs(arrays["printed"][i] / exact[i] - 1) <= _AGREE
        made.append(
            Claim(
                f"{arrays['names'][i]}: the printed program has the network's value",
                f"printed {arrays['printed'][i]:.6f}, exact {exact[i]:.6f}, best local "
                f"search {best[i]:.6f}",
                Verdict.REPRODUCED if right else Verdict.CORRECTED,
            )
        )
    count, bound, talk = (int(number) for number in arrays["patterns"])
    made.append(
        Claim(
            "there are at most 2 sum_k C(n, k) activation patterns",
            f"{count} of 20 points in 3 dimensions, the most there can be with "
            f"C(n - 1, k), {bound}; the talk's bound, {talk}, is never attained",
            Verdict.CORRECTED,
        )
    )
    return made


if __name__ == "__main__":
    launch.main(__name__)
