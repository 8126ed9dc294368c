"""What experiments on images share: sets by name, two classes of them, pictures."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from cvxjax.arrangements import extract_patches
from cvxjax.data import images

_SOURCES = {
    "digits": "scikit-learn's digits",
    "fashion_mnist": "Fashion-MNIST",
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
}
_LOADERS = {
    "fashion_mnist": images.load_fashion_mnist,
    "cifar10": images.load_cifar10,
    "cifar100": images.load_cifar100,
}


class Split(NamedTuple):
    """Images [n, height, width, channels] of training and test, and their labels."""

    train: np.ndarray
    train_labels: np.ndarray
    test: np.ndarray
    test_labels: np.ndarray
    names: tuple[str, ...]  # of the classes


class Patches(NamedTuple):
    """Patches [n, K, h] and labels [n] of training and test images."""

    train: tuple[np.ndarray, np.ndarray]
    test: tuple[np.ndarray, np.ndarray]
    names: tuple[str, ...]  # of the classes


def load(data: str, data_dir: str, num_train: int, classes: tuple[int, ...]) -> Split:
    """`load_bytes`, normalised by the training images' channels."""
    split = load_bytes(data, data_dir, num_train, classes)
    statistics = images.channel_statistics(split.train)
    return split._replace(
        train=images.normalise(split.train, *statistics),
        test=images.normalise(split.test, *statistics),
    )


def load_bytes(
    data: str, data_dir: str, num_train: int, classes: tuple[int, ...]
) -> Split:
    """Some classes of a set: the first `num_train` of their images, and test images.

    Args:
      data: "digits", scikit-learn's, of values 0 to 16; "fashion_mnist"; "cifar10";
        "cifar100".
      data_dir: of the others; else CVXJAX_DATA, else a download.
      num_train: digits beyond it are test images too.
      classes: k of them, which become the labels 0 to k - 1.
    """
    digits = data == "digits"
    if digits:
        full = images.bundled_digits()
    else:
        full = _LOADERS[data](data_dir)
    train, labels = _chosen(full.train_images, full.train_labels, classes)
    test, test_labels = _chosen(full.test_images, full.test_labels, classes)
    if not 0 < num_train <= len(train):
        raise ValueError(f"want 1 to {len(train)} training images; got {num_train}")
    if digits:
        test = np.concatenate([train[num_train:], test])
        test_labels = np.concatenate([labels[num_train:], test_labels])
    names = tuple(full.class_names[label] for label in classes)
    return Split(train[:num_train], labels[:num_train], test, test_labels, names)


def in_patches(split: Split, size: int, stride: int, *, first: int) -> Patches:
    """Images of two classes as patches, with `first` and 1 as their labels.

    Args:
      split: its labels are 0 and 1.
      size: of a square patch, pixels.
      stride: between patches, pixels.
      first: the label of the first class.
    """

    def side(pictures: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        patches = extract_patches(pictures, (size, size), strides=(stride, stride))
        return np.asarray(patches), first + (1.0 - first) * labels

    train = side(split.train, split.train_labels)
    return Patches(train, side(split.test, split.test_labels), split.names)


def _chosen(
    pictures: np.ndarray, labels: np.ndarray, classes: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    (rows,) = np.nonzero(np.isin(labels, classes))
    place = {label: k for k, label in enumerate(classes)}
    return pictures[rows], np.asarray([place[int(label)] for label in labels[rows]])


def reads(data: str) -> tuple[str, ...]:
    """The set, if its images are read from files."""
    return () if data == "digits" else (data,)


def source(data: str) -> str:
    """The set's name in a caption."""
    return _SOURCES[data]


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
