"""The talk's program of a polynomial network: one PSD matrix, alpha >= 0 alone."""

from __future__ import annotations

import numpy as np
from scipy.optimize import nnls

_ANGLES = 4_000


def optimum_without_second(
    X: np.ndarray,
    y: np.ndarray,
    *,
    beta: float,
    coefficients: tuple[float, float, float],
) -> float:
    """min_Z 1/2 ||f - y||^2 + beta Z_4 over one Z >= 0 with tr Z_1 = Z_4, d = 2.

    Z is a sum of alpha [u; 1][u; 1]^T with alpha >= 0 and unit u, here of 4,000 angles.
    The sum of alpha is a linear function of the predictions, w^T Phi alpha, so that the
    penalty only moves the labels, to y - beta w: non-negative least squares.

    Args:
      X: [n, 2], n >= 5 in general position, so that w exists.
      y: [n].
      beta: of the sum of alpha.
      coefficients: (a, b, c).

    Returns:
      The value, from above; within 1e-6 (relative) in the tests.

    Raises:
      ValueError: if there is no w.
    """
    a, b, c = coefficients
    angles = np.linspace(0, 2 * np.pi, _ANGLES, endpoint=False)
    t = X @ np.stack([np.cos(angles), np.sin(angles)])
    Phi = (a * t + b) * t + c
    w = np.linalg.lstsq(Phi.T, np.ones(_ANGLES), rcond=None)[0]
    if not np.allclose(w @ Phi, 1, atol=1e-9):
        raise ValueError("want points whose predictions determine the sum of alpha")
    alpha, _ = nnls(Phi, y - beta * w)
    return float(np.sum((Phi @ alpha - y) ** 2) / 2 + beta * np.sum(alpha))
