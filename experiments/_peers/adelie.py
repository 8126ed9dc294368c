"""adelie: block coordinate descent along a path of lambdas, in C++.

It minimises 1/(2n) ||.||^2 + lmda sum ||.||, so lmda = beta / n. Cones are one linear
constraint a group. A path of lambdas that ends at the one wanted makes it faster;
`lambda_max` is not used, for it overlooks constraints.

Source: Yang & Hastie (2024), arXiv 2405.08631; its convex ReLU example.
"""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from experiments._peers.problem import Problem

# By name, for type checkers take `import adelie` for this file.
ad: Any = importlib.import_module("adelie")


def versions() -> dict[str, str]:
    """Of the packages that matter."""
    return {"adelie": ad.__version__, "numpy": np.__version__}


def solve(problem: Problem, settings: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Solves by `grpnet`.

    Args:
      problem: with cones or without.
      settings: `tol` of coordinate descent; `path`, the number of lambdas, of which
        one alone may end far from the optimum; `threads`.
    """
    n, d = problem.X.shape
    P = len(problem.masks)
    groups = P if problem.gated else 2 * P
    X, masks = np.asfortranarray(problem.X), np.asfortranarray(problem.masks.T)
    threads = settings.get("threads", 1)
    matrix = ad.matrix.convex_relu(X, masks, gated=problem.gated, n_threads=threads)
    first = max(0.5 * problem.largest_correlation(), 2 * problem.beta)
    betas = np.geomspace(first, problem.beta, settings["path"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        state = ad.grpnet(
            matrix,
            ad.glm.gaussian(problem.y),
            constraints=None if problem.gated else _cones(problem),
            groups=d * np.arange(groups),
            penalty=np.ones(groups),
            lmda_path=betas / n,
            tol=settings["tol"],
            n_threads=threads,
            intercept=False,
            adev_tol=1,
            early_exit=False,
            progress_bar=False,
        )
    last = state.betas[-1].toarray().reshape(-1, P, d)
    return {"params": np.concatenate([last, np.zeros((2 - len(last), P, d))])}


def _cones(problem: Problem) -> list[Any]:
    """0 <= (2 D_i - I) X v <= inf for each group; the two signs share their matrix."""
    n = len(problem.X)
    lower, upper = np.zeros(n), np.full(n, np.inf)
    signed = [np.where(mask[:, None], problem.X, -problem.X) for mask in problem.masks]
    return [ad.constraint.linear(A, lower, upper) for _ in range(2) for A in signed]
