"""A convex ReLU network predicts the next ECG sample from the last 15.

    python -m experiments.ecg_prediction
    python -m experiments.ecg_prediction --data=both

About 10 minutes on two CPU cores for each recording. The second line adds record 208 of
the MIT-BIH arrhythmia database, which is read from --data_dir or CVXJAX_DATA, or
downloaded.

Windows of 15 samples (the rows of a Hankel matrix) predict the sample that follows. The
network is the best one that cvxjax finds for 1/2 ||f(X) - y||^2 + beta/2 ||params||^2,
over two-layer ReLU networks of every width: the convex program over all activation
patterns, whose patterns a search finds. It is compared with a linear autoregressive
model (AR, plain least squares) and with local searches of the same objective: Adam on
all rows, L-BFGS, and SGD with momentum in batches, each with the width and rate that
end lowest. beta is chosen on the last quarter of the training part, for the convex
network and once more for Adam. The error is ||y_hat - y|| / ||y - mean(y)||, of the
test part, which follows in time; the bundled signal's holds one heartbeat.

Expect the lowest objective of all methods, and a test error below that of AR on record
208 and above it on the bundled signal, where every ReLU network is worse.

Windows are whitened, as raw ones slow every method down. The talk names neither its
data nor its competitors.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

import jax
import numpy as np

import cvxjax as cj
from cvxjax.data import signals
from experiments._frame import launch
from experiments._frame.clock import watched
from experiments._frame.record import Claim, Verdict, resumable
from experiments._parts.ecg_drawing import NAMES, of, plot
from experiments._parts.forecast import Split, make_split
from experiments._peers import local_searches

MINUTES = 10
STAND_INS = {"pywavelets": "PyWavelets' recording alone, without MIT-BIH record 208"}

__all__ = ["Config", "claims", "plot", "run"]

_RECORDINGS = {
    "pywavelets": ("pywavelets",),
    "mitbih": ("mitbih",),
    "both": ("pywavelets", "mitbih"),
}
_SAME = 1e-4  # relative difference of objectives that counts


@dataclasses.dataclass(frozen=True)
class Config:
    data: Literal["pywavelets", "mitbih", "both"] = "pywavelets"  # mitbih: record 208
    data_dir: str = ""  # folder with ecg.dat; else CVXJAX_DATA, else a download
    first_sample: int = 0  # where the stretch starts
    num_samples: int = 1400  # its length, at most; pywavelets has 1024
    window: int = 15  # samples
    train_fraction: float = 0.7  # of the windows, the first ones
    fit_fraction: float = 0.75  # of the training windows; the others validate
    betas: tuple[float, ...] = (10.0, 3.0, 1.0, 0.3)  # to choose from, descending
    tol: float = 1e-3  # gap by searched prices
    path_tol: float = 1e-2  # of the path that chooses beta
    time_limit: float = 120.0  # seconds of a solve
    bound_seconds: float = 30.0  # for the bound over all networks
    widths: tuple[int, ...] = (50, 200)  # neurons of the local searches
    rates: tuple[float, ...] = (0.1, 0.03, 0.01)  # of Adam, at first
    steps: int = 6_000  # of Adam and of L-BFGS
    sgd_rates: tuple[float, ...] = (0.03, 0.1, 0.3)  # times windows; 0.4 diverges
    sgd_steps: int = 20_000
    batch_size: int = 32
    num_seeds: int = 5
    seed: int = 0

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            num_samples=200,
            window=4,
            betas=(3.0, 1.0),
            time_limit=10.0,
            bound_seconds=0.5,
            widths=(10,),
            rates=(0.03,),
            steps=100,
            sgd_rates=(0.03,),
            sgd_steps=200,
            num_seeds=2,
        )


def reads(config: Config) -> tuple[str, ...]:
    return ("mitbih",) if "mitbih" in _RECORDINGS[config.data] else ()


def run(config: Config) -> dict[str, np.ndarray]:
    arrays: dict[str, Any] = {"recordings": np.asarray(_RECORDINGS[config.data])}
    for name in launch.progress(_RECORDINGS[config.data], "recordings"):
        found = _recording(config, name)
        arrays |= {f"{name}_{key}": value for key, value in found.items()}
    return {key: np.asarray(value) for key, value in arrays.items()}


def _recording(config: Config, name: str) -> dict[str, Any]:
    """All methods on one recording."""
    signal = load(config, name)
    split = make_split(signal, config.window, config.train_fraction)
    seen = signal[: len(split.y) + config.window]
    inner = make_split(seen, config.window, config.fit_fraction)
    parts = resumable("ecg_prediction", config)

    path = parts.part(f"{name}-path", lambda: _validate(config, inner))
    beta = float(config.betas[int(np.argmin(path["path_validation"]))])
    convex = parts.part(f"{name}-convex", lambda: _solve(config, split, beta))
    launch.say(
        f"  beta {beta:g}: {convex['objective']:.5g} after {convex['seconds']:.0f} s, "
        f"bound over all networks {convex['bound']:.5g}"
    )
    local: dict[str, Any] = {}
    for kind in launch.progress(("adam", "lbfgs", "sgd"), "local searches"):
        part = parts.part(
            f"{name}-{kind}", lambda kind=kind: _search(config, split, kind, beta)
        )
        launch.say(f"  {part['label']}: {np.min(part['last']):.5g}")
        local |= {f"{kind}_{key}": value for key, value in part.items()}

    own = parts.part(f"{name}-own", lambda: _own_beta(config, inner))
    own_beta = float(config.betas[int(np.argmin(own["errors"]))])
    own_part = parts.part(
        f"{name}-own-final", lambda: _search(config, split, "adam", own_beta)
    )
    linear = split.linear
    train_error, held_error = split.errors(lambda X: X @ linear)
    return (
        path
        | convex
        | local
        | {
            "beta": beta,
            "num_train": len(split.y),
            "window": config.window,
            "y_test": split.y_held,
            "own_beta": own_beta,
            "own_train": own_part["train"],
            "own_held": own_part["held"],
            "linear_prediction": split.X_held @ linear,
            "linear_train": train_error,
            "linear_held": held_error,
        }
    )


def load(config: Config, name: str) -> np.ndarray:
    """The stretch of signal, [num_samples or fewer]."""
    if name == "mitbih":
        signal = signals.mitbih_208(config.data_dir or None)
    else:
        signal = signals.pywavelets_ecg()
    return signal[config.first_sample :][: config.num_samples]


def _validate(config: Config, inner: Split) -> dict[str, Any]:
    """Errors of the best networks of all betas on the windows left out."""
    program = cj.programs.make_two_layer(inner.X, inner.y, beta=1.0)
    limit = config.time_limit
    errors = []
    for solution in cj.solve_path(
        program, config.betas, tol=config.path_tol, time_limit=limit
    ):
        predict = _predictor(program.network(), program.recover(solution.params))
        errors.append(inner.errors(predict)[1])
    missing = len(config.betas) - len(errors)  # of a path that ran out of time
    return {"path_validation": np.asarray(errors + missing * [np.inf])}


def _solve(config: Config, split: Split, beta: float) -> dict[str, Any]:
    """The network problem, twice: what is kept is the second, warm time's progress."""
    program = cj.programs.make_two_layer(split.X, split.y, beta=beta)
    options = {"tol": config.tol, "time_limit": config.time_limit}
    _, cold = watched(program, **options)
    solution, progress = watched(program, **options)
    certificate = cj.certify(program, solution, time_limit=config.bound_seconds)
    network, variables = program.network(), program.recover(solution.params)
    predict = _predictor(network, variables)
    train_error, held_error = split.errors(predict)
    price = solution.price
    return {
        "objective": certificate.primal,
        "bound": certificate.dual,
        "status": cj.Status(int(solution.status)).name,
        "price": np.nan if price is None else float(price),
        "seconds": progress[-1, 0],
        "cold_seconds": cold[-1, 0],
        "progress": progress,
        "network_objective": float(
            cj.networks.weight_decay_objective(
                network, variables, program.X, program.y, beta=beta
            )
        ),
        "convex_train": train_error,
        "convex_held": held_error,
        "convex_prediction": predict(split.X_held),
    }


