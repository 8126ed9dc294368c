"""Which cells of a table are numbers, and which say that a value is missing."""

from __future__ import annotations

import numpy as np
import pandas as pd

_MISSING = {
    *("", "na", "n/a", "#n/a", "<na>", "nan", "-nan", "null", "none", "nil"),
    *("?", "-", "--", ".", "missing"),
}
_INTEGER = r"[+-]?[0-9]+"
_EXPONENT = r"(?:[eE][+-]?[0-9]+)?"
_FRACTION = r"[+-]?(?:[0-9]+{mark}[0-9]*|{mark}[0-9]+)"
_ODD = (
    r"[-+\u2212\s$\u20ac\u00a3\u00a5]*[0-9][0-9.,'\s\u00a0\u202f]*[%\s$\u20ac\u00a3]*"
)
_LONGEST = 20  # digits of an integer; longer ones are identifiers


def is_missing(cells: np.ndarray) -> np.ndarray:
    """Which cells [n, w] are empty or a common word for a missing value."""
    flat = pd.Series(cells.ravel(), dtype=object).str.lower()
    return flat.isin(_MISSING).to_numpy().reshape(cells.shape)


def decimal_mark(cells: np.ndarray) -> str:
    """A point or a comma, by the numbers with a fraction; "both" if they disagree."""
    flat = pd.Series(cells.ravel(), dtype=object)
    commas = flat.str.fullmatch(_FRACTION.format(mark=",") + _EXPONENT).any()
    points = flat.str.fullmatch(_FRACTION.format(mark=r"\.") + _EXPONENT).any()
    if commas:
        return "both" if points else ","
    return "."


def written_oddly(cells: np.ndarray) -> np.ndarray:
    """Which cells [n] are numbers with a unit or groups, such as $1.20 or 1,234.5."""
    flat = pd.Series(cells, dtype=object)
    return flat.str.fullmatch(_ODD).to_numpy(bool)


def to_numbers(cells: np.ndarray, mark: str = ".") -> np.ndarray:
    """Cells [n, w] as numbers; NaN where they are not plainly one.

    Plainly: digits, one decimal mark, an exponent. Neither "1_2", "0x1" nor text is a
    number; nor are codes with a zero in front, such as "007". "inf" is infinite, and so
    is what float64 cannot hold.
    """
    flat = pd.Series(cells.ravel(), dtype=object)
    fraction = _FRACTION.format(mark=r"\." if mark == "." else ",")
    plain = flat.str.fullmatch(f"(?:{_INTEGER}|{fraction}){_EXPONENT}")
    code = flat.str.fullmatch(r"[+-]?0[0-9]+") | (
        flat.str.fullmatch(_INTEGER) & (flat.str.len() > _LONGEST)
    )
    wanted = (plain & ~code).to_numpy(bool)
    numbers = np.full(len(flat), np.nan)
    found = [str(cell).replace(",", ".") for cell in flat[wanted]]
    numbers[wanted] = np.array(found, float)
    infinite = flat.str.fullmatch("[+-]?inf(inity)?", case=False).to_numpy(bool)
    numbers[infinite] = np.inf
    return numbers.reshape(cells.shape)
