"""From the columns of a table to the features of a network, and again for new data.

Numbers stay numbers. Text becomes a column of zeros and ones for each of its values, a
single one where there are two. What is missing, or was not seen by the fit, becomes the
mean of these columns, for text the share of each value. Which column is what is decided
once, on the data of the fit.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cvxjax.command_line.errors import InputError
from cvxjax.command_line.numbers import written_oddly
from cvxjax.command_line.tables import Table

_MOST_VALUES = 50  # of a column of text; more, and mostly distinct, is dropped
_NAMED = 6  # names in a note


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of the table: numbers, or categories."""

    name: str
    means: tuple[float, ...]  # of its features, in place of missing ones
    values: tuple[str, ...] | None = None  # categories; None for numbers

    @property
    def width(self) -> int:
        """How many features it makes."""
        if self.values is None:
            return 1
        return 1 if len(self.values) == 2 else len(self.values)

    @property
    def features(self) -> list[str]:
        """The names of its features."""
        if self.values is None:
            return [self.name]
        return [f"{self.name}={value}" for value in self.values[-self.width :]]


@dataclasses.dataclass(frozen=True)
class Features:
    """All columns that the network sees."""

    columns: tuple[Column, ...]
    headed: bool  # whether they have names of their own

    @property
    def names(self) -> list[str]:
        """The names of the features, [d]."""
        return [name for column in self.columns for name in column.features]

    def of(self, table: Table, notes: list[str] | None = None) -> np.ndarray:
        """The features [n, d] of a table with these columns.

        Args:
          table: columns are found by name; where there are no names, by position.
          notes: what is worth saying is appended.

        Raises:
          InputError: a column is missing, or holds no numbers where it did.
        """
        notes = [] if notes is None else notes
        places = self._places(table, notes)
        parts, filled = [], []
        for column, j in zip(self.columns, places, strict=True):
            missing = table.missing[:, j]
            if missing.any():
                filled.append(f"{column.name} {int(missing.sum()):,}")
            if column.values is None:
                numbers = np.where(missing, column.means[0], table.numbers[:, j])
                _check_numbers(table, j, numbers)
                parts.append(numbers[:, None])
                continue
            words = words_of(table, j)
            unknown = missing | ~np.isin(words, np.array(column.values, object))
            if new := sorted(set(words[unknown & ~missing])):
                notes.append(
                    f"column {column.name}: {_listed(new)} not seen by the fit; "
                    "taken as missing"
                )
            wanted = np.array(column.values[-column.width :], object)
            known = (words[:, None] == wanted).astype(float)
            parts.append(np.where(unknown[:, None], column.means, known))
        if filled:
            notes.append(f"missing values: means of the fit for {_listed(filled)}")
        return np.concatenate(parts, axis=1)

    def _places(self, table: Table, notes: list[str]) -> list[int]:
        names = [column.name for column in self.columns]
        if self.headed and table.headed:
            if lacking := [name for name in names if name not in table.names]:
                raise InputError(
                    f"want the columns of the fit; {_listed(lacking)} not among "
                    f"{_listed(table.names)}"
                )
            if other := [name for name in table.names if name not in names]:
                notes.append(f"columns without use: {_listed(other)}")
            return [table.names.index(name) for name in names]
        if len(table.names) != len(names):
            raise InputError(
                f"want {len(names)} columns, as in the fit; got {len(table.names)}"
            )
        return list(range(len(names)))

    def as_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Features:
        """The features that were saved."""
        columns = []
        for one in stored["columns"]:
            values = one["values"]
            values = None if values is None else tuple(map(str, values))
            means = tuple(map(float, one["means"]))
            columns.append(Column(str(one["name"]), means, values))
            if len(means) != columns[-1].width or (values is not None and not values):
                raise ValueError(f"column {one['name']}: {len(means)} means")
        return cls(tuple(columns), bool(stored["headed"]))


