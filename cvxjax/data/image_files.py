"""The files of CIFAR and of MNIST: names, checksums and layouts.

They are read from a given folder, else downloaded. A file with another checksum is
refused.
"""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import lzma
import tarfile
from concurrent import futures
from pathlib import Path

import numpy as np

from cvxjax.data import download

ByteArray = np.ndarray
LabelArray = np.ndarray
Arrays = tuple[ByteArray, LabelArray, ByteArray, LabelArray]
"""Training images [n, height, width, channels] and labels [n], those for test."""


@dataclasses.dataclass(frozen=True)
class Cifar:
    """An archive of CIFAR: where it may be, its members and their SHA-256."""

    folder: str
    archive: str
    archive_sha256: str
    inside: str  # the folder in the archive
    members: tuple[str, ...]  # for training, but the last for test
    official: tuple[str, ...]  # SHA-256 of each member, as torchvision-ruby lists it
    copies: tuple[str, ...]  # SHA-256 of each member of the copy that is accepted too
    label_bytes: int  # of a record; the last is the class


_CIFAR_URL = "https://www.cs.toronto.edu/~kriz/"
CIFAR10 = Cifar(
    folder="cifar10",
    archive="cifar-10-binary.tar.gz",
    archive_sha256="c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    inside="cifar-10-batches-bin",
    members=(*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin"),
    official=(
        "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    ),
    copies=(
        "0def081c410489f98b3935c2d405fc7436d23377894a5d6a710ce1fad8082588",
        "4d0a9f6a8434c9b3b3de28d817dc3d360a3f82d86a14f3c7bf6d2d8fc64188e2",
        "1a4d0920ea06101641902b09fdac800cad7b5105963deee31ddff8e83fbabe6c",
        "1a1401a79ee78d63b83259d2b3f22a52142e7dd6309a0164c460dc6abd7ac38b",
        "ce4b8267c2f77f8915b4299443568f52defe265996f0a8b7966b63b7adf6d4d2",
        "123ca0dad8f960344d9149742165d4215093c84c8c4bdc5922af93b614bdb501",
    ),
    label_bytes=1,
)
CIFAR100 = Cifar(
    folder="cifar100",
    archive="cifar-100-binary.tar.gz",
    archive_sha256="58a81ae192c23a4be8b1804d68e518ed807d710a4eb253b1f2a199162a40d8ec",
    inside="cifar-100-binary",
    members=("train.bin", "test.bin"),
    official=(
        "f31298fc616915fa142368359df1c4ca2ae984d6915ca468b998a5ec6aeebf29",
        "d8b1e6b7b3bee4020055f0699b111f60b1af1e262aeb93a0b659061746f8224a",
    ),
    copies=(
        "5b386ec78f4fde2a870cebded5325a5855c8ff92c29fb39678e8cb8257d522e9",
        "af8d8bc2f79694f7e991d330993e3d34d60a1a349e12b4461de263f130b6b5a4",
    ),
    label_bytes=2,
)


@dataclasses.dataclass(frozen=True)
class Mnist:
    """The four files of a set in MNIST's layout: where they are and their SHA-256."""

    folder: str
    url: str
    sha256: tuple[str, ...]  # in the order of _MNIST_FILES


_MNIST_FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
MNIST = Mnist(
    folder="mnist",
    url="https://storage.googleapis.com/cvdf-datasets/mnist/",
    sha256=(
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ),
)
FASHION_MNIST = Mnist(
    folder="fashion_mnist",
    url="http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    sha256=(
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ),
)


def read_cifar(cifar: Cifar, data_dir: str | Path | None) -> Arrays:
    """The images of `CIFAR10` or `CIFAR100`, as `images.load_cifar10` says."""
    *train, test = _read_members(cifar, download.data_dir(data_dir))
    return (
        *_split_records(b"".join(train), cifar.label_bytes),
        *_split_records(test, cifar.label_bytes),
    )


def read_mnist(mnist: Mnist, data_dir: str | Path | None) -> Arrays:
    """The images of `MNIST` or `FASHION_MNIST`, as `images.load_mnist` says."""
    folder = download.data_dir(data_dir)
    arrays = []
    for name, sha256 in zip(_MNIST_FILES, mnist.sha256, strict=True):
        if folder is None:
            path = download.fetch(mnist.url + name, sha256, f"{mnist.folder}-{name}")
        else:
            found = download.find(folder, f"{mnist.folder}/{name}", name)
            path = download.verify(found, sha256)
        arrays.append(_read_idx(path))
    train_images, train_labels, test_images, test_labels = arrays
    return (
        train_images[..., None],
        train_labels.astype(np.int64),
        test_images[..., None],
        test_labels.astype(np.int64),
    )


def _read_members(cifar: Cifar, folder: Path | None) -> list[bytes]:
    """The contents of the members in their order, after checks of their SHA-256."""
    if folder is None:
        url = _CIFAR_URL + cifar.archive
        path = download.fetch(url, cifar.archive_sha256, cifar.archive)
        return _unpack(cifar, path)
    first = cifar.members[0]
    places = (f"{cifar.folder}/", f"{cifar.inside}/", "")
    path = download.find(
        folder,
        *(place + cifar.archive for place in (f"{cifar.folder}/", "")),
        *(place + first + ending for place in places for ending in (".xz", "")),
    )
    if path.name == cifar.archive:
        return _unpack(cifar, download.verify(path, cifar.archive_sha256))
    ending = path.name.removeprefix(first)
    paths = [download.find(path.parent, name + ending) for name in cifar.members]
    with futures.ThreadPoolExecutor() as pool:
        return list(pool.map(_read_member, paths, cifar.official, cifar.copies))


def _unpack(cifar: Cifar, path: Path) -> list[bytes]:
    """The members, read in the archive's own order: gzip cannot go back cheaply."""
    contents = {}
    with tarfile.open(path) as archive:
        for entry in archive:
            file = archive.extractfile(entry)
            if file is not None:
                contents[entry.name] = file.read()
    return [contents[f"{cifar.inside}/{name}"] for name in cifar.members]


def _read_member(path: Path, official: str, copy: str) -> bytes:
    """The content of a file, decompressed if .xz; ValueError for another SHA-256."""
    content = path.read_bytes()
    if path.suffix == ".xz":
        try:
            content = lzma.decompress(content)
        except lzma.LZMAError as error:
            raise ValueError(
                f"{path} ({len(content)} bytes) is corrupt, truncated or another file: "
                f"{error}"
            ) from error
    arrived = hashlib.sha256(content).hexdigest()
    if arrived not in (official, copy):
        raise ValueError(
            f"{path} (with {len(content)} bytes of records) is corrupt, truncated or "
            f"another file: want SHA-256 {official} or {copy}, got {arrived}"
        )
    return content


def _split_records(content: bytes, label_bytes: int) -> tuple[ByteArray, LabelArray]:
    """Images and labels of records: labels, then planes of red, green and blue."""
    records = np.frombuffer(content, np.uint8).reshape(-1, label_bytes + 3 * 32 * 32)
    planes = records[:, label_bytes:].reshape(-1, 3, 32, 32)
    labels = records[:, label_bytes - 1].astype(np.int64)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), labels


def _read_idx(path: Path) -> ByteArray:
    """The bytes of an idx file: dimensions in byte 3, sizes of 4 bytes each, values."""
    content = gzip.decompress(path.read_bytes())
    ndim = content[3]
    shape = np.frombuffer(content, ">u4", count=ndim, offset=4)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * ndim)
    return values.reshape(shape).copy()
