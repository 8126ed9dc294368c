"""A cache of enumerated patterns in this process, by the content of the data."""

from __future__ import annotations

import collections
import hashlib

import numpy as np

_MOST = 8  # enumerations
_MOST_BYTES = 1 << 26  # of each

_known: collections.OrderedDict[bytes, np.ndarray] = collections.OrderedDict()


def remember(X: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Caches the masks [P, n] of all patterns of X; returns them as packed bits."""
    packed = np.packbits(masks, axis=1)
    if packed.nbytes <= _MOST_BYTES:
        _known[_name(X)] = packed
        while len(_known) > _MOST:
            _known.popitem(last=False)
    return packed


def recalled(X: np.ndarray) -> np.ndarray | None:
    """The cached masks of X's patterns as packed bits [P, n / 8], or None."""
    name = _name(X)
    if name in _known:
        _known.move_to_end(name)
    return _known.get(name)


def _name(X: np.ndarray) -> bytes:
    """A hash of the entries, which their dtype and a factor 2^k do not change."""
    power = np.frexp(np.max(np.abs(X), initial=0.0))[1]
    content = np.ascontiguousarray(np.ldexp(np.asarray(X, np.float64), -power))
    return hashlib.sha256(repr(content.shape).encode() + content.tobytes()).digest()
