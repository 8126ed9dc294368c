"""The file that `solve` saves and `certify` checks: network, program, dual vector."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from cvxjax import recovery
from cvxjax.arrangements import Patterns
from cvxjax.arrangements.arguments import NAMED_LOSSES
from cvxjax.command_line.reading import (
    Data,
    InputError,
    Reading,
    read_data,
    read_npz,
    refusing,
)
from cvxjax.programs.two_layer import TwoLayerProgram, make_two_layer
from cvxjax.saving.files import write_arrays
from cvxjax.solution import Scope, Solution, Status
from cvxjax.terms import losses

LOSSES = tuple(name for name in NAMED_LOSSES if name != "softmax")  # of one output


@dataclasses.dataclass(frozen=True)
class Network:
    """A two-layer network in NumPy: (X first)_+ second, or with fixed gates."""

    first: np.ndarray  # [d, m]
    second: np.ndarray  # [m, 1]
    gates: np.ndarray | None  # [m, d]; None: ReLU

    @classmethod
    def of(cls, variables: dict[str, Any]) -> Network:
        """From Flax variables."""
        params, gates = variables["params"], variables.get("gates")
        return cls(
            first=np.asarray(params["first"]["kernel"]),
            second=np.asarray(params["second"]["kernel"]),
            gates=None if gates is None else np.asarray(gates["gates"]),
        )

    @property
    def num_neurons(self) -> int:
        """How many neurons have weights other than zero in both layers."""
        return int(np.sum(np.any(self.first != 0, axis=0) & (self.second[:, 0] != 0)))

    def objective(self, program: TwoLayerProgram) -> float:
        """L(f(X), y) + beta/2 (||first||^2 + ||second||^2) in float64."""
        X, y = (np.asarray(part, np.float64) for part in (program.X, program.y))
        first, second = self.first.astype(np.float64), self.second.astype(np.float64)
        hidden = X @ first
        active = hidden > 0 if self.gates is None else X @ self.gates.T >= 0
        z = np.where(active, hidden, 0) @ second[:, 0]
        decay = np.sum(first**2) + np.sum(second**2)
        return float(program.loss.value(z, y)) + float(program.beta) / 2 * float(decay)

    def num_outside(self, program: TwoLayerProgram) -> int:
        """How many neurons lie outside of all closed cells that the program lists."""
        listed = program.scope is Scope.SAMPLED and not program.all_patterns
        if self.gates is not None or not listed:
            return 0
        X, masks = np.asarray(program.X, np.float64), np.asarray(program.masks)
        u = self.first.astype(np.float64).T
        values = u @ X.T
        sizes = np.outer(np.linalg.norm(u, axis=1), np.linalg.norm(X, axis=1))
        slack = 1e3 * float(jnp.finfo(program.X.dtype).eps) * sizes
        wrong = (values > slack).astype(float) @ ~masks.T
        wrong += (values < -slack).astype(float) @ masks.T
        return int(np.sum(np.all(wrong > 0, axis=1) & (self.second[:, 0] != 0)))


def networks_of(
    program: TwoLayerProgram, solution: Solution
) -> tuple[Network, Network]:
    """The recovered network, and the same after merging and pruning.

    Where rounding would make the second one worse, it is the first one again.
    """
    variables = program.recover(solution.params)
    recovered = Network.of(variables)
    if program.cones is not None:
        small = Network.of(recovery.minimal(variables, np.asarray(program.X)))
        before, after = recovered.objective(program), small.objective(program)
        eps = float(np.finfo(recovered.first.dtype).eps)
        if after <= before + 1e4 * eps * abs(before):
            return recovered, small
    return recovered, recovered


def save_weights(
    path: Path,
    program: TwoLayerProgram,
    solution: Solution,
    network: Network,
    data: Data,
    reading: Reading,
) -> None:
    """Writes one .npz file, whole or not at all."""
    whole, program = program.all_patterns, solution.program_of(program)
    arrays = {
        "first/kernel": network.first,
        "second/kernel": network.second,
        "params": solution.params,
        "dual": solution.dual,
        "masks": program.masks,
        "gates": program.gates,
        "beta": program.beta,
        "loss": program.loss.name,
        "gated": program.cones is None,
        "bias": reading.bias,
        "scope": program.scope.value,
        "all_patterns": whole,
        "status": Status(int(solution.status)).name,
        "columns": np.array(data.columns, str),
        "mean": data.mean,
        "scale": data.scale,
        "reading": json.dumps(dataclasses.asdict(reading)),
        "data": data.fingerprint(),
    }
    if isinstance(program.loss, losses.Pinball):
        arrays["quantile"] = program.loss.quantile
    if solution.multipliers is not None:
        arrays["multipliers"] = solution.multipliers
    write_arrays(path, arrays)


def load_weights(
    path: Path, data_path: Path
) -> tuple[TwoLayerProgram, Solution, Network]:
    """The program, rebuilt from the data, and the solution and network that were saved.

    The file's scope is not believed: it is EXHAUSTIVE only if the data, enumerated
    again, have no pattern that the file does not list.

    Args:
      path: of the weights.
      data_path: of the data that were solved.

    Raises:
      InputError: a file is missing or corrupt, or the weights are of other data.
    """
    with refusing(path):
        saved = read_npz(path)
    reading = _reading(path, saved)
    data = read_data(data_path, reading)
    if str(saved["data"]) != data.fingerprint():
        raise InputError(f"{path}: these weights belong to other data than {data_path}")
    try:
        return _rebuild(saved, data)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise InputError(f"{path}: corrupt: {error}") from None


def _reading(path: Path, saved: dict[str, np.ndarray]) -> Reading:
    """The saved `Reading`; InputError unless the file has all that is needed."""
    wanted = [
        *("first/kernel", "second/kernel", "params", "dual", "masks", "gates", "beta"),
        *("loss", "gated", "scope", "reading", "data"),
    ]
    if missing := [key for key in wanted if key not in saved]:
        raise InputError(
            f"{path}: want weights saved by solve --out; {', '.join(missing)} missing"
        )
    try:
        return Reading(**json.loads(str(saved["reading"])))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path}: corrupt: reading: {error}") from None


def _rebuild(
    saved: dict[str, np.ndarray], data: Data
) -> tuple[TwoLayerProgram, Solution, Network]:
    """Program, solution and network from the arrays of a file, which are checked."""
    gated, (n, d) = bool(saved["gated"]), data.X.shape
    masks, gates = saved["masks"].astype(bool), saved["gates"]
    P, m = len(masks), saved["second/kernel"].size
    shapes = {
        "params": (2, P, d),
        "dual": (n,),
        "multipliers": (2, P, n),
        "masks": (P, n),
        "gates": (P, d),
        "beta": (),
        "first/kernel": (d, P if gated else m),
        "second/kernel": (P if gated else m, 1),
    }
    for key, shape in shapes.items():
        array = saved.get(key, np.zeros(shape))
        if array.shape != shape or array.dtype.kind not in "bf":
            raise ValueError(f"{key}: want numbers {shape}; got {array.shape}")
        if not np.all(np.isfinite(array)):
            raise ValueError(f"{key} has infinite or NaN entries")
    quantile = saved.get("quantile")
    claimed = Scope(str(saved["scope"]))  # which make_two_layer verifies
    scope = claimed if claimed is Scope.EXHAUSTIVE else Scope.SAMPLED
    patterns = Patterns(masks=jnp.asarray(masks), gates=jnp.asarray(gates), scope=scope)
    program = make_two_layer(
        data.X,
        data.y,
        patterns,
        beta=float(saved["beta"]),
        loss=loss_of(str(saved["loss"]), None if quantile is None else float(quantile)),
        gated=gated,
    )
    if program.shape != saved["params"].shape:
        raise ValueError("a pattern without interior")
    if bool(saved.get("all_patterns", False)):
        program = program.replace(all_patterns=True)
    network = Network(
        first=saved["first/kernel"],
        second=saved["second/kernel"],
        gates=gates if gated else None,
    )
    # What the solver said of its solution is not saved, since nothing proves it.
    params, dual = (jnp.asarray(saved[name]) for name in ("params", "dual"))
    multipliers = saved.get("multipliers")
    solution = Solution.of(program, params, dual, multipliers=multipliers)
    return program, solution, network


def loss_of(name: str, quantile: float | None = None) -> Any:
    """The loss of this name.

    Args:
      name: one of `LOSSES`.
      quantile: in (0, 1), for pinball alone.

    Raises:
      ValueError: for another name, or a quantile that does not fit.
    """
    if name not in LOSSES:
        raise ValueError(f"want a loss among {', '.join(LOSSES)}; got {name!r}")
    if quantile is None:
        return getattr(losses, name)()
    if name != "pinball":
        raise ValueError(f"want a quantile for the pinball loss alone; got {name}")
    return losses.pinball(quantile)
