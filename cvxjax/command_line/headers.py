"""Whether a table's first line is a header, and its first column an index."""

from __future__ import annotations

import numpy as np

_INDEX_NAMES = {"", "unnamed: 0", "index", "id", "row", "rownames", "nr", "no", "#"}
_SHORT = 60  # characters of a header in a note


def find_header(
    cells: np.ndarray, numbers: np.ndarray, missing: np.ndarray, wanted: str | None
) -> tuple[list[str] | None, str]:
    """The names in the first line, None if it is a row like the others, and why.

    It is a header where it has text above a column of numbers; where all columns are
    text, and none of its cells occurs again below; and where it counts, 0, 1, 2, ...
    or 2001, 2002, ..., above columns that hold other numbers.

    Args:
      cells: [lines, w].
      numbers: [lines, w], NaN for what is none.
      missing: [lines, w], bool.
      wanted: "yes" or "no", if the user says.
    """
    names = [str(cell) for cell in cells[0]]
    shown = ", ".join(names)
    shown = shown if len(shown) <= _SHORT else f"{shown[:_SHORT]}..."
    if wanted == "yes":
        return names, f"{shown} (as asked)"
    if wanted == "no":
        return None, "as asked"
    first, below = numbers[0], numbers[1:]
    word = np.isnan(first) & ~missing[0]
    if not len(below):
        return (names, shown) if word.all() else (None, "there is one line")
    known = ~missing[1:]
    numeric = known.any(axis=0) & (~np.isnan(below) | ~known).all(axis=0)
    if np.any(word & numeric):
        return names, shown
    if not numeric.any():
        again = [cells[0, j] in set(cells[1:, j]) for j in range(cells.shape[1])]
        if word.any() and not any(again):
            return names, shown
        return None, "the words of the first line occur again below it"
    places = np.flatnonzero(numeric & ~missing[0])
    counted = first[places]
    own = any(np.array_equal(counted, places - k) for k in {0, *places[:1]})
    if np.all(np.diff(counted) == 1) and (own or len(counted) > 2) and len(counted) > 1:
        values = below[:, places]
        inside = (values >= counted[0]) & (values <= counted[-1])
        if not np.all((inside & (values == np.round(values))) | np.isnan(values)):
            return names, f"{shown} (it counts)"
        return None, f"the first line, {shown}, may be one (--header yes)"
    return None, "the first line is like the others"


def find_index(name: str, column: np.ndarray, headed: bool) -> bool:
    """Whether a first column numbers the rows from 0 or 1, or has no name.

    A column with a name of its own, such as a time, is data even if it counts.

    Args:
      name: in the header.
      column: its cells, [n].
      headed: whether there is a header.
    """
    n = len(column)
    if headed and name.lower() not in _INDEX_NAMES:
        return False
    if headed and name.lower() in ("", "unnamed: 0"):
        return len(set(column)) == n
    counts = [[str(i) for i in range(k, k + n)] for k in (0, 1)]
    return n > 3 and list(column) in counts
