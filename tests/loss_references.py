"""Formulas of the separable losses, written apart from the library, and samples."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from cvxjax.terms import losses

INF = float("inf")
DELTA = 0.7
QUANTILE = 0.3


class Reference(NamedTuple):
    """L(z, y) = sum f(t), where t = z - y (residual) or y z (margin)."""

    loss: Any
    margin: bool
    f: Any
    domain: tuple[float, float]  # of f
    dual: tuple[float, float]  # of its conjugate


def huber(r: float) -> float:
    return 0.5 * r**2 if abs(r) <= DELTA else DELTA * abs(r) - 0.5 * DELTA**2


def log_loss(m: float) -> float:
    return np.log1p(np.exp(-m)) if m > -30 else -m


REFERENCES = [
    Reference(losses.squared(), False, lambda r: r**2 / 2, (-INF, INF), (-INF, INF)),
    Reference(losses.huber(DELTA), False, huber, (-INF, INF), (-DELTA, DELTA)),
    Reference(
        losses.pinball(QUANTILE),
        False,
        lambda r: max(-QUANTILE * r, (1 - QUANTILE) * r),
        (-INF, INF),
        (-QUANTILE, 1 - QUANTILE),
    ),
    Reference(losses.interpolation(), False, lambda r: 0.0, (0, 0), (-INF, INF)),
    Reference(losses.logistic(), True, log_loss, (-INF, INF), (-1, 0)),
    Reference(losses.hinge(), True, lambda m: max(0, 1 - m), (-INF, INF), (-1, 0)),
    Reference(
        losses.squared_hinge(),
        True,
        lambda m: max(0, 1 - m) ** 2 / 2,
        (-INF, INF),
        (-INF, 0),
    ),
    Reference(losses.hard_margin(), True, lambda m: 0.0, (1, INF), (-INF, 0)),
]
FINITE = [r for r in REFERENCES if r.domain == (-INF, INF)]
MARGIN = [r for r in REFERENCES if r.margin]
RESIDUAL = [r for r in REFERENCES if not r.margin]


def name_of(reference: Reference) -> str:
    return reference.loss.name


every = pytest.mark.parametrize("reference", REFERENCES, ids=name_of)
finite = pytest.mark.parametrize("reference", FINITE, ids=name_of)


def sample(reference: Reference, n: int, seed: int = 0, scale: float = 3.0):
    """Points z [n] and labels y [n]."""
    rng = np.random.default_rng(seed)
    y = rng.choice([-1.0, 1.0], n) if reference.margin else rng.standard_normal(n)
    return scale * rng.standard_normal(n), y


def sample_dual(reference: Reference, y: np.ndarray, seed: int = 1) -> np.ndarray:
    """Points u [n] inside the domain of the conjugate."""
    rng = np.random.default_rng(seed)
    low, high = (max(-4, reference.dual[0]), min(4, reference.dual[1]))
    s = rng.uniform(low, high, y.shape)
    return y * s if reference.margin else s


def argument(reference: Reference, z: np.ndarray, y: np.ndarray) -> np.ndarray:
    return y * z if reference.margin else z - y


def minimum(function: Any, low: float, high: float) -> float:
    """argmin over [low, high], which may be one point or have it at an end."""
    if high <= low:
        return low
    found = minimize_scalar(
        function, bounds=(low, high), method="bounded", options={"xatol": 1e-11}
    )
    return min([found.x, low, high], key=function)


def close(actual: Any, desired: Any) -> None:
    tol = 1e-12 if np.asarray(actual).dtype == np.float64 else 2e-5
    np.testing.assert_allclose(actual, desired, rtol=tol, atol=tol)
