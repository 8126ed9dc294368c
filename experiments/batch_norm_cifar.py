"""Batch normalisation: the optimum in closed form, truncated, and what is learned.

    python -m experiments.batch_norm_cifar
    python -m experiments.batch_norm_cifar --data=cifar10 --num_train=100

About 1 minute on two CPU cores, the second line 3. The first takes scikit-learn's
digits 3 and 8, a stand-in with a picture of its own, batch_norm_cifar-digits; the
second, batch_norm_cifar, airplanes and automobiles of CIFAR-10, from --data_dir or
CVXJAX_DATA, or downloads them.

A two-layer ReLU network with normalisation before the ReLU sees the data only through
the left singular vectors U of the centred data. With fewer images than pixels these are
all of the space, and the optimum is two neurons in closed form. Truncated programs, in
which the first layer uses the k leading directions alone, are solved by column
generation. Gradient descent, full batch, trains the network as it stands; the
correlation of its residual with each singular vector says which directions it learned.

Expect the truncated optima to fall to the closed form, gradient descent to come near
it, and to learn leading directions first, since the gradient of the first layer has the
singular value as a factor, which the convex program's whitened data do not.

Source: Ergen, Sahiner, Ozturkler, Pauly, Mardani & Pilanci, Demystifying Batch
Normalization in ReLU Networks (ICLR 2022), whose sizes are not known here.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure
from scipy.stats import spearmanr

import cvxjax as cj
from cvxjax.networks.batch_norm import statistics_of
from experiments._frame import launch, style
from experiments._frame.record import Claim, Verdict, resumable
from experiments._parts import images

MINUTES = 1
STAND_INS = {"digits": "scikit-learn's digits 3 and 8, in place of CIFAR-10"}

_CLASSES = {"digits": (3, 8), "cifar10": (0, 1)}
_HALF = 0.5  # of the first residual along a direction: then it counts as learned


@dataclasses.dataclass(frozen=True)
class Config:
    data: Literal["digits", "cifar10"] = "digits"
    data_dir: str = ""  # folder with CIFAR-10; else CVXJAX_DATA, else a download
    num_train: int = 40  # images; fewer than pixels
    beta: float = 1.0  # weight decay
    ranks: tuple[int, ...] = (2, 4, 8, 16, 32)  # of truncated programs
    num_gates: int = 30  # random, whose patterns come first
    tol: float = 1e-4  # gap of column generation to the neurons that it finds
    num_neurons: int = 100  # of gradient descent
    learning_rate: float = 0.01
    steps: int = 20_000
    starts: int = 5
    seed: int = 0

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            num_train=12, ranks=(2,), num_gates=5, num_neurons=8, steps=200, starts=2
        )


def reads(config: Config) -> tuple[str, ...]:
    return images.reads(config.data)


def run(config: Config) -> dict[str, np.ndarray]:
    split = images.load(
        config.data, config.data_dir, config.num_train, _CLASSES[config.data]
    )
    pixels, unseen = (side.reshape(len(side), -1) for side in (split.train, split.test))
    X, T = in_span(pixels, unseen)
    y, y_test = (2.0 * side - 1 for side in (split.train_labels, split.test_labels))
    columns = cj.programs.whitened(X, shift=False)
    full = columns.shape[1]
    if full < len(y) - 1:
        raise ValueError(
            f"want images whose centred rank is {len(y) - 1}, so that the closed form "
            f"holds; got {full}: fewer images"
        )
    parts = resumable("batch_norm_cifar", config)
    ranks = [rank for rank in config.ranks if rank < full] + [full]
    rows = [
        parts.part(
            f"rank-{rank}", lambda rank=rank: _truncated(config, X, y, T, y_test, rank)
        )
        for rank in launch.progress(ranks, "ranks")
    ]
    trained = parts.part("trained", lambda: _train(config, X, y, T, y_test, columns))
    return (
        {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        | trained
        | {
            "ranks": np.asarray(ranks),
            "closed_form": np.asarray(
                cj.programs.orthogonal_optimum(y, beta=config.beta)
            ),
            "values": np.linalg.norm(X, axis=0),
            "data": np.asarray(config.data),
            "names": np.asarray(split.names),
            "shape": np.asarray([*pixels.shape, len(T)]),
            "beta": np.asarray(config.beta),
            "num_neurons": np.asarray(config.num_neurons),
        }
    )


def in_span(X: np.ndarray, T: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Coordinates of images along the singular directions of the centred training ones.

    Normalisation before the ReLU takes the mean away, and first layers see training
    images in these alone: programs and optima stay as they are, products are short.

    Args:
      X: [n, d], for training.
      T: [m, d], for test; their parts outside of the span are left out.

    Returns:
      [n, r] and [m, r], r the rank.
    """
    mean = X.mean(axis=0)
    _, values, right = np.linalg.svd(X - mean, full_matrices=False)
    directions = right[values > 1e-10 * values[0]].T
    return (X - mean) @ directions, (T - mean) @ directions


