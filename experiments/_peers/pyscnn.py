"""pyscnn: R-FISTA for gated ReLU, an augmented Lagrangian for ReLU, in torch.

It minimises 1/(2n) ||.||^2 + lam sum ||.||, so lam = beta / n. `unitize_data=False`:
with True, its gated weights are wrong where columns differ in norm.

Source: Mishkin, Sahiner & Pilanci, Fast Convex Optimization for Two-Layer ReLU Networks
(ICML 2022).
"""

from __future__ import annotations

import importlib.metadata
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch  # pyright: ignore[reportMissingImports]
from scipy.spatial.distance import cdist
from scnn.metrics import Metrics  # pyright: ignore[reportMissingImports]
from scnn.models import (  # pyright: ignore[reportMissingImports]
    ConvexGatedReLU,
    ConvexReLU,
)
from scnn.optimize import optimize_model  # pyright: ignore[reportMissingImports]
from scnn.regularizers import NeuronGL1  # pyright: ignore[reportMissingImports]
from scnn.solvers import AL, RFISTA  # pyright: ignore[reportMissingImports]

from experiments._peers.problem import Problem

_FISTA_ITERS = 100_000  # its own 10,000 end before tight tolerances


def versions() -> dict[str, str]:
    """Of the packages that matter."""
    packages = ("pyscnn", "torch", "numpy")
    return {package: importlib.metadata.version(package) for package in packages}


def solve(problem: Problem, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Solves by RFISTA without cones, by AL with them.

    Args:
      problem: with cones or without.
      settings: `tol`, a squared norm of the least subgradient; `constraint_tol`, of
        AL; `threads`.
    """
    n = len(problem.X)
    torch.set_num_threads(settings.get("threads", 2))
    model = (ConvexGatedReLU if problem.gated else ConvexReLU)(problem.gates.T, c=1)
    if problem.gated:
        solver = RFISTA(model, tol=settings["tol"], max_iters=_FISTA_ITERS)
    else:
        limits = {name: settings[name] for name in ("tol", "constraint_tol")}
        solver = AL(model, **limits)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitted, _ = optimize_model(
            model,
            solver,
            Metrics(),
            problem.X,
            problem.y,
            regularizer=NeuronGL1(problem.beta / n),
            return_convex=True,
            unitize_data=False,
            dtype="float64",  # float32 takes longer to the same tolerance
        )
    return {"params": _in_order(problem, fitted)}


def _in_order(problem: Problem, fitted: Any) -> np.ndarray:
    """[2, P, d]: pyscnn drops and sorts patterns, so each is found by its gate."""
    params = np.zeros(problem.shape)
    found = np.argmin(cdist(np.asarray(fitted.G).T, problem.gates), axis=1)
    for s, blocks in enumerate(np.asarray(part) for part in fitted.get_parameters()):
        params[s, found] = blocks.reshape(-1, problem.X.shape[1])[: len(found)]
    return params
