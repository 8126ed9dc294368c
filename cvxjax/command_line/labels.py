"""Whether the label is a number or a class, and back from the network's answer."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from cvxjax.command_line.errors import InputError
from cvxjax.command_line.features import words_of
from cvxjax.command_line.tables import Table

_MOST_CODES = 20  # whole numbers from 0 or 1 on: up to as many are classes
_MOST_CLASSES = 100
_NAMED = 8  # classes in a note


@dataclasses.dataclass(frozen=True)
class Labels:
    """The label's name, and its classes, None for numbers."""

    name: str
    classes: tuple[str, ...] | None
    positive: str | None = None  # against all others, which are the first class

    def of(self, table: Table, at: int) -> np.ndarray:
        """Labels [n] of the rows of a table, all known: numbers, or class numbers.

        Raises:
          InputError: a label that is no number, or no class of these.
        """
        if self.classes is None:
            numbers = table.numbers[:, at]
            if not np.all(np.isfinite(numbers)):
                row = int(np.argmax(~np.isfinite(numbers)))
                raise InputError(
                    f"label {self.name}, row {row + 1}: want a finite number; got "
                    f"{table.text[row, at]!r} (--classify takes classes)"
                )
            return numbers
        words = words_of(table, at)
        if self.positive is not None:
            return (words == self.positive).astype(int)
        codes = {name: k for k, name in enumerate(self.classes)}
        if new := sorted(set(words) - set(codes)):
            raise InputError(
                f"label {self.name}: want a class among {', '.join(self.classes)}; got "
                f"{new[0]!r}"
            )
        return np.array([codes[word] for word in words])

    def as_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Labels:
        """The labels that were saved."""
        classes, positive = stored["classes"], stored["positive"]
        return cls(
            str(stored["name"]),
            None if classes is None else tuple(map(str, classes)),
            None if positive is None else str(positive),
        )


def decide_labels(
    table: Table,
    at: int,
    *,
    classify: bool | None = None,
    positive: str | None = None,
) -> tuple[Labels, list[str]]:
    """Decides whether a column of labels, none missing, holds classes.

    Texts are classes, and so are two numbers, and whole numbers that count from 0 or 1
    to at most 20, each of them at least twice.

    Args:
      table: with the labels.
      at: their column.
      classify: if the user says.
      positive: the class that is told from all others.

    Raises:
      InputError: one class, or too many, or texts to be taken as numbers.
    """
    name = table.names[at]
    numbers, words = table.numbers[:, at], words_of(table, at)
    found, counts = np.unique(words.astype(str), return_counts=True)
    text = bool(np.any(np.isnan(numbers)))
    if classify is None:
        classify = positive is not None or text or _codes(numbers)
    if not classify:
        labels = Labels(name, None)
        labels.of(table, at)
        low, high = np.min(numbers), np.max(numbers)
        note = f"label {name}: a number, {low:g} to {high:g}"
        few = f" (--classify makes classes of its {len(found):,} values)"
        return labels, [note + (few if len(found) <= _MOST_CLASSES else "")]
    order = np.arange(len(found))
    if not text:
        order = np.argsort([float(word) for word in found])
    found, counts = found[order], counts[order]
    if positive is not None:
        chosen = [word for word in found if word in (positive, _plain(positive))]
        if not chosen or len(found) < 2:
            raise InputError(
                "want --positive, one of two or more classes; got "
                f"{positive!r}, and the classes {', '.join(found[:5])}"
                f"{', ...' if len(found) > 5 else ''}"
            )
        count = int(counts[found == chosen[0]][0])
        others = len(words) - count
        labels = Labels(name, (f"not {chosen[0]}", chosen[0]), chosen[0])
        return labels, [
            f"label {name}: {chosen[0]} {count:,}, all other classes {others:,}"
        ]
    if len(found) < 2 or len(found) > _MOST_CLASSES:
        raise InputError(
            f"label {name}: want 2 to {_MOST_CLASSES} classes; got {len(found):,}, "
            f"such as {str(found[0])!r} (--label names another column, --regress takes "
            "numbers)"
        )
    sizes = [f"{a} {b:,}" for a, b in zip(found[:_NAMED], counts[:_NAMED], strict=True)]
    more = f", and {len(found) - _NAMED} more" if len(found) > _NAMED else ""
    notes = [f"label {name}: {len(found)} classes: {', '.join(sizes)}{more}"]
    if not text:
        notes[0] += " (--regress takes numbers)"
    if single := [str(a) for a, b in zip(found, counts, strict=True) if b == 1]:
        notes.append(f"classes of one row, perhaps misspelt: {', '.join(single[:5])}")
    return Labels(name, tuple(map(str, found))), notes


def _codes(numbers: np.ndarray) -> bool:
    """Whether numbers look like the codes of classes."""
    values, counts = np.unique(numbers, return_counts=True)
    if len(values) == 2:
        return True
    counting = np.array_equal(values, np.arange(len(values)) + values[0])
    few = 1 < len(values) <= _MOST_CODES and values[0] in (0, 1)
    return counting and few and bool(np.min(counts) > 1)


def _plain(text: str) -> str:
    try:
        return f"{float(text):.15g}"
    except ValueError:
        return text
