"""What a solve costs as n, d, P and devices grow, and what its kernels attain.

    python -m experiments.bench_scaling

About 10 minutes on two CPU cores. Nothing else should run meanwhile.

Planted networks around n = 500, d = 20, P = 200, at a tenth of the beta from which on
zero is optimal; one size varies at a time. Ours are timed to a certified gap of 1e-4,
others at one setting, named under the figure; warm, in processes of their own, as in
bench_solvers. Exponents are slopes of log seconds over log size, by least squares, and
speak of these sizes only.

Over devices the work is fixed: as many iterations of ADMM on one problem, whose
pattern axis `jax.sharding` spreads over virtual devices of one CPU. The compiler
partitions the products; a step then adds up one [n] vector of each device, and the
acceleration gathers its vector and keeps a copy on each. Virtual devices share the
cores: what they gain is what one device leaves idle. They say that it runs and what
it costs, not what more machines would gain.

Kernels are timed against two measured peaks: a GEMM of 2048 x 2048 and reading and
writing 2^25 numbers. The limit of a kernel is the smaller of the GEMM's rate and of
what its least traffic allows at the copy's rate (the roofline); a kernel whose arrays
stay in the cache, as the cone maps' do, may pass it.

Source: Williams, Waterman & Patterson, Roofline (2009).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from experiments._frame import launch, style
from experiments._frame.record import Claim, Verdict, resumable
from experiments._peers import kernels, suites
from experiments._peers.judge import make_program
from experiments._peers.lines import LINES, Line
from experiments._peers.measure import Effort, measure, warm
from experiments._peers.scores import missing
from experiments._peers.session import Workers

MINUTES = 10

_SIZES = ("n", "d", "P")
_AXES = (*_SIZES, "devices")
_POWERS = {"n": 2, "d": 2, "P": 1}  # of the largest GEMMs of interior point
COLUMNS = (
    "line",
    "settings",
    "seconds",
    "objective",
    "gap",
    "peak_bytes",
    "status",
    "note",
)
"""Kept of the rows of `measure`."""

_NOISE = 0.1  # of the exponent over devices
_FRACTION = 0.1  # of the beta from which on zero is optimal
_LOOKS = {
    "cvxjax": ("convex", "-"),
    "interior-point": ("convex", "--"),
    "working-set": ("convex", ":"),
    "ADMM": ("other", "-"),
    "semismooth Newton": ("convex", "-."),
    "ADMM to a point": ("other", "-."),
    "FISTA": ("other", "--"),
    "adelie": ("sgd", "-"),
    "pyscnn": ("bound", "-"),
    "Clarabel": ("baseline", "-"),
    "SCS": ("baseline", "--"),
}  # colour and dashes of a line


@dataclasses.dataclass(frozen=True)
class Config:
    lines: tuple[str, ...] = ("cvxjax", "interior-point", "working-set", "adelie")
    n: tuple[int, ...] = (250, 500, 1000, 2000)  # samples
    d: tuple[int, ...] = (5, 10, 20, 40, 80)  # features
    P: tuple[int, ...] = (50, 100, 200, 400, 800)  # patterns
    base: tuple[int, ...] = (500, 20, 200)  # n, d, P where they do not vary
    devices: tuple[int, ...] = (1, 2)  # virtual, that share the patterns
    shared: tuple[int, ...] = (500, 20, 800)  # n, d, P of what they share
    iterations: int = 100  # of ADMM on it
    kernel: tuple[int, ...] = (1000, 50, 500)  # n, d, P of the kernels
    side: int = 2048  # of the GEMM that gives the peak
    copied: int = 1 << 25  # numbers of the copy that gives the peak
    tol: float = 1e-4  # certified gap, ours
    peer_tol: float = 1e-8  # the setting of a peer with this tol is timed
    repeats: int = 2  # warm rounds
    limit: float = 60.0  # seconds for one answer
    slow: float = 10.0  # seconds; a slower answer is not asked for again

    @classmethod
    def smoke(cls) -> Config:
        return cls(
            lines=("interior-point",),
            n=(20,),
            d=(),
            P=(),
            base=(30, 3, 10),
            shared=(30, 3, 10),
            iterations=5,
            kernel=(40, 4, 20),
            side=64,
            copied=1 << 12,
            repeats=1,
        )


def run(config: Config) -> dict[str, np.ndarray]:
    unknown = set(config.lines) - set(LINES)
    if unknown:
        raise ValueError(f"want lines of {', '.join(LINES)}; got {sorted(unknown)}")
    parts = resumable("bench_scaling", config)
    lines = [_at_one_setting(LINES[name], config) for name in config.lines]
    jobs = [(axis, size) for axis in _AXES for size in getattr(config, axis)]
    of_sizes: dict[str, dict[str, np.ndarray]] = {}  # the base is measured once
    found = []
    for axis, size in launch.progress(jobs, "sizes"):
        key, compute = _job(config, axis, size, lines)
        if key not in of_sizes:
            of_sizes[key] = parts.part(key, compute)
        found.append(of_sizes[key])
    rows = [len(part["line"]) for part in found]
    arrays = {name: np.concatenate([part[name] for part in found]) for name in COLUMNS}
    versions = {}
    for part in found:
        versions |= json.loads(str(part["versions"]))
    return (
        arrays
        | parts.part("kernels", lambda: _kernels(config))
        | {
            "axis": np.repeat([axis for axis, _ in jobs], rows),
            "size": np.repeat([size for _, size in jobs], rows),
            "base": np.asarray(config.base),
            "shared": np.asarray(config.shared),
            "kernel_size": np.asarray(config.kernel),
            "versions": np.asarray(json.dumps(versions)),
        }
    )


def _job(
    config: Config, axis: str, size: int, lines: list[Line]
) -> tuple[str, Callable[[], dict[str, np.ndarray]]]:
    """What to measure at one size, and its name."""
    effort = Effort(repeats=config.repeats, limit=config.limit, slow=config.slow)
    environment: dict[str, str] = {}
    if axis == "devices":
        n, d, P = config.shared
        lines = [_on_devices(size, config.iterations)]
        key = f"devices={size}"
        environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={size}"
    else:
        sizes = dict(zip(_SIZES, config.base, strict=True)) | {axis: size}
        n, d, P = sizes.values()
        key = f"{n}-{d}-{P}"

    def compute() -> dict[str, np.ndarray]:
        with Workers(shared=False, environment=environment) as workers:
            return measure(_problem(n, d, P), lines, workers, effort)

    return key, compute


def _on_devices(devices: int, iterations: int) -> Line:
    """ADMM that never meets its tolerance, so that the work is the same."""
    settings = {"tol": 1e-30, "max_iters": iterations, "devices": devices}
    ours = LINES["ADMM"]
    return dataclasses.replace(ours, relu=({**ours.relu[0], **settings},))


def _at_one_setting(line: Line, config: Config) -> Line:
    tol = config.tol if line.peer == "cvxjax" else config.peer_tol
    chosen = [settings for settings in line.relu if settings["tol"] == tol]
    if not chosen:
        raise ValueError(
            f"want a tol of {[settings['tol'] for settings in line.relu]} for "
            f"{line.name}; got {tol:g}"
        )
    return dataclasses.replace(line, relu=tuple(chosen))


def _problem(n: int, d: int, P: int) -> suites.Problem:
    problem = suites.planted(n, d, P, beta=1.0)
    beta = _FRACTION * make_program(problem).beta_max()
    return dataclasses.replace(problem, beta=beta)


def _kernels(config: Config) -> dict[str, np.ndarray]:
    """Achieved and attainable rates of each kernel."""
    n, d, P = config.kernel
    made = kernels.make_kernels(make_program(_problem(n, d, P)))
    gemm, copy = kernels.peaks(
        jnp.result_type(float), side=config.side, copied=config.copied
    )
    seconds = np.asarray(
        [
            kernels.seconds_of(kernel.function, kernel.arguments, repeats=5)
            for kernel in made
        ]
    )
    flops = np.asarray([float(kernel.flops) for kernel in made])
    traffic = np.asarray([kernel.traffic() for kernel in made])
    return {
        "kernels": np.asarray([kernel.name for kernel in made]),
        "kernel_seconds": seconds,
        "kernel_flops": flops,
        "kernel_bytes": traffic,
        "gemm_peak": np.asarray(gemm),
        "copy_peak": np.asarray(copy),
    }


def attained(arrays: dict[str, np.ndarray]) -> np.ndarray:
    """[kernels], the limit's seconds over the measured ones; 1 is the limit."""
    least = np.maximum(
        arrays["kernel_flops"] / arrays["gemm_peak"],
        arrays["kernel_bytes"] / arrays["copy_peak"],
    )
    return least / arrays["kernel_seconds"]


