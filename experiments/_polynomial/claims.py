"""What the polynomial network's numbers say of the claims of the talk and others."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from experiments._frame.record import Claim, Verdict

FAMILIES = tuple(
    (network, optimizer)
    for network in ("polynomial", "relu")
    for optimizer in ("sgd", "adam")
)
_CLOSE = 1.01  # times the bound: where SGD counts as there


class Reference(NamedTuple):
    """What others measured with the authors' settings; pairs are (training, test)."""

    who: str
    num_train: int
    cost: tuple[float, float]
    accuracy: tuple[float, float]
    neurons: int | None
    baseline: float | None  # test accuracy of their non-convex network


REFERENCES = {
    "fashion_mnist": Reference(
        "the authors' log", 12_000, (259.82, 47.62), (0.97408, 0.971), 34, None
    ),
    "cifar10": Reference(
        "the students' report", 10_000, (645.8, 128.5), (0.8416, 0.8405), None, 0.889
    ),
}


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    bound, lowest = float(arrays["bound"]), float(np.min(arrays["every_last"]))
    miss = abs(arrays["network"] / arrays["objective"] - 1)
    made = [
        Claim(
            "the convex program gives the optimal network, certified",
            f"objective {arrays['objective']:.6g}, gap {arrays['gap']:.0e} (scope: all "
            f"networks of this activation, of any width); {arrays['neurons']} neurons "
            f"recovered, whose objective differs by {miss:.0e}",
            Verdict.of(arrays["gap"] <= arrays["tol"] and miss <= 1e-6),
        ),
        Claim(
            "no run of SGD or Adam on this network ends below the bound",
            f"lowest of {arrays['every_last'].size} runs {lowest:.6g}, bound "
            f"{bound:.6g} ({lowest / bound - 1:.1%} above)",
            Verdict.of(lowest >= bound * (1 - 1e-9)),
        ),
        _accuracy_claim(arrays, 0, "polynomial"),
        _accuracy_claim(arrays, 1, "polynomial"),
        _time_claim(arrays),
        _accuracy_claim(arrays, 1, "relu"),
    ]
    if arrays["as_authors"]:
        made += _reference_claims(arrays)
    return made


def _accuracy_claim(arrays: dict[str, np.ndarray], side: int, kind: str) -> Claim:
    """Against the better of SGD and Adam, each at its rate, by the median of starts."""
    ours = arrays["accuracy"][side]
    lasts = {
        name: arrays[f"{kind}_{key}_accuracy"][side, :, -1]
        for key, name in (("sgd", "SGD"), ("adam", "Adam"))
    }
    shown = ", ".join(
        f"{name} {np.median(x):.4f} ({x.min():.4f} to {x.max():.4f})"
        for name, x in lasts.items()
    )
    where = "test" if side else "training"
    whom = "the same network" if kind == "polynomial" else "a ReLU network"
    verdict = Verdict.of(all(ours > np.median(x) for x in lasts.values()))
    chosen = ""
    if side and str(arrays["data"]) == "digits":
        chosen, verdict = "; its settings are chosen by this", Verdict.UNCHECKABLE
    return Claim(
        f"the convex program has a higher {where} accuracy than {whom} trained by SGD",
        f"{ours:.4f} against medians {shown}{chosen}",
        verdict,
    )


def _time_claim(arrays: dict[str, np.ndarray]) -> Claim:
    """Seconds until training of the same network comes within 1 % of the bound."""
    there = np.inf
    for optimizer in ("sgd", "adam"):
        curves = arrays[f"polynomial_{optimizer}_objective"]
        near = np.flatnonzero(np.min(curves, axis=0) <= _CLOSE * arrays["bound"])
        if len(near):
            there = min(there, arrays[f"polynomial_{optimizer}_seconds"][near[0]])
    total = max(arrays[f"polynomial_{key}_seconds"][-1] for key in ("sgd", "adam"))
    theirs = f"{there:.2g} s" if np.isfinite(there) else f"never in {total:.2g} s"
    return Claim(
        "it takes less time than SGD or Adam to within 1 % of the optimal objective",
        f"{arrays['seconds']:.2g} s from patches to the network, certified "
        f"({arrays['cold_seconds']:.2g} with compilation), against {theirs}",
        Verdict.of(arrays["seconds"] < there),
    )


def _reference_claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    """Beside what was measured by others with these settings."""
    known = REFERENCES[str(arrays["data"])]
    cost, right = arrays["cost"], arrays["accuracy"]
    same = np.allclose(cost, known.cost, rtol=1e-3) and np.allclose(
        right, known.accuracy, atol=1e-3
    )
    neurons = f", {known.neurons} neurons" if known.neurons else ""
    made = [
        Claim(
            f"the numbers of {known.who}",
            f"cost {cost[0]:.2f} and {cost[1]:.2f}, accuracy {right[0]:.5f} and "
            f"{right[1]:.4f} (training and test), {arrays['neurons']} neurons, against "
            f"{known.cost[0]} and {known.cost[1]}, {known.accuracy[0]} and "
            f"{known.accuracy[1]}{neurons}; their training cost is "
            f"{known.cost[0] / cost[0] - 1:+.1%} from the certified optimum's",
            Verdict.of(same and known.neurons in (None, int(arrays["neurons"]))),
        )
    ]
    if known.baseline is not None:
        families = [arrays[f"{k}_{o}_accuracy"][1, :, -1] for k, o in FAMILIES]
        best = max(float(np.median(x)) for x in families)
        made.append(
            Claim(
                f"{known.who}: non-convex training has the higher test accuracy",
                f"{best:.4f} (the best median here) against {right[1]:.4f}; theirs "
                f"{known.baseline} against {known.accuracy[1]}",
                Verdict.of(best > right[1]),
            )
        )
    return made
