"""What is printed of networks: their bounds, their size, their scores."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import d2_pinball_score

from cvxjax.arrangements.patterns import cells_holding
from cvxjax.command_line.labels import Labels
from cvxjax.command_line.printing import LARGER_THAN_TOL, row, show
from cvxjax.estimators.layers import Layers
from cvxjax.estimators.training import Task
from cvxjax.solution import Certificate, Scope, Status
from cvxjax.verdicts import gap_floor, relative_gap

_FINISHED = {Status.CONVERGED, Status.SEARCHED}


@dataclasses.dataclass(frozen=True)
class Shown:
    """One convex program and its network."""

    name: str  # of the class that is told from the rest, or empty
    program: Any
    solution: Any
    certificate: Certificate
    layers: Layers
    network: float  # objective of the network itself
    unit: float  # of the objective: the mean weight of the samples

    @property
    def neurons(self) -> int:
        """The width."""
        return self.layers.width

    @property
    def gap(self) -> float:
        """The network's certified gap."""
        y = np.asarray(self.program.y, np.float64)
        floor = self.unit * float(gap_floor(self.program.loss, y))
        return relative_gap(self.network, self.certificate.dual, floor)


def parts_of(model: Any, labels: Labels) -> list[Shown]:
    """The programs of a fitted estimator."""
    units = [
        float(beta) / float(program.beta)
        for beta, program in zip(model.beta_, model.programs_, strict=True)
    ]
    return shown_parts(
        model.layers_,
        labels,
        list(zip(model.programs_, model.solutions_, strict=True)),
        model.certificates_,
        units,
        bases=model._bases,
    )


def shown_parts(
    layers: Layers,
    labels: Labels,
    solved: Sequence[tuple[Any, Any]],
    certificates: Sequence[Certificate],
    units: Sequence[float],
    values: Sequence[float] | None = None,
    bases: Sequence[np.ndarray | None] | None = None,
) -> list[Shown]:
    """Programs beside the parts of a network that stand for them.

    Args:
      layers: of the whole network.
      labels: whose classes the parts tell from the rest, where there are several.
      solved: programs and solutions.
      certificates: in the user's units.
      units: of the objectives.
      values: objectives of the networks in the programs' units, with their constants;
        default those with the best constants.
      bases: of the programs' features, as `Task` has them.
    """
    shown = []
    for j, (program, solution) in enumerate(solved):
        own, name = layers, ""
        if len(solved) > 1:
            own = part_of(layers, j)
            name = labels.classes[j] if labels.classes is not None else str(j)
        own = own.within(None if bases is None else bases[j])
        X = np.asarray(program.X, np.float64)
        value = own.objective(X, program) if values is None else values[j]
        value *= units[j]
        shown.append(
            Shown(name, program, solution, certificates[j], own, value, units[j])
        )
    return shown


def part_of(layers: Layers, j: int) -> Layers:
    """The neurons of output j, with that output alone."""
    own = layers.take(layers.second[:, j] != 0)
    return Layers(own.first, own.second[:, [j]], own.gates)


def objectives(
    layers: Layers,
    constants: np.ndarray,
    tasks: Sequence[Task],
    solved: Sequence[tuple[Any, Any]],
) -> list[float]:
    """What the networks of all parts cost with these constants, in programs' units.

    Args:
      layers: of the whole network.
      constants: [c], added to its outputs, less what was taken from the labels.
      tasks: with losses without an intercept.
      solved: programs, for their beta, and solutions.
    """
    found = []
    for j, (task, (program, _)) in enumerate(zip(tasks, solved, strict=True)):
        own = layers if len(tasks) == 1 else part_of(layers, j)
        own = own.within(task.basis)
        added = constants if len(tasks) == 1 else constants[[j]]
        fit = own.outputs(np.asarray(task.X, np.float64)) + added
        y = np.asarray(task.y, np.float64)
        decay = float(np.sum(own.first**2) + np.sum(own.second**2))
        value = float(task.loss.value(fit.reshape(y.shape), y))
        found.append(value + float(program.beta) / 2 * decay)
    return found


def show_problem(part: Shown, beta: str) -> None:
    """Prints which problem was solved."""
    program = part.program
    gated = part.layers.gates is not None
    kind = "gated ReLU" if gated else "ReLU"
    name, _, added = program.loss.name.partition(" with ")
    loss = f"{name} loss" + (f" with {added}" if added else "")
    row("problem", f"{kind}, {loss}, {beta}, {program.X.dtype}")


def show_fit(parts: Sequence[Shown], model: Any) -> None:
    """Prints what was solved, how it ended, and what is known of it."""
    show_problem(parts[0], beta_words(model))
    row("status", f"{status_of(model).name}: {status_of(model).message}")
    if len(parts) == 1:
        show_search(parts[0].solution)
    show_parts(parts)


def beta_words(model: Any) -> str:
    """The weight decay of a fitted estimator in words."""
    beta, highest = float(model.beta_[0]), float(model.beta_max_[0])
    if len(model.beta_) > 1 and model.relative_beta:
        return f"beta {model.beta:g} of each class's beta_max"
    if len(model.beta_) > 1 or not highest > 0:
        return f"beta {beta:.4g}"
    return f"beta {beta:.4g}, {beta / highest:.3g} of beta_max"


