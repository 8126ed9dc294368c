"""Data files, from a folder of the user's or by a download with a checksum.

The folder is given by a flag or the environment variable CVXJAX_DATA. If there is one,
nothing is downloaded.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pooch
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

ENVIRONMENT = "CVXJAX_DATA"


def data_dir(flag: str | Path | None = None) -> Path | None:
    """The folder given by `flag`, else by CVXJAX_DATA, else None.

    Raises:
      FileNotFoundError: The folder given does not exist.
    """
    given = flag or os.environ.get(ENVIRONMENT)
    if not given:
        return None
    folder = Path(given).expanduser()
    if not folder.is_dir():
        source = "given" if flag else f"in {ENVIRONMENT}"
        raise FileNotFoundError(f"the data folder {source} does not exist: {folder}")
    return folder


def find(folder: Path, *names: str) -> Path:
    """The first of `names` that is a file in `folder`.

    Raises:
      FileNotFoundError: None of them is.
    """
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(f"no {' or '.join(names)} in the data folder {folder}")


def verify(path: Path, sha256: str) -> Path:
    """Returns `path` if the file's SHA-256 is `sha256` (64 hexadecimal digits).

    Raises:
      FileNotFoundError: No such file.
      ValueError: The file is corrupt, truncated or another file.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    arrived = pooch.file_hash(str(path), alg="sha256")
    if arrived != sha256.lower():
        raise ValueError(
            f"{path} ({path.stat().st_size} bytes) is corrupt, truncated or another "
            f"file: want SHA-256 {sha256}, got {arrived}"
        )
    return path


def fetch(url: str, sha256: str, filename: str) -> Path:
    """Downloads `url` once into the user's cache folder and returns its path.

    A copy in the cache with the right checksum is used without network.

    Args:
      url: http or https.
      sha256: The checksum, 64 hexadecimal digits.
      filename: The name in the cache.

    Raises:
      OSError: The download failed.
      ValueError: What was downloaded has another checksum; it is deleted.
    """
    bar: Any = _ProgressBar(filename)
    downloader: Any = pooch.HTTPDownloader(progressbar=bar)
    try:
        path = pooch.retrieve(
            url,
            known_hash=f"sha256:{sha256}",
            fname=filename,
            path=pooch.os_cache("cvxjax"),
            downloader=downloader,
        )
    except OSError as error:
        raise OSError(
            f"could not download {filename} from {url}; with a copy of the file, pass "
            f"its folder or set {ENVIRONMENT}"
        ) from error
    return Path(path)


class _ProgressBar:
    """A rich progress bar with the methods that pooch calls on a tqdm bar."""

    def __init__(self, filename: str) -> None:
        self.total = 0
        self._bar = Progress(TextColumn(filename), BarColumn(), DownloadColumn())
        self._task = self._bar.add_task(filename)

    def update(self, size: int) -> None:
        self._bar.start()
        self._bar.update(self._task, total=self.total, advance=size)

    def reset(self) -> None:
        self._bar.reset(self._task)

    def close(self) -> None:
        self._bar.stop()
