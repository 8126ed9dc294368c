"""The spiral with a column of ones: networks with biases, which can learn it.

Points then have rank three, with thousands of activation patterns: gradient methods
find the network, and the library bounds the optimum from the point where they end.
"""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np
import optax
from matplotlib.axes import Axes

import cvxjax as cj
from experiments._frame import launch, style
from experiments._frame.record import Claim, Verdict


def with_ones(X: np.ndarray) -> np.ndarray:
    """X [n, d] and a column of ones, whose weights are the biases."""
    return np.hstack([X, np.ones((len(X), 1))])


def measure(
    X: np.ndarray,
    labels: np.ndarray,
    plane: np.ndarray,
    *,
    beta: float,
    num_neurons: int,
    starts: int,
    steps: int,
    rate: float,
    time_limit: float,
    seed: int,
) -> dict[str, Any]:
    """Adam from several starts, then BurerMonteiro from the best of them.

    Args:
      X: [n, 2].
      labels: [n], classes 0 to 2.
      plane: [k, 2], where the network's class is wanted.
      beta: weight decay, of the biases too.
      num_neurons: of every network.
      starts: of Adam.
      steps: of Adam, full batch, with a cosine decay.
      rate: of Adam, at first.
      time_limit: seconds of BurerMonteiro.
      seed: of the starts.

    Returns:
      Arrays whose names begin with bias_.
    """
    Z, Y = with_ones(X), np.eye(3)[labels]
    network = cj.networks.VectorOutput(3, num_neurons)
    result = cj.networks.train(
        jax.random.key(seed),
        network,
        (Z, Y),
        optax.adam(optax.cosine_decay_schedule(rate, steps)),
        steps=steps,
        num_seeds=starts,
        weight_decay=beta,
    )
    best, _ = result.best()
    program = cj.programs.make_vector_output(Z, Y, beta=beta)
    solver, start = cj.solvers.BurerMonteiro(starts=1), time.perf_counter()
    solution = cj.solve(program, solver, start=best, time_limit=time_limit)
    seconds = time.perf_counter() - start
    certificate = cj.certify(program, solution, time_limit=time_limit)
    launch.say(f"  with a bias: {certificate}")
    fits = jax.vmap(network.apply, (0, None))(result.variables, Z)
    found = np.mean(np.argmax(np.asarray(fits), -1) == labels, axis=1)
    variables, shown = program.recover(solution.params), program.network()
    fit = np.argmax(np.asarray(shown.apply(variables, Z)), axis=1)
    regions = np.argmax(np.asarray(shown.apply(variables, with_ones(plane))), axis=1)
    _, copies = np.unique(X, axis=0, return_counts=True)
    return {
        "bias_beta": beta,
        "bias_curves": np.asarray(result.objective),  # [start, record]
        "bias_steps": np.asarray(result.steps),
        "bias_objective": certificate.primal,
        "bias_bound": certificate.dual,
        "bias_seconds": seconds,
        "bias_neurons": variables["params"]["second"]["kernel"].shape[0],
        "bias_correct": np.mean(fit == labels),
        "bias_found": found,  # [start], share of the points that Adam gets right
        "bias_most": 1 - np.sum(copies - 1) / len(X),  # equal points share a class
        "bias_patterns": len(program.masks),
        "bias_regions": regions,
    }


def plot_curves(axis: Axes, arrays: dict[str, np.ndarray]) -> None:
    """Adam's objectives, and what bounds the optimum from both sides."""
    beta = arrays["bias_beta"]
    style.curves(
        axis,
        np.maximum(arrays["bias_steps"], 1),
        arrays["bias_curves"],
        "Adam",
        color=style.COLORS["sgd"],
        alpha=0.6,
    )
    for name, role, label in (
        ("objective", "convex", "best network found"),
        ("bound", "bound", "lower bound, all networks"),
    ):
        value = float(arrays[f"bias_{name}"])
        axis.axhline(value, color=style.COLORS[role], ls="--", label=label)
    axis.set(
        xscale="log",
        yscale="log",
        xlabel="steps of Adam",
        ylabel=f"with a bias, beta = {beta:g}\n\nobjective",
        title="(d) With a column of ones",
    )
    axis.legend(loc="upper right")


def plot_shares(axis: Axes, arrays: dict[str, np.ndarray]) -> None:
    """Shares of the points that networks get right, without and with a bias."""
    betas = arrays["betas"]
    columns = [row[-1] for row in arrays["correct"]] + [arrays["bias_found"]]
    best = [*arrays["accuracy"], arrays["bias_correct"]]
    for place, (found, top) in enumerate(zip(columns, best, strict=True)):
        first = place == 0
        axis.plot(
            place + np.linspace(-0.15, 0.15, len(found)),
            found,
            "o",
            color=style.COLORS["sgd"],
            alpha=0.6,
            label="gradient methods, widest network" if first else None,
        )
        kept = "certified optimum; with a bias, best found" if first else None
        axis.plot(place, top, "D", ms=7, color=style.COLORS["convex"], label=kept)
    axis.axhline(
        float(arrays["bias_most"]),
        color=style.COLORS["muted"],
        ls=":",
        label="the most there can be: arms share a point",
    )
    words = [f"no bias,\nbeta = {beta:g}" for beta in betas]
    words.append(f"bias,\nbeta = {arrays['bias_beta']:g}")
    axis.set_xticks(range(len(words)), words)
    axis.set(
        ylim=(0, 1.02),
        xlim=(-0.5, len(words) - 0.5),
        ylabel="share of points classified right",
        title="(e) What is learned",
    )
    axis.legend(loc="lower center")


def claim(arrays: dict[str, np.ndarray]) -> Claim:
    """Whether a network with biases learns the spiral, and how good it is."""
    objective, bound = float(arrays["bias_objective"]), float(arrays["bias_bound"])
    right, most = float(arrays["bias_correct"]), float(arrays["bias_most"])
    without = ", ".join(f"{share:.1%}" for share in arrays["accuracy"])
    return Claim(
        "with a bias the network learns the spiral",
        f"{right:.1%} of the points right, {most:.1%} possible as arms share a point; "
        f"without one {without} at the certified optima. Objective {objective:.4f}, "
        f"{arrays['bias_neurons']} neurons; lower bound over all networks {bound:.4f}, "
        f"gap {1 - bound / objective:.1%}: global optimality is not proven",
        Verdict.of(right >= most - 1e-9),
    )
