"""Enumerations of a process, remembered by the content of their data."""

from __future__ import annotations

import collections
import hashlib

import numpy as np

_MOST = 8
_MOST_BYTES = 1 << 26  # of one enumeration

_known: collections.OrderedDict[bytes, np.ndarray] = collections.OrderedDict()


def remember(X: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Every pattern of X [n, d], masks [P, n]; packed, [P, n / 8], as it is kept."""
    packed = np.packbits(masks, axis=1)
    if packed.nbytes <= _MOST_BYTES:
        _known[_name(X)] = packed
        while len(_known) > _MOST:
            _known.popitem(last=False)
    return packed


def recalled(X: np.ndarray) -> np.ndarray | None:
    """The packed masks of X's patterns, or None."""
    name = _name(X)
    if name in _known:
        _known.move_to_end(name)
    return _known.get(name)


def _name(X: np.ndarray) -> bytes:
    """Of the entries, whatever their dtype, and up to a power of two."""
    power = np.frexp(np.max(np.abs(X), initial=0.0))[1]
    content = np.ascontiguousarray(np.ldexp(np.asarray(X, np.float64), -power))
    return hashlib.sha256(repr(content.shape).encode() + content.tobytes()).digest()