def _search(config: Config, split: Split, kind: str, beta: float) -> dict[str, Any]:
    """The setting of one local search that ends lowest, and the errors of its runs."""
    options: dict[str, Any] = {"steps": config.steps}
    if kind == "adam":
        options |= {"rates": config.rates}
    elif kind == "sgd":
        options |= {"rates": config.sgd_rates, "batch_size": config.batch_size}
        options |= {"steps": config.sgd_steps}
    found = local_searches.searches(
        kind,
        jax.random.fold_in(jax.random.key(config.seed), 1_000),
        [cj.networks.TwoLayer(width) for width in config.widths],
        (split.X, split.y),
        beta=beta,
        starts=config.num_seeds,
        **options,
    )
    best = local_searches.lowest(found)
    errors = [split.errors(_predictor(best.network, each)) for each in best.variables]
    return {
        "label": f"{best.label}, {best.network.num_neurons} neurons",
        "curves": best.objective,
        "times": best.seconds,
        "last": np.stack([search.last for search in found]),
        "train": np.asarray(errors)[:, 0],
        "held": np.asarray(errors)[:, 1],
    }


def _own_beta(config: Config, inner: Split) -> dict[str, Any]:
    """Adam's typical errors on the windows left out, [beta]."""
    errors = [
        np.median(np.nan_to_num(_search(config, inner, "adam", beta)["held"], nan=9.0))
        for beta in config.betas
    ]
    return {"errors": np.asarray(errors)}