def exponents(arrays: dict[str, np.ndarray]) -> dict[tuple[str, str], float]:
    """d log seconds / d log size, of (line, axis) with two sizes or more."""
    seconds = warm(arrays["seconds"])
    found = {}
    for line in dict.fromkeys(arrays["line"].tolist()):
        for axis in _AXES:
            rows = (arrays["line"] == line) & (arrays["axis"] == axis)
            rows &= np.isfinite(seconds)
            if rows.sum() >= 2:
                logs = np.log(arrays["size"][rows]), np.log(seconds[rows])
                found[line, axis] = float(np.polyfit(*logs, 1)[0])
    return found


def plot(arrays: dict[str, np.ndarray]) -> Figure:
    figure, axes = style.figure(1, 5, width=18, height=3.8)
    seconds, slopes = warm(arrays["seconds"]), exponents(arrays)
    for axis, name in zip(axes, _AXES, strict=False):
        for line in dict.fromkeys(arrays["line"].tolist()):
            rows = (arrays["line"] == line) & (arrays["axis"] == name)
            rows &= np.isfinite(seconds)
            role, dashes = _LOOKS[line]
            slope = slopes.get((line, name))
            if rows.any():
                axis.plot(
                    arrays["size"][rows],
                    seconds[rows],
                    linestyle=dashes,
                    marker="o",
                    color=style.COLORS[role],
                    label=line if slope is None else f"{line}, {name}^{slope:.1f}",
                )
        axis.set(xscale="log", yscale="log", xlabel=name)
        counts = sorted(set(arrays["size"][arrays["axis"] == name].tolist()))
        axis.set_xticks(counts, [str(count) for count in counts])
        axis.xaxis.set_minor_locator(NullLocator())
        if name == "devices":
            axis.set_ylim(0.1, 10)
        style.plain_ticks(axis.yaxis)
        if axis.get_legend_handles_labels()[0]:
            axis.legend()
    axes[0].set_ylabel("seconds, warm")
    share = attained(arrays)
    places = np.arange(len(share))[::-1]
    axes[4].barh(places, share, color=style.COLORS["convex"])
    axes[4].set_yticks(places, arrays["kernels"].tolist())
    axes[4].axvline(1, color=style.COLORS["truth"], linestyle="--")
    axes[4].set(xlabel="of the limit", title="kernels against GEMM and copy")
    style.caption(figure, _caption(arrays))
    return figure


