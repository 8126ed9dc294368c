"""Images as rows of numbers, with their classes as targets."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cvxjax.data import images
from experiments._parts.images import load_bytes

# The authors' statistics of the channels of CIFAR-10, which are those of CIFAR-100.
_CIFAR = (np.asarray((0.507, 0.487, 0.441)), np.asarray((0.267, 0.256, 0.276)))


class Rows(NamedTuple):
    """Flattened images x [n, d] and their classes y [n, c], one-hot; float32."""

    x: np.ndarray
    y: np.ndarray


class Images(NamedTuple):
    """Both sides of a split."""

    train: Rows
    test: Rows
    shape: tuple[int, int, int]  # of an image: height, width, channels


def load_rows(data: str, data_dir: str, num_train: int) -> Images:
    """All classes of a set in float32, normalised channel by channel.

    CIFAR by the authors' constants, other sets by the training images' statistics.
    """
    classes = tuple(range(100 if data == "cifar100" else 10))
    split = load_bytes(data, data_dir, num_train, classes)
    own = not data.startswith("cifar")
    mean, std = images.channel_statistics(split.train) if own else _CIFAR

    def side(pictures: np.ndarray, labels: np.ndarray) -> Rows:
        x = images.normalise(pictures, mean, std, dtype=np.float32)
        targets = np.eye(len(classes), dtype=np.float32)[labels]
        return Rows(x.reshape(len(x), -1), targets)

    height, width, channels = split.train.shape[1:]
    return Images(
        side(split.train, split.train_labels),
        side(split.test, split.test_labels),
        (height, width, channels),
    )