def _truncated(
    config: Config,
    X: np.ndarray,
    y: np.ndarray,
    T: np.ndarray,
    y_test: np.ndarray,
    rank: int,
) -> dict[str, Any]:
    """The program of leading directions, its certificate and its network."""
    columns = cj.programs.whitened(X, rank=rank)
    patterns = cj.arrangements.sample_patterns(
        jax.random.key(config.seed), columns, num=config.num_gates
    )
    program = cj.programs.make_batch_norm(
        X, y, beta=config.beta, patterns=patterns, rank=rank
    )
    solution = cj.solve(program, cj.solvers.ColumnGeneration(tol=config.tol))
    certificate = cj.certify(program, solution)
    variables, network = program.recover(solution.params), program.network()
    fits = [np.asarray(network.apply(variables, side)) for side in (X, T)]
    decay = float(network.penalty(variables["params"]))
    return {
        "optimum": certificate.primal,
        "gap": certificate.gap,
        "recovered": np.sum((fits[0] - y) ** 2) / 2 + config.beta * decay,
        "neurons": len(variables["params"]["scale"]),
        "accuracy": [
            np.mean(np.sign(fit) == labels)
            for fit, labels in zip(fits, (y, y_test), strict=True)
        ],
    }


def _train(
    config: Config,
    X: np.ndarray,
    y: np.ndarray,
    T: np.ndarray,
    y_test: np.ndarray,
    columns: np.ndarray,
) -> dict[str, Any]:
    """Gradient descent from every start: objectives, residuals, test accuracy."""
    network = cj.networks.BatchNorm(num_neurons=config.num_neurons, batch=True)
    stored = network.clone(batch=False)
    data, test, basis = jnp.asarray(X), jnp.asarray(T), jnp.asarray(columns)

    def metrics(variables: Any) -> Any:
        hidden = data @ variables["params"]["first"]["kernel"]
        known = variables | {"batch_stats": statistics_of(hidden, True)}
        fit: Any = network.apply(variables, data)
        new: Any = stored.apply(known, test)
        return jnp.abs(basis.T @ (fit - y)), jnp.mean(jnp.sign(new) == y_test)

    result = cj.networks.train(
        jax.random.key(config.seed + 1),
        network,
        (X, y),
        optax.sgd(config.learning_rate),
        steps=config.steps,
        num_seeds=config.starts,
        weight_decay=config.beta,
        record_every=max(1, config.steps // 1000),
        metrics=metrics,
        penalty=network.penalty,
    )
    residuals, accuracy = result.metrics
    return {
        "objective": np.asarray(result.objective),  # [start, record]
        "residuals": np.asarray(residuals).mean(axis=0),  # [record, direction]
        "trained_accuracy": np.asarray(accuracy)[:, -1],
        "steps": np.asarray(result.steps),
    }


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(
        1, 3, width=13.5, height=4.2, gridspec_kw={"width_ratios": (1, 1, 1.3)}
    )
    _plot_optima(axes[0], arrays)
    _plot_training(axes[1], arrays)
    _plot_directions(figure, axes[2], arrays)
    n, d, n_test = arrays["shape"]
    style.caption(
        figure,
        f"{images.source(str(arrays['data']))}, {' and '.join(arrays['names'])}, {n} "
        f"training and {n_test} test images of {d} numbers, in the "
        "span of the centred training images, squared loss, "
        f"normalisation before the ReLU, beta = {arrays['beta']:g}. Truncated optima: "
        f"column generation, certified gaps at most {arrays['gap'].max():.0e} (scope: "
        "sampled, its patterns; no search finds a neuron that improves). Gradient "
        f"descent: full batch, {arrays['num_neurons']} neurons, "
        f"{len(arrays['objective'])} starts; (c) is their mean.",
    )
    return figure


def _plot_optima(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    ranks, convex = arrays["ranks"], style.COLORS["convex"]
    axis.plot(ranks, arrays["optimum"], "o-", color=convex, label="truncated optimum")
    axis.axhline(
        arrays["closed_form"],
        color=style.COLORS["truth"],
        ls="--",
        lw=1,
        label="closed form, all directions",
    )
    axis.plot(
        np.full(len(arrays["objective"]), ranks[-1]),
        arrays["objective"][:, -1],
        "x",
        color=style.COLORS["sgd"],
        label="gradient descent",
    )
    _mark_ranks(axis, ranks)
    axis.set_ylabel("objective")
    axis.set_title("(a) Training objective")
    axis.legend()


def _plot_training(axis: Any, arrays: dict[str, np.ndarray]) -> None:
    ranks = arrays["ranks"]
    for side, dashes in enumerate(("o--", "o-")):
        axis.plot(
            ranks,
            arrays["accuracy"][:, side],
            dashes,
            color=style.COLORS["network"],
            label=f"truncated optimum, {('training', 'test')[side]}",
        )
    axis.plot(
        np.full(len(arrays["trained_accuracy"]), ranks[-1]),
        arrays["trained_accuracy"],
        "x",
        color=style.COLORS["sgd"],
        label="gradient descent, test",
    )
    _mark_ranks(axis, ranks)
    axis.set_ylabel("accuracy")
    axis.set_title("(b) Accuracy")
    axis.legend()


def _mark_ranks(axis: Any, ranks: np.ndarray) -> None:
    axis.set(xscale="log", xlabel="leading directions used")
    axis.set_xticks(ranks, [str(rank) for rank in ranks])
    axis.minorticks_off()


def _plot_directions(figure: Figure, axis: Any, arrays: dict[str, np.ndarray]) -> None:
    steps = np.maximum(arrays["steps"], 0.5)
    share = arrays["residuals"] / arrays["residuals"][0]
    mesh = axis.pcolormesh(
        steps,
        np.arange(1, share.shape[1] + 1),
        np.clip(share, 0, 1).T,
        cmap="cividis",
        vmin=0,
        vmax=1,
        shading="nearest",
        rasterized=True,
    )
    axis.set(xscale="log", xlabel="steps of gradient descent", xlim=(steps[1], None))
    axis.set_ylabel("singular direction, leading first")
    axis.invert_yaxis()
    axis.grid(False)
    figure.colorbar(mesh, ax=axis, label="residual along it, of the first")
    axis.set_title("(c) What is learned when")


def learned_at(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """[directions], the first recorded step with half of the first residual, or inf."""
    share = arrays["residuals"] / arrays["residuals"][0]
    below = share <= _HALF
    first = arrays["steps"][np.argmax(below, axis=0)].astype(float)
    return np.where(below.any(axis=0), first, np.inf)


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    closed, last = float(arrays["closed_form"]), arrays["objective"][:, -1]
    full = float(arrays["optimum"][-1])
    optima = ", ".join(
        f"{value:.3f} ({rank})"
        for value, rank in zip(arrays["optimum"], arrays["ranks"], strict=True)
    )
    test, trained = arrays["accuracy"][:, 1], np.median(arrays["trained_accuracy"])
    best = int(np.argmax(test))
    when = learned_at(arrays)
    order = float(spearmanr(np.arange(len(when)), when)[0])  # pyright: ignore
    third = max(1, len(when) // 3)
    return [
        Claim(
            "with fewer images than pixels the optimum has a closed form (two neurons)",
            f"{closed:.6f}; column generation {full:.6f} with {arrays['neurons'][-1]} "
            f"neurons, certified over its patterns to {arrays['gap'][-1]:.0e}",
            Verdict.of(abs(full / closed - 1) <= 1e-3),
        ),
        Claim(
            "no run of gradient descent is below it",
            f"{last.min():.4f} to {last.max():.4f} of {len(last)} starts",
            Verdict.of(bool(np.all(last >= closed * (1 - 1e-9)))),
        ),
        Claim(
            "the fewer directions, the higher the objective of the truncated program",
            optima,
            Verdict.of(bool(np.all(np.diff(arrays["optimum"]) <= 1e-3 * closed))),
        ),
        Claim(
            "truncation has a better test accuracy than all directions",
            f"{test[best]:.3f} with {arrays['ranks'][best]}, {test[-1]:.3f} with all; "
            f"gradient descent {trained:.3f} (median)",
            Verdict.of(test[best] > test[-1]),
        ),
        Claim(
            "gradient descent learns leading singular directions first",
            f"half of the residual is gone after {np.median(when[:third]):g} steps "
            f"(median) along the first third of the directions, and "
            f"{np.median(when[-third:]):g} along the last; rank correlation "
            f"{order:.2f} of direction and step",
            Verdict.of(order >= 0.5),
        ),
    ]


if __name__ == "__main__":
    launch.main(__name__)