def _caption(arrays: dict[str, np.ndarray]) -> str:
    sizes = arrays["axis"] != "devices"
    settings = dict(zip(arrays["line"][sizes], arrays["settings"][sizes], strict=True))
    n, d, P = arrays["base"]
    left_out = missing(arrays)
    absent = f" Left out: {left_out}." if left_out else ""
    return (
        f"n = {n}, d = {d}, P = {P} where they do not vary; virtual devices of this "
        f"CPU: {', '.join(map(str, arrays['shared']))}, equal work. Settings: "
        + "; ".join(f"{line} {text}" for line, text in settings.items() if text != "{}")
        + f".{absent} Peaks: GEMM {arrays['gemm_peak'] / 1e9:.0f} GFLOP/s, copy "
        f"{arrays['copy_peak'] / 1e9:.1f} GB/s; kernels at n, d, P = "
        f"{', '.join(map(str, arrays['kernel_size']))}."
    )


def claims(arrays: dict[str, np.ndarray]) -> list[Claim]:
    slopes = exponents(arrays)
    made = []
    for line in dict.fromkeys(line for line, axis in slopes if axis in _SIZES):
        here = {axis: slopes[line, axis] for axis in _SIZES if (line, axis) in slopes}
        rows = (arrays["line"] == line) & np.isfinite(warm(arrays["seconds"]))
        within = all(slope <= _POWERS[axis] for axis, slope in here.items())
        text = ", ".join(f"{axis}^{slope:.2f}" for axis, slope in here.items())
        made.append(
            Claim(
                f"the cost of {line} grows no faster than n^2, d^2 and P",
                f"{text}; at most {arrays['peak_bytes'][rows].max() / 2**20:.0f} MiB",
                Verdict.REPRODUCED if within else Verdict.NOT_REPRODUCED,
            )
        )
    if ("ADMM", "devices") in slopes:
        made.append(_over_devices(arrays, slopes["ADMM", "devices"]))
    share = attained(arrays)
    rates = arrays["kernel_flops"] / arrays["kernel_seconds"] / 1e9
    moved = arrays["kernel_bytes"] / arrays["kernel_seconds"] / 1e9
    made.append(
        Claim(
            "each kernel runs at half of its limit or more",
            "; ".join(
                f"{name} {rate:.1f} GFLOP/s, {bytes_:.2f} GB/s, {part:.0%}"
                for name, rate, bytes_, part in zip(
                    arrays["kernels"], rates, moved, share, strict=True
                )
            )
            + f" (GEMM {arrays['gemm_peak'] / 1e9:.1f} GFLOP/s, copy "
            f"{arrays['copy_peak'] / 1e9:.1f} GB/s)",
            Verdict.REPRODUCED if np.all(share >= 0.5) else Verdict.NOT_REPRODUCED,
        )
    )
    return made


def _over_devices(arrays: dict[str, np.ndarray], slope: float) -> Claim:
    """Whether equal work takes less time on more virtual devices."""
    rows = np.flatnonzero(arrays["axis"] == "devices")
    listed = ", ".join(
        f"{arrays['size'][row]}: {seconds:.2f} s"
        for row, seconds in zip(rows, warm(arrays["seconds"][rows]), strict=True)
    )
    return Claim(
        "ADMM with its patterns on more devices takes less time",
        f"{listed}; devices^{slope:.2f} (virtual devices of one CPU, which share its "
        "cores; nothing is said of more machines)",
        Verdict.REPRODUCED if slope < -_NOISE else Verdict.NOT_REPRODUCED,
    )


if __name__ == "__main__":
    launch.main(__name__)
