"""Reads a table from a file of any common kind, and says how it was read.

Text is read as text: what is a number, a header, an index or a missing value is decided
here, once, by rules that a line each tells the user, and flags override.
"""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from cvxjax.command_line.errors import InputError
from cvxjax.command_line.headers import find_header, find_index
from cvxjax.command_line.numbers import decimal_mark, is_missing, to_numbers
from cvxjax.command_line.separated import (
    SEPARATORS,
    cells_of,
    separator_of,
    text_of,
)

_SNIFFED = 200  # lines, of which the separator is found


@dataclasses.dataclass(frozen=True)
class ReadingFlags:
    """What the user says of a file; None: it is found out."""

    sep: str | None = None
    decimal: str | None = None
    header: str | None = None  # yes or no
    index_col: str | None = None  # a name or position; none: there is none
    drop: tuple[str, ...] = ()
    label: str | None = None  # a name or position, or the key of an .npz file
    known: tuple[str, ...] = ()  # names of the columns of a fit, which a header holds


@dataclasses.dataclass(frozen=True)
class Table:
    """Columns of a file: their text, and the numbers among it."""

    names: list[str]
    text: np.ndarray  # [n, w] of str, stripped
    numbers: np.ndarray  # [n, w], NaN where the text is no number
    missing: np.ndarray  # [n, w], bool
    headed: bool  # whether the names were in the file
    mark: str  # of decimals
    notes: list[str]  # how it was read, a line each

    def take(self, columns: list[int]) -> Table:
        """These columns alone."""
        return dataclasses.replace(
            self,
            names=[self.names[j] for j in columns],
            text=self.text[:, columns],
            numbers=self.numbers[:, columns],
            missing=self.missing[:, columns],
        )

    def rows(self, which: np.ndarray) -> Table:
        """These rows alone."""
        return dataclasses.replace(
            self,
            text=self.text[which],
            numbers=self.numbers[which],
            missing=self.missing[which],
        )

    def find(self, name: str) -> int:
        """The position of a column, by its name, else by its number from 0 (or -1).

        Raises:
          InputError: there is no such column.
        """
        if name in self.names:
            return self.names.index(name)
        with contextlib.suppress(ValueError, IndexError):
            return range(len(self.names))[int(name)]
        some = ", ".join(self.names[:8]) + (", ..." if len(self.names) > 8 else "")
        raise InputError(f"want a column among {some}, or its number; got {name!r}")


def read_table(path: Path, flags: ReadingFlags) -> Table:
    """Reads a table of text, .npz or .parquet.

    Raises:
      InputError: the file is missing, corrupt, or no table, or a flag does not fit it.
    """
    endings = [ending.lower() for ending in path.suffixes[-2:]]
    with refusing(path):
        if endings[-1:] == [".npz"]:
            table = _of_arrays(path, flags)
        elif endings[-1:] in ([".parquet"], [".pq"]):
            table = _of_parquet(path)
        else:
            table = _of_text(path, flags)
    if not table.text.shape[0]:
        raise InputError(f"{path}: a header and no rows")
    dropped = [table.find(name) for name in flags.drop]
    if dropped:
        names = ", ".join(table.names[j] for j in dropped)
        table.notes.append(f"dropped as asked: {names}")
    return table.take([j for j in range(len(table.names)) if j not in dropped])


@contextlib.contextmanager
def refusing(path: Path) -> Iterator[None]:
    """Raises an InputError in place of what a missing or broken file raises."""
    try:
        yield
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from None
    except MemoryError:
        raise InputError(f"{path}: corrupt, or too large for this memory") from None
    except (
        *(ValueError, TypeError, KeyError, EOFError, RuntimeError, NotImplementedError),
        *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, csv.Error, SyntaxError),
    ) as error:
        what = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"{path}: corrupt, or of another format: {what}") from None


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a .npz file, without pickles; call it inside `refusing`."""
    if not zipfile.is_zipfile(path) and path.is_file():
        raise ValueError("no archive of arrays")
    with path.open("rb") as file:  # np.load leaves a broken file open
        stored = np.load(file, allow_pickle=False)
        if not isinstance(stored, np.lib.npyio.NpzFile):
            raise ValueError("one array instead of an archive of arrays")
        arrays = {key: stored[key] for key in stored.files}
        if wrong := [k for k, v in arrays.items() if not isinstance(v, np.ndarray)]:
            raise ValueError(f"its member {wrong[0]} is no array")
        return arrays


def _of_arrays(path: Path, flags: ReadingFlags) -> Table:
    """X [n, d] of an .npz file, and its labels as the last column, if there are any."""
    arrays, key = read_npz(path), flags.label or "y"
    asked = flags.label is not None and not flags.known
    if "X" not in arrays or (asked and key not in arrays):
        raise InputError(
            f"{path}: want arrays X and {key}; got {', '.join(arrays) or 'none'}"
        )
    X, y = arrays["X"], arrays.get(key)
    if X.ndim != 2 or not X.size or (y is not None and y.shape != X.shape[:1]):
        got = [list(part.shape) for part in (X, y) if part is not None]
        raise InputError(
            f"{path}: want X [n, d], {key} [n] with n, d >= 1; got "
            f"{', '.join(map(str, got))}"
        )
    if X.dtype.kind not in "biuf":
        raise InputError(f"{path}: want real numbers for X; got dtype {X.dtype}")
    names = [f"x{j}" for j in range(X.shape[1])]
    if key in names:
        raise InputError(f"{path}: the array {key} of labels is named as a column of X")
    frame = pd.DataFrame(X, columns=names)
    if y is not None:
        if y.dtype.kind not in "biufUS":
            raise InputError(f"{path}: want numbers or text as labels; got {y.dtype}")
        frame[key] = y
    return _of_frame(frame, f"arrays: X {list(X.shape)}")


def _of_parquet(path: Path) -> Table:
    try:
        frame = pd.read_parquet(path)
    except ImportError:
        raise InputError(
            f"{path}: parquet needs pyarrow: pip install pyarrow"
        ) from None
    return _of_frame(frame, f"parquet: {len(frame):,} rows, {frame.shape[1]} columns")


def _of_frame(frame: pd.DataFrame, note: str) -> Table:
    """The table of typed columns."""
    text = np.empty(frame.shape, object)
    numbers = np.full(frame.shape, np.nan)
    for j in range(frame.shape[1]):
        column = frame.iloc[:, j]
        text[:, j] = column.astype(object).where(column.notna(), "").map(_written)
        if pd.api.types.is_numeric_dtype(column) and column.dtype != bool:
            numbers[:, j] = column.to_numpy(float, na_value=np.nan)
            if np.any(np.isinf(numbers[:, j])):
                raise InputError(f"column {frame.columns[j]} has infinite entries")
    missing = np.array(frame.isna())
    names = [str(c) for c in frame.columns]
    return Table(names, text, numbers, missing, True, ".", [note])


def _written(value: object) -> str:
    """A value as text; whole floats as integers, so that classes 1.0 and 1 agree."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return str(value)


