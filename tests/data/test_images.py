"""Image sets, those published and those bundled, and their normalisation."""

from __future__ import annotations

import os

import numpy as np
import pytest

from cvxjax.data import download, image_files, images

with_data = pytest.mark.skipif(
    not os.environ.get(download.ENVIRONMENT),
    reason="CVXJAX_DATA is not set to a folder with the image sets",
)


@pytest.fixture
def coloured():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (7, 4, 5, 3), np.uint8)


@with_data
def test_cifar10_is_the_published_set():
    data = images.load_cifar10()
    assert data.train_images.shape == (50_000, 32, 32, 3)
    assert data.test_images.shape == (10_000, 32, 32, 3)
    assert np.all(np.bincount(data.train_labels) == 5000)
    assert np.all(np.bincount(data.test_labels) == 1000)
    mean, std = images.channel_statistics(data.train_images)
    np.testing.assert_allclose(mean, [0.491400, 0.482158, 0.446531], atol=1e-6)
    np.testing.assert_allclose(std, [0.247030, 0.243485, 0.261587], atol=1e-6)
    np.testing.assert_array_equal(data.train_images[0, 0, 0], [59, 62, 63])
    names = [data.class_names[label] for label in data.train_labels[:5]]
    assert names == ["frog", "truck", "truck", "deer", "automobile"]


@with_data
def test_cifar100_is_the_published_set_or_its_balanced_part():
    data = images.load_cifar100()
    counts = {(50_000, 10_000), (9000, 3600)}
    assert (len(data.train_images), len(data.test_images)) in counts
    for labels in (data.train_labels, data.test_labels):
        assert np.all(np.bincount(labels) == len(labels) / 100)
    mean, _ = images.channel_statistics(data.train_images)
    np.testing.assert_allclose(mean, [0.507076, 0.486549, 0.440918], atol=2e-3)
    assert len(data.class_names) == 100
    assert data.class_names[data.train_labels[0]] == "cattle"


@with_data
def test_fashion_mnist_is_the_published_set():
    data = images.load_fashion_mnist()
    assert data.train_images.shape == (60_000, 28, 28, 1)
    assert data.test_images.shape == (10_000, 28, 28, 1)
    assert np.all(np.bincount(data.train_labels) == 6000)
    mean, std = images.channel_statistics(data.train_images)
    np.testing.assert_allclose([*mean, *std], [0.2860, 0.3530], atol=1e-4)
    names = [data.class_names[label] for label in data.train_labels[:4]]
    assert names == ["Ankle boot", "T-shirt/top", "T-shirt/top", "Dress"]


@pytest.mark.parametrize(
    ("load", "name", "sha256"),
    [
        (images.load_cifar10, "cifar-10-binary", image_files.CIFAR10.archive_sha256),
        (images.load_cifar100, "cifar-100-binary", image_files.CIFAR100.archive_sha256),
        (images.load_mnist, "mnist/train-", image_files.MNIST.sha256[0]),
        (images.load_fashion_mnist, "fashion-", image_files.FASHION_MNIST.sha256[0]),
    ],
)
def test_without_a_folder_each_loader_asks_for_its_own_files(
    load, name, sha256, monkeypatch
):
    def fetch(*asked):
        raise OSError(asked)

    monkeypatch.delenv(download.ENVIRONMENT, raising=False)
    monkeypatch.setattr(download, "fetch", fetch)
    with pytest.raises(OSError, match=f"http.*{name}.*{sha256}"):
        load()


def test_bundled_digits():
    digits = images.bundled_digits()
    assert digits.train_images.shape == (1437, 8, 8, 1)
    assert digits.test_images.shape == (360, 8, 8, 1)
    assert digits.train_images.dtype == np.uint8
    assert (digits.train_images.min(), digits.train_images.max()) == (0, 16)
    np.testing.assert_array_equal(digits.train_labels[:10], np.arange(10))
    assert np.bincount(digits.train_labels).min() == 141
    assert np.bincount(digits.test_labels).min() == 33
    assert digits.class_names == tuple("0123456789")


def test_channel_statistics(coloured):
    coloured[..., 1] = 93
    mean, std = images.channel_statistics(coloured)
    np.testing.assert_allclose(mean, np.mean(coloured / 255, axis=(0, 1, 2)))
    np.testing.assert_allclose(std, np.std(coloured / 255, axis=(0, 1, 2)), atol=1e-15)
    assert mean.dtype == std.dtype == np.float64 and std[1] == 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_normalise(coloured, dtype):
    mean, std = images.channel_statistics(coloured)
    scaled = images.normalise(coloured, mean, std, dtype=dtype)
    assert scaled.dtype == dtype
    tolerance = 4 * np.finfo(dtype).eps
    expected = (coloured / 255 - mean) / std
    np.testing.assert_allclose(scaled, expected, rtol=0, atol=2 * tolerance)
    np.testing.assert_allclose(scaled.mean(axis=(0, 1, 2)), 0, atol=tolerance)
    other = images.normalise(coloured[:2], mean, 2 * std)
    np.testing.assert_allclose(other, expected[:2] / 2)
    assert other.dtype == np.float64


def test_wrong_images_and_statistics_are_refused(coloured):
    for wrong in (coloured[0], coloured / 255, coloured[:0]):
        for refuse in (
            lambda wrong=wrong: images.channel_statistics(wrong),
            lambda wrong=wrong: images.normalise(wrong, np.ones(3), np.ones(3)),
        ):
            with pytest.raises(ValueError, match=r"of uint8, n > 0; got .* of "):
                refuse()
    good = np.ones(3)
    for mean, std in ((0.5, 0.2), (good[:1], good), (good, good - [0, 1, 0])):
        with pytest.raises(ValueError, match="std > 0 of 3 channels"):
            images.normalise(coloured, mean, std)
