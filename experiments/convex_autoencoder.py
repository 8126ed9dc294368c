"""An autoencoder by a convex program: its rank, its error and its pictures along beta.

    python -m experiments.convex_autoencoder

About 1 minute on two CPU cores.

Two-layer networks with 64 outputs, gated ReLU with 20 random gates and one that is
always open, learn to return 200 of scikit-learn's digits, 8 x 8, on
1/2 ||f(X) - X||_F^2 + beta/2 ||params||^2. Training is the convex program with a matrix
V_i for each gate and the sum of nuclear norms times beta; the rank of V_i is the number
of neurons on gate i. A path along beta from the one where zero is optimal is solved to
a certified gap of 1e-4. Beside it, the linear autoencoder (the open gate alone: soft
thresholding of singular values) and ReLU networks trained by Adam.

Expect fewer neurons for larger beta, and lower objectives than the linear
autoencoder's, by 5 % at the smallest beta. Not expected: a lower test error. Where the
gates change anything, they overfit.

Source: Sahiner, Ergen, Pauly & Pilanci, Vector-output ReLU Neural Network Problems are
Copositive Programs (ICLR 2021), for the program; the talk names no autoencoder.
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
from experiments._frame.record import Claim, Verdict, resumable
from experiments._parts import images

MINUTES = 1

_RANK = 1e-4  # singular values below it, relative to the largest of all, are none


@dataclasses.dataclass(frozen=True)
class Config:
    num_train: int = 200  # images
    num_gates: int = 20  # random
    num_betas: int = 12
    least: float = 3e-3  # beta, of the one where zero is optimal
    tol: float = 1e-4  # certified gap
    num_neurons: int = 200  # of ReLU networks
    learning_rate: float = 3e-3  # of Adam, first of a cosine decay
    steps: int = 5_000  # of Adam, full batch
    starts: int = 3
    num_drawn: int = 8  # test images
    seed: int = 0

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            num_train=30,
            num_gates=3,
            num_betas=4,
            num_neurons=10,
            steps=50,
            starts=2,
            num_drawn=3,
        )


def run(config: Config) -> dict[str, np.ndarray]:
    split = images.load("digits", "", config.num_train, tuple(range(10)))
    mean = split.train.mean(axis=0).ravel()
    X = split.train.reshape(len(split.train), -1) - mean
    T = split.test.reshape(len(split.test), -1) - mean
    Z, Z_test = (np.hstack([side, np.ones((len(side), 1))]) for side in (X, T))
    random = cj.arrangements.sample_patterns(
        jax.random.key(config.seed), Z, num=config.num_gates
    )
    gates = np.vstack([np.eye(Z.shape[1])[-1], random.gates])  # the first: the bias
    patterns = cj.arrangements.from_gates(Z, gates)
    program = cj.programs.make_vector_output(Z, X, patterns, beta=1.0, gated=True)
    betas = program.beta_max() * np.geomspace(1, config.least, config.num_betas)
    shown = np.asarray([len(betas) // 3, 2 * len(betas) // 3, len(betas) - 1])
    arrays = _path(config, program, betas, (Z_test, T))
    parts = resumable("convex_autoencoder", config)
    found = [
        parts.part(
            f"adam-{k}",
            lambda k=k: _train(config, (Z, X), (Z_test, T), float(betas[k])),
        )
        for k in launch.progress(shown.tolist(), "training")
    ]
    drawn = arrays.pop("fits")[:, : config.num_drawn]
    return (
        arrays
        | {name: np.stack([part[name] for part in found]) for name in found[0]}
        | {
            "betas": betas,
            "shown": shown,
            "drawn": mean + np.concatenate([T[None, : config.num_drawn], drawn[shown]]),
            "shape": np.asarray([*program.shape[:2], *X.shape, len(T)]),
            "num_neurons": np.asarray(config.num_neurons),
        }
        | _linear(X, T, betas)
    )


def _path(
    config: Config,
    program: Any,
    betas: np.ndarray,
    test: tuple[np.ndarray, np.ndarray],
) -> dict[str, np.ndarray]:
    """Objectives, gaps, ranks, errors and what the networks return for test images."""
    rows: list[dict[str, Any]] = []
    solver = cj.solvers.Admm(tol=config.tol)
    train = np.asarray(program.X), np.asarray(program.y)
    for beta, solution in zip(
        betas, cj.solve_path(program, betas, solver), strict=True
    ):
        at = program.replace(beta=jax.numpy.asarray(beta))
        certificate = cj.certify(at, solution)
        values = np.linalg.svd(np.asarray(solution.params[0]), compute_uv=False)
        ranks = np.sum(values > _RANK * max(values.max(), 1e-300), axis=1)
        network, variables = at.network(), at.recover(solution.params)
        fit, out = (
            np.asarray(network.apply(variables, side[0])) for side in (train, test)
        )
        recovered = cj.networks.weight_decay_objective(
            network, variables, at.X, at.y, beta=beta
        )
        rows.append(
            {
                "objective": certificate.primal,
                "bound": certificate.dual,
                "gap": certificate.gap,
                "recovered": float(recovered),
                "neurons": ranks.sum(),
                "gates_used": np.sum(ranks > 0),
                "errors": (_error(fit, train[1]), _error(out, test[1])),
                "fits": out,
            }
        )
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _error(fit: np.ndarray, Z: np.ndarray) -> float:
    """||fit - Z||^2 / ||Z||^2."""
    return float(np.sum((fit - Z) ** 2) / np.sum(Z**2))


def _linear(X: np.ndarray, T: np.ndarray, betas: np.ndarray) -> dict[str, np.ndarray]:
    """The linear autoencoder X V: V has the singular vectors of X, 1 - beta / s^2."""
    _, s, right = np.linalg.svd(X, full_matrices=False)
    ranks, errors, objectives = [], [], []
    for beta in betas:
        shrunk = np.maximum(1 - beta / np.maximum(s**2, 1e-300), 0)
        V = (right.T * shrunk) @ right
        ranks.append(np.sum(shrunk > 0))
        errors.append((_error(X @ V, X), _error(T @ V, T)))
        objectives.append(np.sum((X @ V - X) ** 2) / 2 + beta * np.sum(shrunk))
    return {
        "linear_rank": np.asarray(ranks),
        "linear_errors": np.asarray(errors),
        "linear_objective": np.asarray(objectives),
    }


def _train(
    config: Config,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    beta: float,
) -> dict[str, Any]:
    """ReLU networks by Adam: objectives and errors of every start."""
    network = cj.networks.VectorOutput(train[1].shape[1], config.num_neurons)
    decay = optax.cosine_decay_schedule(config.learning_rate, config.steps)
    result = cj.networks.train(
        jax.random.key(config.seed + 1),
        network,
        train,
        optax.adam(decay),
        steps=config.steps,
        num_seeds=config.starts,
        weight_decay=beta,
    )
    apply = jax.vmap(network.apply, (0, None))
    errors = [
        [_error(fit, wanted) for fit in np.asarray(apply(result.variables, inputs))]
        for inputs, wanted in (train, test)
    ]
    return {
        "adam": np.asarray(result.objective)[:, -1],
        "adam_errors": np.asarray(errors),  # [train and test, start]
    }


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(
        1, 3, width=13.5, height=4.2, gridspec_kw={"width_ratios": (1, 1, 1.2)}
    )
    relative = arrays["betas"] / arrays["betas"][0]
    _plot_ranks(axes[0], arrays, relative)
    _plot_errors(axes[1], arrays, relative)
    _plot_pictures(axes[2], arrays, relative)
    for axis in axes[:2]:
        axis.set(xscale="log", xlabel="beta / beta where zero is optimal")
    _, P, n, d, n_test = arrays["shape"]
    style.caption(
        figure,
        f"scikit-learn's digits, {n} training and {n_test} test images of {d} pixels, "
        f"less the mean image. Gated ReLU with {P - 1} random gates and an open "
        f"one: certified gap at most "
        f"{arrays['gap'].max():.0e} at every beta (scope: networks with these gates). "
        "Linear: closed form. ReLU by Adam: the best of "
        f"{arrays['adam'].shape[1]} starts, {arrays['num_neurons']} neurons; its "
        "objective is another. Error: ||f(X) - X||^2 / ||X||^2.",
    )
    return figure


def _plot_ranks(axis: Any, arrays: dict[str, np.ndarray], relative: np.ndarray) -> None:
    convex, other = style.COLORS["convex"], style.COLORS["baseline"]
    axis.plot(relative, arrays["neurons"], "o-", color=convex, label="gated: neurons")
    axis.plot(
        relative, arrays["gates_used"], "o:", color=convex, label="gated: gates in use"
    )
    axis.plot(relative, arrays["linear_rank"], "s--", color=other, label="linear: rank")
    axis.set_ylabel("count")
    axis.set_title("(a) Rank")
    axis.legend()


def _plot_errors(
    axis: Any, arrays: dict[str, np.ndarray], relative: np.ndarray
) -> None:
    best = np.argmin(arrays["adam"], axis=1)
    adam = arrays["adam_errors"][np.arange(len(best)), :, best]
    for side, (dashes, name) in enumerate((("-", "training"), ("--", "test"))):
        for role, label, errors in (
            ("convex", "gated", arrays["errors"]),
            ("baseline", "linear", arrays["linear_errors"]),
        ):
            axis.plot(
                relative,
                errors[:, side],
                dashes,
                color=style.COLORS[role],
                label=f"{label}, {name}",
            )
        axis.plot(
            relative[arrays["shown"]],
            adam[:, side],
            "^" if side else "v",
            color=style.COLORS["sgd"],
            label=f"ReLU by Adam, {name}",
        )
    axis.set(ylabel="relative error", ylim=(0, 1.05))
    axis.set_title("(b) Error")
    axis.legend(fontsize=8)


def _plot_pictures(
    axis: Any, arrays: dict[str, np.ndarray], relative: np.ndarray
) -> None:
    drawn = arrays["drawn"]
    side = int(np.sqrt(drawn.shape[2]))
    pictures = drawn.reshape(-1, side, side, 1)
    rows = len(drawn)
    canvas = images.tiles(pictures, columns=drawn.shape[1])
    axis.imshow(canvas, interpolation="nearest")
    places = (np.arange(rows) + 0.5) * (side + 1) - 1
    names = ["test image"] + [
        f"beta {relative[k]:.2g}\n{arrays['neurons'][k]} neurons"
        for k in arrays["shown"]
    ]
    axis.set_yticks(places, names)
    axis.set_xticks([])
    axis.grid(False)
    for spine in axis.spines.values():
        spine.set_visible(False)
    axis.set_title("(c) Gated ReLU returns")


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    neurons, betas = arrays["neurons"], arrays["betas"]
    shown = arrays["shown"]
    ranks = ", ".join(
        f"{neurons[k]} at {betas[k] / betas[0]:.2g} of the first beta" for k in shown
    )
    fewer = bool(np.all(np.diff(neurons) >= 0))  # betas descend
    lower = arrays["errors"][1:] < arrays["linear_errors"][1:]
    gain = 1 - arrays["objective"] / arrays["linear_objective"]
    miss = np.max(np.abs(arrays["recovered"] / arrays["objective"] - 1))
    best = np.min(arrays["adam"], axis=1)
    against = ", ".join(
        f"{arrays['objective'][k]:.2f} and {value:.2f}"
        for k, value in zip(shown, best, strict=True)
    )
    return [
        Claim(
            "the program with Y = X trains autoencoders to certified optimality",
            f"{len(betas)} betas, certified gaps at most {arrays['gap'].max():.0e}; "
            f"the recovered networks' objectives differ by at most {miss:.0e}",
            Verdict.of(arrays["gap"].max() <= 1e-3 and miss <= 1e-6),
        ),
        Claim("the rank falls as beta grows", f"neurons: {ranks}", Verdict.of(fewer)),
        Claim(
            "random gates lower the linear autoencoder's objective",
            f"by {gain[shown[0]]:.1%} to {gain[-1]:.1%} at the betas drawn, at no beta "
            f"by less than {gain.min():.0e}; training error at {lower[:, 0].sum()} of "
            f"{len(lower)} betas",
            Verdict.of(bool(np.all(gain >= -1e-4))),
        ),
        Claim(
            "they lower its test error",
            f"at {lower[:, 1].sum()} of {len(lower)} betas",
            Verdict.of(bool(np.all(lower[:, 1]))),
        ),
        Claim(
            "the certified optimum of random gates is below what Adam finds for ReLU",
            f"objectives at the betas drawn: {against}; the networks differ, so that "
            "neither bounds the other",
            Verdict.of(bool(np.all(arrays["objective"][shown] < best))),
        ),
    ]


if __name__ == "__main__":
    launch.main(__name__)