def _of_text(path: Path, flags: ReadingFlags) -> Table:
    """A table of separated values, its text found out."""
    text, notes = text_of(path)
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = [line for line in text.split("\n")[:_SNIFFED] if line.strip()]
    if not lines:
        raise InputError(f"{path}: the file is empty")
    sep = flags.sep or separator_of(lines)
    sep = {"tab": "\t", "\\t": "\t", "space": " "}.get(sep, sep)
    cells = cells_of(path, text, sep)
    if cells.shape[1] > 1:
        notes.append(f"separator: {SEPARATORS.get(sep, repr(sep))}")
    mark = flags.decimal or decimal_mark(cells)
    if mark not in (".", ","):
        raise InputError(
            f"{path}: numbers are written with points and with commas; say which is "
            "the decimal mark by --decimal"
        )
    if mark == ",":
        notes.append("decimal mark: comma")
    numbers, missing = to_numbers(cells, mark), is_missing(cells)
    names, why = find_header(cells, numbers, missing, flags.header)
    if flags.known and flags.header is None:  # the fit knows its columns
        first = [str(cell) for cell in cells[0]]
        if set(flags.known) & set(first):
            names, why = first, ", ".join(first)
        else:
            raise InputError(
                f"{path}: want a header with the columns of the fit, such as "
                f"{flags.known[0]!r} (--header no: columns by position)"
            )
    if names is not None:
        cells, numbers, missing = cells[1:], numbers[1:], missing[1:]
        notes.append(f"header: {why}")
    else:
        notes.append(f"no header: {why}; columns are x0, x1, ...")
    if not len(cells):
        raise InputError(f"{path}: a header and no rows")
    table = Table(
        names or [f"x{j}" for j in range(cells.shape[1])],
        cells,
        numbers,
        missing,
        names is not None,
        mark,
        notes,
    )
    table = _without_empty(table)
    return _without_index(_with_unique_names(table), flags)


def _with_unique_names(table: Table) -> Table:
    """Names without repetition, as pandas makes them."""
    seen: dict[str, int] = {}
    names = []
    for name in table.names:
        seen[name] = seen.get(name, -1) + 1
        names.append(f"{name}.{seen[name]}" if seen[name] else name)
    if names != table.names:
        twice = sorted({name for name, count in seen.items() if count})
        table.notes.append(f"columns of the same name are numbered: {', '.join(twice)}")
    return dataclasses.replace(table, names=names)


def _without_empty(table: Table) -> Table:
    """Without a last column that has neither a name nor cells: a trailing separator."""
    last = len(table.names) - 1
    if last < 1 or (table.headed and table.names[last]):
        return table
    if np.any(table.text[:, last] != ""):
        return table
    table.notes.append("the last column is empty, and left out")
    return table.take(list(range(last)))


def _without_index(table: Table, flags: ReadingFlags) -> Table:
    if flags.index_col == "none":
        return table
    at, named = None, flags.index_col
    if named is not None and not (flags.known and named not in table.names):
        at = table.find(named)
    counts = find_index(table.names[0], table.text[:, 0], table.headed)
    if at is None and counts and table.names[0] not in flags.known:
        at = 0
    if at is None or table.text.shape[1] < 2:
        return table
    first, last = table.text[0, at], table.text[-1, at]
    which = f" {table.names[at]!r}" if table.headed and table.names[at] else ""
    table.notes.append(f"index column{which} dropped: {first}..{last}")
    return table.take([j for j in range(len(table.names)) if j != at])
