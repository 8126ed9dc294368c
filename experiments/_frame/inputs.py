"""What a run reads and where it writes, looked at before any work."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from pathlib import Path

from cvxjax.data import download, image_files
from cvxjax.data.tables import UCI_SIZES
from experiments._frame.options import Wrong

_MNIST = tuple(
    f"{side}-{kind}-ubyte.gz"
    for side in ("train", "t10k")
    for kind in ("images-idx3", "labels-idx1")
)


def check_data(needed: Sequence[str], data_dir: str | None, *, bundled: str) -> str:
    """Whether the files of the data sets are in the user's folder.

    Their contents are checked when they are read. Without a folder, those that can be
    downloaded are.

    Args:
      needed: "cifar10", "cifar100", "fashion_mnist", "mitbih", or names of UCI tables.
      data_dir: the flag --data_dir; empty or None: CVXJAX_DATA.
      bundled: the flag that asks for data without files, for the remark below.

    Returns:
      A remark for the user, or nothing.

    Raises:
      Wrong: there is no such folder, or it lacks a data set.
    """
    given = data_dir or (os.environ.get(download.ENVIRONMENT) if needed else None)
    if not given:
        tables = [name for name in needed if name in UCI_SIZES]
        if tables:
            raise Wrong(
                f"no folder for {tables[0]}.tsv.gz: give --data_dir or set "
                f"{download.ENVIRONMENT}"
            )
        return ""
    source = "--data_dir" if data_dir else download.ENVIRONMENT
    folder = Path(given).expanduser()
    if not folder.is_dir():
        problem = "is no folder" if folder.exists() else "does not exist"
        raise Wrong(f"{source}: {folder} {problem}")
    for name in needed:
        try:
            _find(name, folder)
        except FileNotFoundError as error:
            raise Wrong(f"{source}: {error}") from None
    return "" if needed else f"--data_dir is not read: {bundled} comes without files"


def _find(name: str, folder: Path) -> None:
    """Raises FileNotFoundError unless the files of the set are there."""
    if name == "mitbih":
        download.find(folder, "ecg/ecg.dat", "ecg.dat")
    elif name == "fashion_mnist":
        for file in _MNIST:
            download.find(folder, f"{name}/{file}", file)
    elif name in ("cifar10", "cifar100"):
        _find_cifar(
            image_files.CIFAR10 if name == "cifar10" else image_files.CIFAR100, folder
        )
    else:
        download.find(folder, f"uci/{name}.tsv.gz", f"{name}.tsv.gz")


def _find_cifar(cifar: image_files.Cifar, folder: Path) -> None:
    """The archive, or every member beside the first, with the same ending."""
    first, *others = cifar.members
    places = (f"{cifar.folder}/", f"{cifar.inside}/", "")
    found = download.find(
        folder,
        *(place + cifar.archive for place in (f"{cifar.folder}/", "")),
        *(place + first + ending for place in places for ending in (".xz", "")),
    )
    if found.name != cifar.archive:
        for name in others:
            download.find(found.parent, name + found.name.removeprefix(first))


def output_folder(out: str | None, small: bool) -> Path:
    """`out`, or figures/; a new temporary folder for a smoke run without `out`.

    Raises:
      Wrong: the folder, or data/ in it, cannot be made or written.
    """
    if out == "":
        raise Wrong("--out: want a folder, got nothing")
    if out is None and small:
        return Path(tempfile.mkdtemp(prefix="cvxjax-smoke-"))
    folder = Path("figures" if out is None else out).expanduser()
    for place in (folder, folder / "data"):
        if place.exists() and not place.is_dir():
            raise Wrong(f"--out: want a folder, {place} is a file")
        try:
            place.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=place):
                pass
        except OSError as error:
            raise Wrong(f"--out: cannot write to {place}: {error.strerror}") from None
    return folder
