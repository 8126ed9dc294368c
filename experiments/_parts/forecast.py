"""One-step forecasting of a signal: whitened windows, split in time, and the error."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from sklearn.decomposition import PCA

from cvxjax.data import signals


@dataclasses.dataclass(frozen=True)
class Split:
    """Windows in whitened coordinates and a column of ones."""

    X: np.ndarray  # [n, d]
    y: np.ndarray  # [n]
    X_held: np.ndarray  # [n_held, d], later in time
    y_held: np.ndarray  # [n_held]

    @property
    def linear(self) -> np.ndarray:
        """The weights of the linear autoregressive model, [d], by least squares."""
        return np.linalg.lstsq(self.X, self.y, rcond=None)[0]

    def errors(
        self, predict: Callable[[np.ndarray], np.ndarray]
    ) -> tuple[float, float]:
        """`nrmse` of fitted and of held-out windows."""
        return nrmse(predict(self.X), self.y), nrmse(predict(self.X_held), self.y_held)


def make_split(signal: np.ndarray, window: int, fraction: float) -> Split:
    """Cuts the windows in time order and whitens them by statistics of the first part.

    The principal components of neighbouring samples differ in size by a factor of 100;
    scaled to unit variance they give the same functions and a well-conditioned program.

    Args:
      signal: [N].
      window: samples.
      fraction: of the windows, fitted; the later ones are held out.
    """
    parts = signals.forecast_split(signal, window, train_fraction=fraction)
    whitening = PCA(whiten=True, svd_solver="full").fit(parts.X_train)

    def features(X: np.ndarray) -> np.ndarray:
        return np.column_stack([whitening.transform(X), np.ones(len(X))])

    return Split(
        features(parts.X_train), parts.y_train, features(parts.X_test), parts.y_test
    )


def nrmse(y_hat: np.ndarray, y: np.ndarray) -> float:
    """||y_hat - y|| / ||y - mean(y)||: 0 is perfect, 1 is no better than the mean."""
    return float(np.linalg.norm(y_hat - y) / np.linalg.norm(y - y.mean()))
