"""Files of image sets: written here in the official layouts, good, bad and missing."""

from __future__ import annotations

import dataclasses
import gzip
import hashlib
import io
import lzma
import tarfile
from pathlib import Path

import numpy as np
import pytest

from cvxjax.data import download, image_files


@dataclasses.dataclass(frozen=True)
class TinyCifar:
    """CIFAR with three records per member."""

    cifar: image_files.Cifar
    contents: list[bytes]  # of the members
    archive: bytes

    def records(self):
        joined = np.frombuffer(b"".join(self.contents), np.uint8)
        return joined.reshape(-1, self.cifar.label_bytes + 3072)

    def write(self, folder, names):
        """Writes every member as `names`, with the member's name in place of {}."""
        for member, content in zip(self.cifar.members, self.contents, strict=True):
            put(folder / names.format(member), content)


@dataclasses.dataclass(frozen=True)
class TinyMnist:
    """Five training and three test images in MNIST's layout."""

    mnist: image_files.Mnist
    arrays: list[np.ndarray]
    files: dict[str, bytes]


def put(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(lzma.compress(content) if path.suffix == ".xz" else content)
    return path


def sha256(content):
    return hashlib.sha256(content).hexdigest()


def pack(cifar, contents):
    """An archive of the members, in another order, as the official ones are."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as archive:
        folder = tarfile.TarInfo(cifar.inside)
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for name, content in reversed(list(zip(cifar.members, contents, strict=True))):
            entry = tarfile.TarInfo(f"{cifar.inside}/{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return file.getvalue()


@pytest.fixture(params=["CIFAR10", "CIFAR100"])
def cifar(request, monkeypatch):
    monkeypatch.delenv(download.ENVIRONMENT, raising=False)
    real = getattr(image_files, request.param)
    rng = np.random.default_rng(0)
    size = 3 * (real.label_bytes + 3072)
    contents = [rng.bytes(size) for _ in real.members]
    archive = pack(real, contents)
    sums = tuple(map(sha256, contents))
    tiny = dataclasses.replace(
        real,
        archive_sha256=sha256(archive),
        official=sums,
        copies=("0" * 64,) * len(sums),
    )
    return TinyCifar(tiny, contents, archive)


@pytest.fixture(params=["MNIST", "FASHION_MNIST"])
def mnist(request, monkeypatch):
    monkeypatch.delenv(download.ENVIRONMENT, raising=False)
    rng = np.random.default_rng(1)
    arrays, files = [], {}
    for count, part in ((5, "train"), (3, "t10k")):
        for shape, kind in (((count, 28, 28), "images"), ((count,), "labels")):
            arrays.append(rng.integers(0, 256, shape, np.uint8))
            header = np.array([0x800 + len(shape), *shape], ">u4").tobytes()
            name = f"{part}-{kind}-idx{len(shape)}-ubyte.gz"
            files[name] = gzip.compress(header + arrays[-1].tobytes())
    real = getattr(image_files, request.param)
    tiny = dataclasses.replace(real, sha256=tuple(map(sha256, files.values())))
    return TinyMnist(tiny, arrays, files)


def test_planes_become_channels_and_the_last_label_counts(cifar, tmp_path):
    cifar.write(tmp_path, "{}")
    images, labels, test_images, test_labels = image_files.read_cifar(
        cifar.cifar, tmp_path
    )
    assert len(images) == 3 * len(cifar.cifar.members) - 3 and len(test_images) == 3
    assert images.shape[1:] == test_images.shape[1:] == (32, 32, 3)
    assert images.dtype == np.uint8 and labels.dtype == np.int64
    skip = cifar.cifar.label_bytes
    for k, record in enumerate(cifar.records()):
        image = [*images, *test_images][k]
        assert [*labels, *test_labels][k] == record[skip - 1]
        for row, column, channel in ((0, 0, 0), (0, 31, 1), (7, 0, 2), (30, 31, 2)):
            place = skip + 1024 * channel + 32 * row + column
            assert image[row, column, channel] == record[place]
    images[0, 0, 0, 0] = 1


@pytest.mark.parametrize("place", ["{folder}/", "{inside}/", ""])
@pytest.mark.parametrize("ending", [".xz", ""])
def test_cifar_from_single_files(cifar, place, ending, tmp_path):
    place = place.format(folder=cifar.cifar.folder, inside=cifar.cifar.inside)
    cifar.write(tmp_path, place + "{}" + ending)
    _, labels, _, test_labels = image_files.read_cifar(cifar.cifar, tmp_path)
    expected = cifar.records()[:, cifar.cifar.label_bytes - 1]
    np.testing.assert_array_equal([*labels, *test_labels], expected)


@pytest.mark.parametrize("in_folder", [True, False])
def test_cifar_from_the_archive_before_single_files(cifar, in_folder, tmp_path):
    place = f"{cifar.cifar.folder}/" if in_folder else ""
    put(tmp_path / (place + cifar.cifar.archive), cifar.archive)
    put(tmp_path / (cifar.cifar.members[0] + ".xz"), b"not read")
    _, labels, _, test_labels = image_files.read_cifar(cifar.cifar, tmp_path)
    expected = cifar.records()[:, cifar.cifar.label_bytes - 1]
    np.testing.assert_array_equal([*labels, *test_labels], expected)


def test_cifar_from_the_known_copy(cifar, tmp_path):
    cifar.write(tmp_path, "{}.xz")
    copied = dataclasses.replace(
        cifar.cifar, official=cifar.cifar.copies, copies=cifar.cifar.official
    )
    _, _, _, labels = image_files.read_cifar(copied, tmp_path)
    expected = cifar.records()[-3:, cifar.cifar.label_bytes - 1]
    np.testing.assert_array_equal(labels, expected)


def test_another_file_of_cifar_is_refused(cifar, tmp_path):
    member, content = cifar.cifar.members[-1], cifar.contents[-1]
    cifar.write(tmp_path, "{}.xz")
    whole = lzma.compress(content)
    for corrupt in (whole[:-40], whole[:50] + b"???" + whole[53:], b"no xz", b""):
        (tmp_path / f"{member}.xz").write_bytes(corrupt)
        said = rf"{member}.xz \({len(corrupt)} bytes\) is corrupt, truncated or another"
        with pytest.raises(ValueError, match=said):
            image_files.read_cifar(cifar.cifar, tmp_path)

    cifar.write(tmp_path, "{}")
    (tmp_path / f"{cifar.cifar.members[0]}.xz").unlink()
    for other in (content[:-3000], content[:-1] + b"?", cifar.contents[0]):
        put(tmp_path / member, other)
        said = f"{len(other)} bytes.* {sha256(content)} or .*, got {sha256(other)}"
        with pytest.raises(ValueError, match=said):
            image_files.read_cifar(cifar.cifar, tmp_path)


def test_another_archive_is_refused(cifar, tmp_path):
    for other in (cifar.archive[:-100], b"", pack(cifar.cifar, cifar.contents[::-1])):
        put(tmp_path / cifar.cifar.archive, other)
        said = rf"{cifar.cifar.archive} \({len(other)} bytes\) is corrupt"
        with pytest.raises(ValueError, match=said):
            image_files.read_cifar(cifar.cifar, tmp_path)


def test_missing_files_of_cifar_are_said_and_not_downloaded(
    cifar, tmp_path, monkeypatch
):
    monkeypatch.setattr(download, "fetch", lambda *_: pytest.fail("downloaded"))
    first, last = cifar.cifar.members[0], cifar.cifar.members[-1]
    for name in (cifar.cifar.archive, f"{cifar.cifar.folder}/{first}.xz"):
        with pytest.raises(FileNotFoundError, match=name):
            image_files.read_cifar(cifar.cifar, tmp_path)
    cifar.write(tmp_path, "{}.xz")
    (tmp_path / f"{last}.xz").unlink()
    with pytest.raises(FileNotFoundError, match=f"no {last}.xz"):
        image_files.read_cifar(cifar.cifar, tmp_path)


def test_cifar_downloads_the_archive(cifar, tmp_path, monkeypatch):
    path = put(tmp_path / "kept.tar.gz", cifar.archive)
    asked = []
    monkeypatch.setattr(download, "fetch", lambda *what: asked.append(what) or path)
    _, labels, *_ = image_files.read_cifar(cifar.cifar, None)
    np.testing.assert_array_equal(
        labels, cifar.records()[:-3, cifar.cifar.label_bytes - 1]
    )
    name = cifar.cifar.archive
    url = f"https://www.cs.toronto.edu/~kriz/{name}"
    assert asked == [(url, cifar.cifar.archive_sha256, name)]


@pytest.mark.parametrize("in_folder", [True, False])
def test_mnist_from_files(mnist, in_folder, tmp_path):
    for name, content in mnist.files.items():
        put(tmp_path / (mnist.mnist.folder if in_folder else "") / name, content)
    arrays = image_files.read_mnist(mnist.mnist, tmp_path)
    assert arrays[0].shape == (5, 28, 28, 1) and arrays[2].shape == (3, 28, 28, 1)
    for array, expected in zip(arrays, mnist.arrays, strict=True):
        np.testing.assert_array_equal(array.reshape(expected.shape), expected)
        assert array.dtype == (np.uint8 if expected.ndim == 3 else np.int64)
    arrays[0][0] = 1


def test_another_file_of_mnist_is_refused(mnist, tmp_path):
    for name, content in mnist.files.items():
        put(tmp_path / name, content)
    *_, foreign, last = mnist.files
    path, whole = tmp_path / last, mnist.files[last]
    for other in (whole[:-1], b"", mnist.files[foreign]):
        path.write_bytes(other)
        said = (
            rf"{last} \({len(other)} bytes\) is corrupt.* want SHA-256 {sha256(whole)}"
        )
        with pytest.raises(ValueError, match=said):
            image_files.read_mnist(mnist.mnist, tmp_path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{mnist.mnist.folder}/{last} or"):
        image_files.read_mnist(mnist.mnist, tmp_path)


def test_mnist_downloads_four_files_under_names_of_their_own(
    mnist, tmp_path, monkeypatch
):
    asked = []

    def fetch(url, sha256, filename):
        asked.append((url, sha256, filename))
        return put(tmp_path / filename, mnist.files[Path(url).name])

    monkeypatch.setattr(download, "fetch", fetch)
    arrays = image_files.read_mnist(mnist.mnist, None)
    np.testing.assert_array_equal(arrays[3], mnist.arrays[3])
    assert asked == [
        (mnist.mnist.url + name, sum_, f"{mnist.mnist.folder}-{name}")
        for name, sum_ in zip(mnist.files, mnist.mnist.sha256, strict=True)
    ]