def decide_features(
    table: Table, *, categorical: tuple[str, ...] = (), missing: str = "mean"
) -> tuple[Features, np.ndarray, list[str]]:
    """Decides which columns are numbers and which categories.

    Args:
      table: without the label.
      categorical: columns that are categories whatever they hold.
      missing: "mean" replaces missing values; "drop" leaves rows with one out;
        "refuse".

    Returns:
      The features, which rows [n] are kept, and what was decided, a line each.

    Raises:
      InputError: a column mixes numbers with text, or nothing is left.
    """
    asked = {table.find(name) for name in categorical}
    counts = np.sum(table.missing, axis=0)
    notes: list[str] = []
    if counts.any():
        where = [f"{table.names[j]} {counts[j]:,}" for j in np.flatnonzero(counts)]
        found = (
            f"{counts.sum():,} missing values{written_as(table.text[table.missing])}"
        )
        found += f" ({_listed(where)})"
        if missing == "refuse":
            raise InputError(f"{found}; --missing mean or drop takes them")
        does = "their rows left out" if missing == "drop" else "the column's mean"
        texts = "" if missing == "drop" else ", for text the share of each value"
        notes.append(f"{found}: {does}{texts} (--missing)")
    kept = np.ones(len(table.text), bool)
    if missing == "drop":
        kept = np.asarray(~table.missing.any(axis=1))
        if not kept.any():
            raise InputError("every row has a missing value; want --missing mean")
    columns, left_out, whole = [], [], []
    for j, name in enumerate(table.names):
        known = ~table.missing[:, j]
        numbers = table.numbers[known, j]
        if j not in asked and len(numbers) and not np.any(np.isnan(numbers)):
            _check_numbers(table, j, np.where(known, table.numbers[:, j], 0))
            mean = float(np.mean(table.numbers[known & kept, j]))
            columns.append(Column(name, (mean,)))
            if np.all(numbers == np.round(numbers)) and len(set(numbers)) > 2:
                whole.append(name)
            continue
        words = words_of(table, j)[known & kept]
        values = sorted(set(words))
        if j not in asked and len(words):
            if 2 * np.sum(~np.isnan(numbers)) > len(numbers):
                _check_numbers(table, j, np.where(known, table.numbers[:, j], 0))
            odd, codes = written_oddly(words), all(map(str.isdigit, words))
            if 2 * np.sum(odd) > len(words) and not codes:
                raise InputError(
                    f"column {name} has numbers written as {words[np.argmax(odd)]!r}: "
                    f"want plain ones (--categorical {name} takes texts, --drop {name} "
                    "leaves it out)"
                )
            if len(values) > _MOST_VALUES and 2 * len(values) > len(numbers):
                left_out.append(f"{name} ({len(values):,}, such as {values[0]!r})")
                continue
        if not values:
            left_out.append(f"{name} (empty)")
        else:
            kinds = tuple(map(str, values))
            column = Column(name, (), kinds)
            shares = [float(np.mean(words == v)) for v in kinds[-column.width :]]
            columns.append(dataclasses.replace(column, means=tuple(shares)))
    notes += _said(columns, left_out, whole)
    if not columns:
        raise InputError("no column is left to predict from")
    return Features(tuple(columns), table.headed), kept, notes


def _said(columns: list[Column], left_out: list[str], whole: list[str]) -> list[str]:
    notes = []
    texts = [f"{c.name} {len(c.values)}" for c in columns if c.values is not None]
    if texts:
        some = "column" if len(texts) == 1 else "columns"
        notes.append(f"{len(texts)} categorical {some} one-hot: {_listed(texts)}")
    if whole:
        notes.append(
            f"whole numbers taken as numbers: {_listed(whole)} (--categorical for "
            "codes)"
        )
    if left_out:
        notes.append(
            f"columns of texts that are mostly distinct, dropped: {_listed(left_out)}"
        )
    return notes


def written_as(cells: np.ndarray) -> str:
    """Which words count as missing, for a note; nothing if all cells are empty."""
    words = sorted({str(cell) for cell in cells} - {""})
    return f" written {_listed([repr(word) for word in words])}" if words else ""


def words_of(table: Table, j: int) -> np.ndarray:
    """The cells of a column as text, [n]; 1, 1.0 and 1e0 are one word."""
    cells = zip(table.text[:, j], table.numbers[:, j], strict=True)
    words = [str(t) if np.isnan(v) else f"{v:.15g}" for t, v in cells]
    return np.array(words, object)


def _check_numbers(table: Table, j: int, numbers: np.ndarray) -> None:
    """InputError for the first of a column of numbers that is text or infinite."""
    wrong = ~np.isfinite(numbers)
    if not wrong.any():
        return
    row = int(np.argmax(wrong))
    if np.isinf(numbers[row]):
        raise InputError(
            f"column {table.names[j]}, row {row + 1}: want a finite number; got "
            f"{table.text[row, j]!r}"
        )
    raise InputError(
        f"column {table.names[j]}, row {row + 1}: want a number, as in most rows; got "
        f"{table.text[row, j]!r} (--categorical {table.names[j]} takes texts)"
    )


def _listed(words: list[str]) -> str:
    more = f", and {len(words) - _NAMED:,} more" if len(words) > _NAMED else ""
    return ", ".join(words[:_NAMED]) + more
