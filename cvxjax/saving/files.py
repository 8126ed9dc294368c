"""Files that appear only when they are complete, by writing a copy and renaming it."""

from __future__ import annotations

import contextlib
import os
import secrets
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

import numpy as np


@contextlib.contextmanager
def atomic(path: Path) -> Iterator[IO[bytes]]:
    """Opens a file that appears as `path` if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    name = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    try:
        with name.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)
        raise


def write_arrays(path: Path, arrays: Mapping[str, Any]) -> None:
    """Writes a compressed .npz file; equal arrays give equal bytes.

    Raises:
      TypeError: if an entry is not numbers, bools or text.
    """
    plain = {key: np.asarray(value) for key, value in arrays.items()}
    for key, value in plain.items():
        if value.dtype.hasobject:
            raise TypeError(f"array {key!r}: want numbers or text, got objects")
    with atomic(path) as file:
        np.savez_compressed(file, allow_pickle=False, **plain)


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """Reads what `write_arrays` wrote."""
    with np.load(path, allow_pickle=False) as stored:
        return {key: stored[key] for key in stored.files}


def check_writable(path: Path | None, endings: tuple[str, ...] = (".npz",)) -> None:
    """Raises ValueError if no file of this kind can be written; None is accepted.

    For use before a long run.
    """
    if path is None:
        return
    if path.suffix not in endings or path.is_dir():
        raise ValueError(f"want a {' or '.join(endings)} file to write; got {path}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise ValueError(f"cannot write {path}: {error.strerror}") from None
