"""The text of a file, its separator, and its cells."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from cvxjax.command_line.errors import InputError

SEPARATORS = {
    **{"\t": "tab", ";": "semicolon", "|": "bar", ",": "comma"},
    " ": "white space",
}
_QUOTED = re.compile(r'"[^"]*"')
_OPENERS: dict[str, Callable[[bytes], bytes]] = {
    ".gz": gzip.decompress,
    ".bz2": bz2.decompress,
    ".xz": lzma.decompress,
}


def text_of(path: Path) -> tuple[str, list[str]]:
    """The text of a file, and a note if its encoding was guessed."""
    raw = path.read_bytes()
    raw = _OPENERS.get(path.suffix.lower(), bytes)(raw)
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return raw.decode("utf-16"), []
    if raw[:4] == b"PK\x03\x04":
        raise InputError(
            f"{path}: want a table of text, .npz or .parquet; got an archive"
        )
    notes: list[str] = []
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
        notes = ["the text is not UTF-8, and read as Windows-1252"]
    if "\0" in text:
        raise InputError(f"{path}: want a table of text, .npz or .parquet; got binary")
    return text, notes


def separator_of(lines: list[str]) -> str:
    """The character that parts every line into the same number of cells, two or more.

    Where none does, that which does for most lines, so that the others are named.
    """
    plain = [_QUOTED.sub("", line) for line in lines]
    best, share = ",", 0.0
    for sep in SEPARATORS:
        widths = np.array([len(row) for row in _reader("\n".join(plain), sep)])
        if 2 <= widths[0] == widths[-1] - 1:  # a header without the name of the index
            widths[0] += 1
        counts = np.bincount(widths)
        if len(counts) > 2 and (most := counts[2:].max() / len(widths)) > share:
            best, share = sep, most
    return best


def _reader(text: str, sep: str) -> Any:
    """Python's reader of separated text; of white space any amount separates."""
    lines: Any = io.StringIO(text, newline="")
    if sep == " ":
        lines = [line.replace("\t", " ").strip() for line in text.split("\n")]
    return csv.reader(lines, delimiter=sep, skipinitialspace=True)


def cells_of(path: Path, text: str, sep: str) -> np.ndarray:
    """All cells as text, [lines, w]."""
    if len(sep) != 1:
        raise InputError(f"want --sep, one character, tab or space; got {sep!r}")
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    reader = _reader(text, sep)
    rows = [(reader.line_num, [cell.strip() for cell in row]) for row in reader]
    rows = [(at, row) for at, row in rows if row not in ([], [""])]
    ends = [len(rows[k][1]) for k in (0, min(1, len(rows) - 1), -1)] if rows else []
    if ends and 2 <= ends[0] == ends[1] - 1 == ends[2] - 1:
        rows[0][1].insert(0, "")  # a header without the name of the index column
    width = len(rows[0][1])
    for at, row in rows:
        if len(row) != width:
            raise InputError(
                f"{path}: want {width} cells in every line, as in line {rows[0][0]}; "
                f"got {len(row)} in line {at}"
            )
    return np.array([row for _, row in rows], object)
