"""Signals and their windows, for predicting the next sample from the last ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pywt.data

from cvxjax.data import download

FloatArray = np.ndarray

MITBIH_HZ = 360
"""Sampling rate of `mitbih_208`, per second."""

_MITBIH_URL = "https://raw.githubusercontent.com/scipy/dataset-ecg/main/ecg.dat"
_MITBIH_SHA256 = "f20ad3365fb9b7f845d0e5c48b6fe67081377ee466c3a220b7f69f35c8958baf"


def pywavelets_ecg() -> FloatArray:
    """The electrocardiogram bundled with PyWavelets; needs no file and no network.

    Returns:
      [1024], the integers -112 to 250 as floats. PyWavelets states neither sampling
      rate, unit nor origin, so the numbers are uncalibrated.

    Source: `pywt.data.ecg`.
    """
    return np.array(pywt.data.ecg(), dtype=np.float64)


def mitbih_208(data_dir: str | Path | None = None) -> FloatArray:
    """Five minutes of lead MLII of record 208 of the MIT-BIH arrhythmia database.

    Args:
      data_dir: A folder with ecg/ecg.dat or ecg.dat; if None, that in the environment
        variable CVXJAX_DATA; if that is not set either, the file is downloaded once
        (119 kB) into the user's cache folder.

    Returns:
      [108000], millivolts, `MITBIH_HZ` samples per second.

    Raises:
      FileNotFoundError: A folder is given, but it or the file does not exist.
      ValueError: The file is not the one published (SHA-256).
      OSError: The download failed.

    Source: Moody & Mark, IEEE Eng. in Med. and Biol. 20(3), 2001; Goldberger et al.,
    Circulation 101(23), 2000. Licence: Open Data Commons Attribution 1.0. The excerpt,
    19:35 to 24:35, is that of `scipy.datasets.electrocardiogram`.
    """
    folder = download.data_dir(data_dir)
    if folder is None:
        path = download.fetch(_MITBIH_URL, _MITBIH_SHA256, "ecg.dat")
    else:
        found = download.find(folder, "ecg/ecg.dat", "ecg.dat")
        path = download.verify(found, _MITBIH_SHA256)
    with np.load(path) as archive:
        return (archive["ecg"].astype(np.float64) - 1024) / 200


def hankel_windows(signal: np.ndarray, window: int) -> tuple[FloatArray, FloatArray]:
    """Every window of the signal and the sample that follows it.

    Args:
      signal: [N], finite.
      window: Samples per window, 1 <= window < N.

    Returns:
      X: [N - window, window], row k is signal[k : k + window], oldest sample first.
      y: [N - window], entry k is signal[k + window].

    Raises:
      ValueError: The signal is not a finite vector, or the window does not fit it.
    """
    signal = np.asarray(signal, dtype=np.float64)
    if signal.ndim != 1 or not np.all(np.isfinite(signal)):
        raise ValueError(f"want a finite signal [N]; got shape {signal.shape}")
    if not 1 <= window < signal.size:
        raise ValueError(f"want 1 <= window < {signal.size}; got {window}")
    rows = np.lib.stride_tricks.sliding_window_view(signal, window)
    return rows[:-1].copy(), signal[window:].copy()


@dataclasses.dataclass(frozen=True)
class Forecast:
    """A one-step prediction problem in units of the training part.

    `signal = mean + scale * normalised`.
    """

    X_train: FloatArray  # [n_train, window]
    y_train: FloatArray  # [n_train]
    X_test: FloatArray  # [n_test, window]
    y_test: FloatArray  # [n_test]
    mean: float
    scale: float  # > 0


def forecast_split(
    signal: np.ndarray, window: int, *, train_fraction: float = 0.7
) -> Forecast:
    """Cuts the windows of a signal in time order and normalises them.

    The first `train_fraction` of the windows are for training, the later ones for test.
    Mean and standard deviation are those of the samples that training windows and
    targets use, so that nothing of a test target leaks into training. The first test
    windows reach back into training samples, as a forecaster's do.

    Args:
      signal: [N], finite.
      window: Samples per window, 1 <= window < N.
      train_fraction: In (0, 1), leaving one window or more on each side.

    Returns:
      The four arrays and the statistics; a constant training part has scale 1.

    Raises:
      ValueError: As in `hankel_windows`, or one side of the split is empty.
    """
    X, y = hankel_windows(signal, window)
    num_train = int(train_fraction * y.size)
    if not 0 < num_train < y.size:
        raise ValueError(
            "want a train_fraction that leaves windows on both sides; "
            f"got {train_fraction} of {y.size}"
        )
    seen = np.asarray(signal, dtype=np.float64)[: num_train + window]
    mean, scale = float(seen.mean()), float(seen.std()) or 1.0
    X, y = (X - mean) / scale, (y - mean) / scale
    return Forecast(
        X_train=X[:num_train],
        y_train=y[:num_train],
        X_test=X[num_train:],
        y_test=y[num_train:],
        mean=mean,
        scale=scale,
    )
