"""What experiments on images share: sets by name, two classes of them, pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cvxjax.data import images


class Split(NamedTuple):
    """Images [n, height, width, channels] of training and test, and their labels.

    Normalised by the training images' channels.
    """

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    names: tuple[str, ...]  # of the classes


def load(data: str, data_dir: str, num_train: int, classes: tuple[int, ...]) -> Split:
    """Some classes of a set: the first `num_train` of their images, and test images.

    Args:
      data: "digits", scikit-learn's, or "cifar10".
      data_dir: of CIFAR-10; else CVXJAX_DATA, else a download.
      num_train: digits beyond it are test images too.
      classes: k of them, which become the labels 0 to k - 1.
    """
    digits = data == "digits"
    full = images.bundled_digits() if digits else images.load_cifar10(data_dir)
    train, labels = _chosen(full.train_images, full.train_labels, classes)
    test, test_labels = _chosen(full.test_images, full.test_labels, classes)
    if not 0 < num_train <= len(train):
        raise ValueError(f"want 1 to {len(train)} training images; got {num_train}")
    if digits:
        test = np.concatenate([train[num_train:], test])
        test_labels = np.concatenate([labels[num_train:], test_labels])
    train, labels = train[:num_train], labels[:num_train]
    statistics = images.channel_statistics(train)
    return Split(
        images.normalise(train, *statistics),
        labels,
        images.normalise(test, *statistics),
        test_labels,
        tuple(full.class_names[label] for label in classes),
    )


def _chosen(
    pictures: np.ndarray, labels: np.ndarray, classes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    (rows,) = np.nonzero(np.isin(labels, classes))
    place = {label: k for k, label in enumerate(classes)}
    return pictures[rows], np.asarray([place[int(label)] for label in labels[rows]])


def source(data: str) -> str:
    """The set's name in a caption."""
    return "scikit-learn's digits" if data == "digits" else "CIFAR-10"


def tiles(pictures: np.ndarray, *, columns: int, gap: int = 1) -> np.ndarray:
    """Pictures [k, height, width, 1 or 3] as one, row by row, with white between.

    Each is scaled by its largest absolute value: zero is grey.
    """
    count, height, width, _ = pictures.shape
    rows = -(-count // columns)
    canvas = np.ones((rows * (height + gap) - gap, columns * (width + gap) - gap, 3))
    largest = np.max(np.abs(pictures), axis=(1, 2, 3), keepdims=True)
    shades = 0.5 + pictures / (2 * np.where(largest > 0, largest, 1))
    for k, shade in enumerate(shades):
        top, left = (k // columns) * (height + gap), (k % columns) * (width + gap)
        canvas[top : top + height, left : left + width] = shade
    return canvas
