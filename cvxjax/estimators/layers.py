"""The two layers of a trained network, in NumPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy

from cvxjax import recovery
from cvxjax.solvers.columns.weights import best_sizes

_TOL = 1e-10  # of the sizes of neurons that are left, relative


@dataclasses.dataclass(frozen=True)
class Layers:
    """f(X) = (X W1)_+ W2, or with gates g_j the sum of 1[X g_j >= 0] (X u_j) v_j^T."""

    first: np.ndarray  # [d, m]
    second: np.ndarray  # [m, c]
    gates: np.ndarray | None = None  # [m, d]

    @classmethod
    def of(cls, variables: Any) -> Layers:
        """The layers of Flax variables, without neurons that are zero."""
        params, gates = variables["params"], None
        first = np.asarray(params["first"]["kernel"], np.float64)
        second = np.asarray(params["second"]["kernel"], np.float64)
        if "gates" in variables:
            gates = np.asarray(variables["gates"]["gates"], np.float64)
        live = np.any(first != 0, axis=0) & np.any(second != 0, axis=1)
        return cls(first, second, gates).take(live)

    @property
    def width(self) -> int:
        """How many neurons there are."""
        return self.first.shape[1]

    def take(self, which: np.ndarray) -> Layers:
        """These neurons alone."""
        gates = None if self.gates is None else self.gates[which]
        return Layers(self.first[:, which], self.second[which], gates)

    def lifted(self, basis: np.ndarray | None) -> Layers:
        """For features [n, e] where this is for features @ basis, basis [e, d]."""
        if basis is None:
            return self
        gates = None if self.gates is None else self.gates @ basis.T
        return Layers(basis @ self.first, self.second, gates)

    def within(self, basis: np.ndarray | None) -> Layers:
        """The opposite of `lifted`, for an orthonormal basis."""
        if basis is None:
            return self
        gates = None if self.gates is None else self.gates @ basis
        return Layers(basis.T @ self.first, self.second, gates)

    def hidden(self, X: np.ndarray) -> np.ndarray:
        """What the neurons are on X, [n, m]."""
        products = X @ self.first
        if self.gates is None:
            return np.maximum(products, 0)
        return np.where(X @ self.gates.T >= 0, products, 0)

    def outputs(self, X: np.ndarray) -> np.ndarray:
        """f(X), [n, c]."""
        return self.hidden(X) @ self.second

    def objective(self, X: np.ndarray, program: Any) -> float:
        """L(f(X), y) + beta/2 (||W1||^2 + ||W2||^2) of the program's L, y and beta."""
        y = np.asarray(program.y, np.float64)
        fit = self.outputs(X).reshape(y.shape)
        decay = np.sum(self.first**2) + np.sum(self.second**2)
        return float(program.loss.value(fit, y)) + float(program.beta) / 2 * decay

    def narrowed(self, most: int, X: np.ndarray, program: Any) -> Layers:
        """A network of at most `most` neurons: the largest ones.

        ReLU neurons of one output are first pruned to those that are independent on X,
        which costs nothing, and the sizes of those that are left are found anew, which
        is a convex problem.
        """
        layers, single = self, self.second.shape[1] == 1
        if single and self.gates is None:
            u, a = recovery.prune(self.first.T, self.second[:, 0], X)
            layers = Layers(u.T, a[:, None])
        sizes = np.linalg.norm(layers.first, axis=0)
        sizes = sizes * np.linalg.norm(layers.second, axis=1)
        layers = layers.take(np.sort(np.argsort(-sizes, kind="stable")[:most]))
        return layers.resized(X, program) if single else layers

    def resized(self, X: np.ndarray, program: Any) -> Layers:
        """Neurons of one output with their best sizes, balanced."""
        unit = self.first / np.linalg.norm(self.first, axis=0)
        signs = np.sign(self.second[:, 0])
        fits = dataclasses.replace(self, first=unit).hidden(X) * signs
        y, beta = np.asarray(program.y, np.float64), float(program.beta)
        aim = _TOL * max(self.objective(X, program), np.finfo(float).tiny)
        found = best_sizes(program.loss, y, fits, beta, tol=aim)
        roots = np.sqrt(found.sizes)
        return Layers(unit * roots, (signs * roots)[:, None], self.gates)


def side_by_side(parts: Sequence[Layers]) -> Layers:
    """One network whose outputs are those of all parts in turn."""
    if len(parts) == 1:
        return parts[0]
    gates = [part.gates for part in parts if part.gates is not None]
    return Layers(
        np.concatenate([part.first for part in parts], axis=1),
        scipy.linalg.block_diag(*(part.second for part in parts)),
        np.concatenate(gates) if gates else None,
    )
