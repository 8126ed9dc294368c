"""Image sets for classification, as bytes, and their normalisation.

CIFAR and MNIST are read from a given folder, else downloaded; small digits come with
scikit-learn.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

from cvxjax.data import image_files

ByteArray = np.ndarray
LabelArray = np.ndarray
FloatArray = np.ndarray

_DIGITS = tuple("0123456789")
_FASHION = tuple(
    "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot".split(
        ","
    )
)
_CIFAR10 = tuple("airplane automobile bird cat deer dog frog horse ship truck".split())
_CIFAR100 = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge
    bus butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud
    cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox
    girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man
    maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree
    pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
    road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel
    streetcar sunflower sweet_pepper table tank telephone television tiger tractor train
    trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()
)


@dataclasses.dataclass(frozen=True)
class ImageSet:
    """Images as they are stored, with their classes.

    Grey images have one channel, colour images red, green and blue.
    """

    train_images: ByteArray  # [n_train, height, width, channels], uint8
    train_labels: LabelArray  # [n_train], int64, positions in class_names
    test_images: ByteArray  # [n_test, height, width, channels], uint8
    test_labels: LabelArray  # [n_test], int64
    class_names: tuple[str, ...]


def load_cifar10(data_dir: str | Path | None = None) -> ImageSet:
    """CIFAR-10: 50000 training and 10000 test images, 32 x 32, in 10 classes.

    Reading takes 1.5 s of processor time from the archive, 9 s, spread over the cores,
    from .bin.xz.

    Args:
      data_dir: A folder with cifar-10-binary.tar.gz, its files data_batch_1.bin to
        data_batch_5.bin and test_batch.bin, or these as .bin.xz; in the folder itself,
        in cifar10/ or, the files, in cifar-10-batches-bin/. If None, that in the
        environment variable CVXJAX_DATA; if that is not set either, the archive is
        downloaded once (170 MB) into the user's cache folder.

    Returns:
      The official images, in the official order. A known copy is accepted too, in which
      72 training and 20 test images were decoded from JPEG; its labels are official.

    Raises:
      FileNotFoundError: A folder is given, but it or a file does not exist.
      ValueError: A file is neither official nor of that copy (SHA-256).
      OSError: The download failed.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
    """
    arrays = image_files.read_cifar(image_files.CIFAR10, data_dir)
    return ImageSet(*arrays, _CIFAR10)


def load_cifar100(data_dir: str | Path | None = None) -> ImageSet:
    """CIFAR-100: 50000 training and 10000 test images, 32 x 32, in 100 fine classes.

    Args:
      data_dir: As in `load_cifar10`, with cifar-100-binary.tar.gz (169 MB), the files
        train.bin and test.bin and the folders cifar100/ and cifar-100-binary/.

    Returns:
      The official images, in the official order. A known copy is accepted too: the
      first 90 training and 36 test images of each class, 9000 and 3600 in all.

    Raises:
      FileNotFoundError, ValueError, OSError: As in `load_cifar10`.

    Source: Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
    """
    arrays = image_files.read_cifar(image_files.CIFAR100, data_dir)
    return ImageSet(*arrays, _CIFAR100)


def load_mnist(data_dir: str | Path | None = None) -> ImageSet:
    """MNIST: 60000 training and 10000 test images of digits, 28 x 28.

    Args:
      data_dir: A folder with mnist/NAME or NAME, where NAME is each of the official
        train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz,
        t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz. If None, that in the
        environment variable CVXJAX_DATA; if that is not set either, they are downloaded
        once (12 MB) into the user's cache folder.

    Returns:
      The official images, 0 for background, in the official order.

    Raises:
      FileNotFoundError: A folder is given, but it or a file does not exist.
      ValueError: A file is not the official one (SHA-256).
      OSError: A download failed.

    Source: LeCun, Bottou, Bengio & Haffner, Proc. IEEE 86(11), 1998.
    """
    arrays = image_files.read_mnist(image_files.MNIST, data_dir)
    return ImageSet(*arrays, _DIGITS)


def load_fashion_mnist(data_dir: str | Path | None = None) -> ImageSet:
    """Fashion-MNIST: clothes in MNIST's layout, 60000 and 10000 images, 28 x 28.

    Args:
      data_dir: As in `load_mnist`, with the folder fashion_mnist/ (31 MB).

    Returns:
      The official images, 0 for background, in the official order.

    Raises:
      FileNotFoundError, ValueError, OSError: As in `load_mnist`.

    Source: Xiao, Rasul & Vollgraf, arXiv:1708.07747; MIT licence.
    """
    arrays = image_files.read_mnist(image_files.FASHION_MNIST, data_dir)
    return ImageSet(*arrays, _FASHION)


def bundled_digits() -> ImageSet:
    """The digits bundled with scikit-learn, 8 x 8; needs no file and no network.

    Returns:
      Images with values 0 to 16: the first 1437 for training, the last 360 for test, in
      the order of scikit-learn.

    Source: Alpaydin & Kaynak, Optical Recognition of Handwritten Digits, UCI (1998).
    """
    digits: Any = load_digits()
    images = digits.images.astype(np.uint8)[..., None]
    labels = digits.target.astype(np.int64)
    return ImageSet(images[:1437], labels[:1437], images[1437:], labels[1437:], _DIGITS)


def channel_statistics(images: ByteArray) -> tuple[FloatArray, FloatArray]:
    """Mean and standard deviation of each channel over all pixels of all images.

    Args:
      images: [n, height, width, channels], uint8.

    Returns:
      mean: [channels], float64, in units of the largest byte, 255.
      std: [channels], likewise, without Bessel's correction.

    Raises:
      ValueError: The images have another shape or dtype, or there is none.
    """
    _check_images(images)
    count = images[..., 0].size
    mean = np.einsum("nhwc->c", images, dtype=np.uint64) / count
    square = np.einsum("nhwc,nhwc->c", images, images, dtype=np.uint64) / count
    return mean / 255, np.sqrt(square - mean**2) / 255


def normalise(
    images: ByteArray,
    mean: FloatArray,
    std: FloatArray,
    *,
    dtype: npt.DTypeLike = np.float64,
) -> FloatArray:
    """(images / 255 - mean) / std, channel by channel.

    Training and test images are to be normalised alike, with `channel_statistics` of
    the training images.

    Args:
      images: [n, height, width, channels], uint8.
      mean: [channels].
      std: [channels], > 0.
      dtype: Of the result and of the arithmetic; floating.

    Returns:
      [n, height, width, channels].

    Raises:
      ValueError: The images have another shape or dtype, mean or std do not fit them,
        or a std is not positive.
    """
    _check_images(images)
    mean, std = np.asarray(mean), np.asarray(std)
    if not mean.shape == std.shape == images.shape[3:] or not np.all(std > 0):
        raise ValueError(
            f"want mean and std > 0 of {images.shape[3]} channels; got {mean}, {std}"
        )
    scaled = images.astype(dtype)
    scaled -= np.asarray(255 * mean, dtype)
    scaled /= np.asarray(255 * std, dtype)
    return scaled


def _check_images(images: ByteArray) -> None:
    if images.ndim != 4 or images.dtype != np.uint8 or not images.size:
        raise ValueError(
            "want images [n, height, width, channels] of uint8, n > 0; "
            f"got {images.shape} of {images.dtype}"
        )
