"""How much devices send each other, read from a compiled program."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

_NAMES = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
_LINE = re.compile(
    rf"^\s*(?:ROOT )?%?[\w.-]+ = (.+?) ({_NAMES})(-start)?\(", re.MULTILINE
)
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")


def communicated_bytes(compiled: Any) -> dict[str, int]:
    """Bytes that collective operations put out on each device, by their names.

    Operations in the body of a loop count once, however often it runs.

    Args:
      compiled: what `jax.jit(f).lower(...).compile()` returns.

    Returns:
      Of all-reduce, all-gather, reduce-scatter, all-to-all and collective-permute those
      that occur.
    """
    total: dict[str, int] = {}
    for name, size in _collectives(compiled.as_text()):
        total[name] = total.get(name, 0) + size
    return total


def _collectives(text: str) -> Iterator[tuple[str, int]]:
    """The name and the bytes of each operation in optimised HLO."""
    for line in _LINE.finditer(text):
        shape, name, start = line.groups()
        # The start of these puts out its operands too, first.
        if start and name in ("all-gather", "collective-permute"):
            shape = _elements(shape)[1]
        yield name, sum(map(_bytes, _ARRAY.finditer(shape)))


def _elements(shape: str) -> list[str]:
    """The outermost elements of a tuple's shape, `(a, (b, c))`."""
    depth, parts = 0, [""]
    for letter in shape[1:-1]:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _bytes(array: re.Match[str]) -> int:
    kind, bits, sizes = array.groups()
    count = 1
    for size in filter(None, sizes.split(",")):
        count *= int(size)
    return -(-count * (8 if kind == "pred" else int(bits)) // 8)
