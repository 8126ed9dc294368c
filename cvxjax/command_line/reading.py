"""Reads the data files of the command line, .csv and .npz.

How a file is read depends on a `Reading` alone, which is saved with the weights, so
that `certify` reads the data as `solve` did.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import hashlib
import math
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

Table = tuple[np.ndarray, np.ndarray, list[str]]  # X [n, d], labels [n], columns


class InputError(Exception):
    """Wrong input by the user; its message is the one line that is printed."""


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a file becomes X and y."""

    label: str | None = None  # column name or index (.csv), or key (.npz)
    positive: str | None = None  # the label that becomes +1, all others -1
    bias: bool = True  # append a column of ones
    standardize: bool = False  # columns of mean 0 and standard deviation 1
    float32: bool = False


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set as it enters the program."""

    X: np.ndarray  # [n, d], with the column of ones
    y: np.ndarray  # [n]
    columns: list[str]  # [d]
    mean: np.ndarray  # [d], what was subtracted from the columns
    scale: np.ndarray  # [d], what they were then divided by

    def fingerprint(self) -> str:
        """A hash of X and y."""
        digest = hashlib.sha256(repr((self.X.shape, self.X.dtype)).encode())
        for array in (self.X, self.y):
            digest.update(np.ascontiguousarray(array + 0.0).tobytes())
        return digest.hexdigest()


def read_data(path: Path, reading: Reading) -> Data:
    """Reads X and y from a file, and standardises or appends a column of ones if asked.

    Raises:
      InputError: the file is missing or corrupt, or holds no matrix X and labels y.
    """
    readers = {".csv": _read_csv, ".npz": _read_npz}
    if path.suffix.lower() not in readers:
        raise InputError(f"want a .npz or .csv file; got {path}")
    with refusing(path):
        X, labels, columns = readers[path.suffix.lower()](path, reading.label)
    if X.ndim != 2 or labels.shape != X.shape[:1] or not X.size:
        raise InputError(
            f"{path}: want X [n, d], y [n] with n, d >= 1; got {list(X.shape)}, "
            f"{list(labels.shape)}"
        )
    if X.dtype.kind not in "biuf":
        raise InputError(f"{path}: want real numbers for X; got dtype {X.dtype}")
    X, y = X.astype(float), _numbers_of(labels, reading.positive)
    for name, array in (("X", X), ("y", y)):
        if wrong := int(np.sum(~np.isfinite(array))):
            raise InputError(f"{path}: {name} has {wrong} infinite or NaN entries")
    mean, scale = np.zeros(X.shape[1]), np.ones(X.shape[1])
    if reading.standardize:
        mean, scale = X.mean(axis=0), X.std(axis=0)
        scale[scale <= 1e-12 * np.abs(mean)] = 1
        X = (X - mean) / scale
    if reading.bias:
        X = np.column_stack([X, np.ones(len(X))])
        mean, scale, columns = np.append(mean, 0), np.append(scale, 1), [*columns, "1"]
    dtype = np.float32 if reading.float32 else np.float64
    with np.errstate(over="ignore"):
        return Data(X.astype(dtype), y.astype(dtype), columns, mean, scale)


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Raises an InputError in place of what a missing or broken file raises."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: want text in UTF-8") from None
    except (ValueError, EOFError, zipfile.BadZipFile, zlib.error, csv.Error) as error:
        raise InputError(f"{path}: corrupt, or of another format: {error}") from None


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz file, without pickles; call it inside `refusing`."""
    with path.open("rb") as file:  # np.load leaves a broken file open
        stored = np.load(file, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("one array instead of an archive of arrays")
        return {key: stored[key] for key in stored.files}


def _read_npz(path: Path, label: str | None) -> Table:
    arrays, label = read_npz(path), label or "y"
    if missing := [key for key in ("X", label) if key not in arrays]:
        raise InputError(
            f"{path}: want arrays X and {label}; {' and '.join(missing)} missing among "
            f"{', '.join(arrays) or 'none'}"
        )
    X = arrays["X"]
    return X, arrays[label], [f"x{j}" for j in range(X.shape[-1] if X.ndim else 0)]


def _read_csv(path: Path, label: str | None) -> Table:
    """X, labels and names; the first line is a header if none of it is a number."""
    with path.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    rows = [(line, row) for line, row in rows if row not in ([], [""])]
    if not rows:
        raise InputError(f"{path}: the file is empty")
    width = len(rows[0][1])
    for line, row in rows:
        if len(row) != width:
            raise InputError(
                f"{path}: want {width} cells in every line, as in line {rows[0][0]}; "
                f"got {len(row)} in line {line}"
            )
    if width < 2:
        raise InputError(f"{path}: want two columns or more, with commas; got one")
    names = [f"x{j}" for j in range(width)]
    if all(_number(cell) is None for cell in rows[0][1]):
        names = rows.pop(0)[1]
        if not rows:
            raise InputError(f"{path}: a header and no data")
    at = _column(path, names, label)
    X = np.empty((len(rows), width - 1))
    for i, (line, row) in enumerate(rows):
        values = [_number(cell) for cell in row[:at] + row[at + 1 :]]
        if None in values:
            j = values.index(None)
            j += j >= at
            raise InputError(
                f"{path}: line {line}, column {names[j] or j}: want a number; got "
                f"{row[j]!r}"
            )
        if not row[at]:
            raise InputError(f"{path}: line {line} has no label")
        X[i] = values
    return X, np.array([row[at] for _, row in rows]), names[:at] + names[at + 1 :]


def _column(path: Path, names: list[str], label: str | None) -> int:
    """The label's column: by name, else by index from 0 (or from the end, -1)."""
    if label is None:
        return len(names) - 1
    if names.count(label) == 1:
        return names.index(label)
    if names.count(label) > 1:
        raise InputError(f"{path}: several columns have the name {label!r}")
    try:
        return range(len(names))[int(label)]
    except (ValueError, IndexError):
        raise InputError(
            f"{path}: want a label among {', '.join(names[:8])}"
            f"{', ...' if len(names) > 8 else ''}, or an index; got {label!r}"
        ) from None


def _number(cell: str) -> float | None:
    try:
        return float(cell)
    except ValueError:
        return None


def _numbers_of(labels: np.ndarray, positive: str | None) -> np.ndarray:
    """Labels as floats; with `positive`, +1 where they equal it and -1 elsewhere."""
    if labels.dtype.kind not in "biufUS":
        raise InputError(f"want labels of numbers or text; got dtype {labels.dtype}")
    text = labels.astype(str)
    if labels.dtype.kind in "US":
        values = [_number(cell) for cell in text]
        words = [
            cell for cell, value in zip(text, values, strict=True) if value is None
        ]
        if words and positive is None:
            raise InputError(
                f"want numbers as labels; got {str(words[0])!r} (--positive LABEL "
                "makes that class +1 and the others -1)"
            )
        numbers = np.array([math.nan if v is None else v for v in values])
    else:
        numbers, words = labels.astype(float), []
    if positive is None or (not words and not np.all(np.isfinite(numbers))):
        return numbers
    chosen = text == positive
    if (value := _number(positive)) is not None:
        chosen |= numbers == value
    if not chosen.any() or chosen.all():
        found = [str(word) for word in np.unique(text)[:5]]
        raise InputError(
            f"want --positive, one of two or more labels; got {positive!r}, and the "
            f"labels {', '.join(found)}{', ...' if len(np.unique(text)) > 5 else ''}"
        )
    return np.where(chosen, 1.0, -1.0)
