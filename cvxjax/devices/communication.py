"""How many bytes devices send each other, read from a compiled program."""

from __future__ import annotations

import collections
import math
import re
from typing import Any

_NAMES = "all-reduce|all-gather|reduce-scatter|all-to-all|collective-permute"
_LINE = re.compile(
    rf"^\s*(?:ROOT )?%?[\w.-]+ = (.+?) ({_NAMES})(-start)?\(", re.MULTILINE
)
_ARRAY = re.compile(r"\b(pred|[a-z]+(\d+)\w*)\[([\d,]*)\]")


def communicated_bytes(compiled: Any) -> dict[str, int]:
    """Bytes of the outputs of collective operations on each device.

    Operations in the body of a loop count once, however often it runs.

    Args:
      compiled: what `jax.jit(f).lower(...).compile()` returns.

    Returns:
      Bytes by the name of the operation, for those of all-reduce, all-gather,
      reduce-scatter, all-to-all and collective-permute that occur.
    """
    total = collections.Counter[str]()
    for line in _LINE.finditer(compiled.as_text()):
        shape, name, start = line.groups()
        # When these are asynchronous, the first output of their start is the operands.
        if start and name in ("all-gather", "collective-permute"):
            shape = _elements(shape)[1]
        total[name] += sum(map(_bytes, _ARRAY.finditer(shape)))
    return dict(total)


def _elements(shape: str) -> list[str]:
    """The outermost elements of a tuple such as `(a, (b, c))`, as text."""
    depth, parts = 0, [""]
    for letter in shape[1:-1]:
        depth += (letter in "([{") - (letter in ")]}")
        if letter == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += letter
    return parts


def _bytes(array: re.Match[str]) -> int:
    """The bytes of an array such as `f32[8,2]`, as `_ARRAY` matches it."""
    kind, bits, sizes = array.groups()
    count = math.prod(int(size) for size in sizes.split(",") if size)
    return -(-count * (8 if kind == "pred" else int(bits)) // 8)
