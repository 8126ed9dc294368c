"""Small data sets drawn from a formula."""

from __future__ import annotations

import numpy as np

FloatArray = np.ndarray


def five_points() -> tuple[FloatArray, FloatArray]:
    """Five labelled points on a line, with a bias column.

    Returns:
      X: [5, 2], the feature -2, -1, 0, 1, 2 and a column of ones.
      y: [5], the labels 1, -1, 1, 1, -1.
    """
    feature = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
    X = np.stack([feature, np.ones_like(feature)], axis=1)
    return X, np.array([1.0, -1.0, 1.0, 1.0, -1.0])


def planted_relu(
    seed: int, *, n: int, d: int, num_neurons: int, noise: float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Gaussian data labelled by a random two-layer ReLU network.

    y is max(X W, 0) a + noise e, divided by its standard deviation, where X, W, a and e
    are standard normal and drawn in this order from `numpy.random.default_rng(seed)`.

    Args:
      seed: An integer, not a JAX key: the same seed gives the same data everywhere.
      n: Samples, >= 2.
      d: Features, >= 1.
      num_neurons: Neurons of the planted network, >= 1.
      noise: Standard deviation of the noise before y is divided by its own, >= 0.

    Returns:
      X: [n, d], no bias column.
      y: [n], of standard deviation 1; its mean is not removed.

    Raises:
      ValueError: A size or the noise is out of range, or the labels came out constant.
    """
    if n < 2 or d < 1 or num_neurons < 1:
        raise ValueError(
            "want n >= 2, d >= 1, num_neurons >= 1; "
            f"got n={n}, d={d}, num_neurons={num_neurons}"
        )
    if not (np.isfinite(noise) and noise >= 0):
        raise ValueError(f"want a finite noise >= 0; got {noise}")
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d))
    W = rng.standard_normal((d, num_neurons))
    a = rng.standard_normal(num_neurons)
    y = np.maximum(X @ W, 0) @ a + noise * rng.standard_normal(n)
    deviation = y.std()
    if deviation == 0:
        raise ValueError(f"want labels that vary; seed {seed} gave constant ones")
    return X, y / deviation