def show_parts(parts: Sequence[Shown]) -> None:
    """Prints objectives and bounds: lines for one program, a table for several."""
    if len(parts) == 1:
        (part,) = parts
        show_certificate(part.certificate)
        outside = num_outside(part.layers, part.program)
        where = f"; {outside} outside the given patterns" if outside else ""
        row("neurons", f"{part.neurons}{where}")
        value = f"{part.network:.10g}, certified gap {part.gap:.1e}"
        row("network", f"objective {value}")
        return
    row("classes", "one network each, against the rest")
    show("  objective  lower bound  certified gap  neurons  class")
    for part in parts:
        show(
            f"{part.network:11.5g}  {part.certificate.dual:11.5g}  {part.gap:13.1e}  "
            f"{part.neurons:7}  {part.name}"
        )
    worst = max(parts, key=lambda part: part.gap)
    scope = worst.certificate.scope
    claim = scope.claim(worst.gap, worst.certificate.tol)
    row("certified gap", f"{worst.gap:.1e} at most ({scope.value}: {claim})")
    row("neurons", sum(part.neurons for part in parts))


def num_outside(layers: Layers, program: Any) -> int:
    """How many neurons lie outside of all closed cells that the program lists."""
    listed = program.scope is Scope.SAMPLED and not program.all_patterns
    if layers.gates is not None or not listed or program.y.ndim > 1:
        return 0
    X, masks = np.asarray(program.X, np.float64), np.asarray(program.masks)
    on = 1e3 * float(np.finfo(program.X.dtype).eps)
    held = cells_holding(layers.first.T, X, masks, on)
    return int(np.sum(~np.any(held, axis=1)))


def show_search(solution: Any) -> None:
    """Prints what the search for neurons found, if there was one."""
    if solution.price is not None and int(solution.status) == Status.SEARCHED:
        worth, count = float(solution.price) - 1, int(solution.searches)
        row("search", f"from {count:,} points: no neuron worth {worth:.1e} more than")
        row("", "its weight decay; nothing proves that none exists")


def show_certificate(certificate: Certificate) -> None:
    """Prints both bounds of the certificate, its gap and its scope."""
    scope, gap = certificate.scope, certificate.gap
    row("objective", f"{certificate.primal:.10g}")
    row("lower bound", f"{certificate.dual:.10g}")
    claim = scope.claim(gap, certificate.tol)
    row("certified gap", f"{gap:.1e} ({scope.value}: {claim})")
    row("cone violation", f"{certificate.cone_violation:.1e}")


def score_of(model: Any, X: np.ndarray, y: np.ndarray) -> str:
    """Accuracy, R^2, or for a quantile the share of the loss that is explained."""
    if is_classifier(model):
        return f"accuracy {model.score(X, y):.3f}"
    if len(y) < 2 or np.ptp(y) == 0:
        off = np.sqrt(np.mean((model.predict(X) - y) ** 2))
        return f"root mean square error {off:.4g}"
    if model.loss == "pinball":
        found = d2_pinball_score(y, model.predict(X), alpha=model.quantile)
        return f"D^2 of quantile {model.quantile:g} {found:.3f}"
    return f"R^2 {model.score(X, y):.3f}"


def show_score(model: Any, data: Any, train: np.ndarray, test: Any) -> None:
    """Prints scores of the rows of the fit and of others, beside a constant's."""
    score = score_of(model, data.X[train], data.y[train])
    row("score", f"{score} on the {len(train):,} rows of the fit")
    if test is None:
        return
    y, known = data.y[test], data.y[train]
    other = "a constant scores at most 0"
    if is_classifier(model):
        plain = np.mean(y == np.bincount(known.astype(int)).argmax())
        other = f"the commonest class of the others: {plain:.3f}"
    score = score_of(model, data.X[test], y)
    row("test score", f"{score} on {len(test):,} rows held out ({other})")


def status_of(model: Any) -> Status:
    """The worst status of the model's programs."""
    statuses = model.statuses_
    unfinished = [status for status in statuses if status not in _FINISHED]
    if unfinished:
        return unfinished[0]
    return Status.SEARCHED if Status.SEARCHED in statuses else Status.CONVERGED


def why_not_certified(model: Any, tol: float | None) -> str | None:
    """Why the exit code is 3, or None.

    Without a tolerance asked for, a search that has come to its end is good enough.
    """
    status, gap = status_of(model), float(model.certificate_.gap)
    aim = model.tol if tol is None else tol
    if gap <= aim or (tol is None and status is Status.SEARCHED):
        return None
    where = f"the certified gap is {gap:.1e}, wanted {aim:g}"
    if status is not Status.CONVERGED:
        more = " (more: --time_limit)" if status is Status.TIME_LIMIT else ""
        return f"not converged: {status.name}: {status.message}{more}; {where}"
    if not gap <= LARGER_THAN_TOL * aim:
        return f"not certified: {where}"
    return None