def _predictor(network: Any, variables: Any) -> Any:
    return lambda X: np.asarray(network.apply(variables, X))


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    found = {str(name): of(arrays, str(name)) for name in arrays["recordings"]}
    return [
        _against_linear(found),
        _against_local_errors(found),
        _against_local_objectives(found),
        _in_time(found),
        _bounded(found),
    ]


def _worst(verdicts: list[Verdict]) -> Verdict:
    return max(verdicts, key=[*Verdict].index)


def _each(found: dict[str, Any], text: Any) -> str:
    return "; ".join(f"{NAMES[name]}: {text(one)}" for name, one in found.items())


def _against_linear(found: dict[str, Any]) -> Claim:
    return Claim(
        "the convex network predicts ECG better (than what, is not known): lower test "
        "error than a linear autoregressive model",
        _each(
            found,
            lambda a: f"{a['convex_held']:.4f} against {a['linear_held']:.4f}",
        ),
        _worst(
            [Verdict.of(a["convex_held"] < a["linear_held"]) for a in found.values()]
        ),
    )


def _against_local_errors(found: dict[str, Any]) -> Claim:
    """REPRODUCED if below every run; CORRECTED if only below the medians."""
    verdicts = []
    for a in found.values():
        runs = [a[f"{kind}_held"] for kind in ("adam", "lbfgs", "sgd", "own")]
        runs = [np.nan_to_num(run, nan=np.inf) for run in runs]
        below = all(a["convex_held"] < np.median(run) for run in runs)
        everywhere = all(a["convex_held"] < np.min(run) for run in runs)
        verdicts.append(Verdict.of(below, corrected=not everywhere))
    return Claim(
        "lower test error than networks trained by local searches",
        _each(
            found,
            lambda a: (
                f"{a['convex_held']:.4f} against medians of "
                f"{np.nanmedian(a['adam_held']):.4f} (Adam), "
                f"{np.nanmedian(a['lbfgs_held']):.4f} (L-BFGS), "
                f"{np.nanmedian(a['sgd_held']):.4f} (SGD) at beta {a['beta']:g}, "
                f"{np.nanmedian(a['own_held']):.4f} (Adam) at beta {a['own_beta']:g}"
            ),
        ),
        _worst(verdicts),
    )


def _against_local_objectives(found: dict[str, Any]) -> Claim:
    def lowest(a: dict[str, Any]) -> float:
        return min(
            float(np.min(a[f"{kind}_last"])) for kind in ("adam", "lbfgs", "sgd")
        )

    def count(a: dict[str, Any]) -> int:
        return sum(a[f"{kind}_last"].size for kind in ("adam", "lbfgs", "sgd"))

    lower = [a["objective"] <= lowest(a) * (1 + _SAME) for a in found.values()]
    return Claim(
        "no network trained by a local search has a lower training objective",
        _each(
            found,
            lambda a: (
                f"{a['objective']:.5g} against {lowest(a):.5g}, the lowest of "
                f"{count(a)} runs"
            ),
        ),
        Verdict.of(all(lower)),
    )


def _in_time(found: dict[str, Any]) -> Claim:
    """Against the run of each kind that ends lowest, and the lowest of all."""
    texts, lowest_first, all_first = [], [], []
    for name, a in found.items():
        times, values = a["progress"].T
        ends, sooner, each = [], [], []
        for kind, label in (("adam", "Adam"), ("lbfgs", "L-BFGS"), ("sgd", "SGD")):
            run = int(np.nanargmin(a[f"{kind}_curves"][:, -1]))
            end, theirs = a[f"{kind}_curves"][run, -1], a[f"{kind}_times"][run, -1]
            ours = np.min(times[values <= end], initial=np.inf)
            ends.append(end)
            sooner.append(bool(ours <= theirs))
            each.append(f"{ours:.1f} s, {label} {theirs:.1f} s")
        texts.append(f"{NAMES[name]}: after {'; '.join(each)}")
        lowest_first.append(sooner[int(np.argmin(ends))])
        all_first += sooner
    return Claim(
        "it is as low as the lowest run of each local search sooner than that run",
        "; ".join(texts) + " (a run's share of the starts that run together)",
        Verdict.of(all(lowest_first), corrected=not all(all_first)),
    )


def _bounded(found: dict[str, Any]) -> Claim:
    gaps = {name: 1 - a["bound"] / a["objective"] for name, a in found.items()}
    proven = all(gap <= 1e-3 for gap in gaps.values())
    return Claim(
        "the network is a global optimum",
        "; ".join(
            f"{NAMES[name]}: the largest price that a search found is "
            f"{a['price']:.4f} beta (status {a['status']}); the bound over all "
            f"networks, {a['bound']:.5g}, is {gaps[name]:.1%} lower"
            for name, a in found.items()
        ),
        Verdict.REPRODUCED if proven else Verdict.UNCHECKABLE,
    )


if __name__ == "__main__":
    launch.main(__name__)
