"""Whether a list of patterns holds every pattern of the data, by enumeration.

The field `scope` of a record may be wrong: patterns may have been cut, or data
replaced. So whoever relies on EXHAUSTIVE asks here. Answers are cached by the arrays
they are for, which in JAX are immutable.
"""

from __future__ import annotations

import collections
import warnings
import weakref
from typing import Any

import jax
import numpy as np

from cvxjax.arrangements.exact import enumerate_patterns
from cvxjax.arrangements.known import recalled, remember

_ANSWERS = 64

_answers: collections.OrderedDict[tuple, tuple] = collections.OrderedDict()


def missing_patterns(X: Any, masks: Any) -> np.ndarray | None:
    """The patterns of X [n, d] that are not among `masks` [P, n].

    Returns:
      [k, n], bool; None if X has too many patterns to enumerate.
    """
    key = (id(X), id(masks))
    known = _answers.get(key)
    if known is not None and known[0]() is X and known[1]() is masks:
        return known[2]
    answer = _compare(np.asarray(X), np.asarray(masks, bool))
    if isinstance(X, jax.Array) and isinstance(masks, jax.Array):
        _answers[key] = (weakref.ref(X), weakref.ref(masks), answer)
        while len(_answers) > _ANSWERS:
            _answers.popitem(last=False)
    return answer


def lists_every_pattern(X: Any, masks: Any) -> bool:
    """Whether `masks` [P, n] hold every pattern of X [n, d]."""
    missing = missing_patterns(X, masks)
    return missing is not None and len(missing) == 0


def _compare(X: np.ndarray, masks: np.ndarray) -> np.ndarray | None:
    """`missing_patterns`, without the cache of answers."""
    every = recalled(X)
    if every is None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # only the masks count
                every = remember(X, np.asarray(enumerate_patterns(X).masks))
        except ValueError:
            return None
    like = masks.ndim == 2 and masks.shape[1] == len(X)
    listed = {row.tobytes() for row in np.packbits(masks, axis=1)} if like else set()
    absent = np.asarray([row.tobytes() not in listed for row in every], bool)
    return np.unpackbits(every[absent], axis=1, count=len(X)).view(bool)
