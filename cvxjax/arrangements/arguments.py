"""Checks of the arguments that all constructors of programs take, on the host."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import numpy as np

from cvxjax.algebra.arrays import as_array, is_number
from cvxjax.arrangements.patterns import Patterns
from cvxjax.interfaces import Loss
from cvxjax.terms import losses

# Losses that may be given by name: their arguments, if any, have defaults.
NAMED_LOSSES = tuple(x for x in losses.__all__ if x.islower() and x != "weighted")


def check_interiors(kept: np.ndarray) -> None:
    """Warns if some patterns are left out; ValueError if all are.

    Args:
      kept: [P], bool, which patterns have a cone with an interior.
    """
    if kept.all():
        return
    dropped = int(np.sum(~kept))
    if not kept.any():
        raise ValueError(
            f"want a pattern whose cone has an interior; got {dropped} without"
        )
    warnings.warn(
        f"left out {dropped} of {len(kept)} patterns: their gates lie on "
        "hyperplanes and their cones have no interior (a neighbouring cell holds the "
        "same networks)",
        stacklevel=3,
    )


def check_loss(loss: Any) -> Any:
    """The loss given by an instance, by its name, or by None for the squared one.

    Raises:
      ValueError: for anything else.
    """
    if loss is None:
        return losses.squared()
    if isinstance(loss, str) and loss in NAMED_LOSSES:
        return getattr(losses, loss)()
    if isinstance(loss, Loss) and not isinstance(loss, type):
        return loss
    arrived = repr(loss) if isinstance(loss, str) else type(loss).__name__
    if inspect.isclass(loss) or inspect.isfunction(loss):
        kind = "class" if inspect.isclass(loss) else "function"
        arrived = f"the {kind} {loss.__name__}, not called"
    raise ValueError(
        f"want a loss of cvxjax.losses; got {arrived} (want one such as "
        f"losses.huber(), or a name of {', '.join(NAMED_LOSSES)})"
    )


def check_labels(y: Any, X: np.ndarray, loss: Loss) -> np.ndarray:
    """y, [n] or one column [n, 1], as [n] floats of X's dtype.

    Raises:
      ValueError: if y does not fit X [n, d], or the loss is not for such labels.
    """
    labels = as_array(y, "y")
    if labels.shape == (len(X), 1):
        labels = labels[:, 0]
    if labels.dtype.kind not in "biuf":
        raise ValueError(f"want real numbers for y; got dtype {labels.dtype}")
    if labels.shape != X.shape[:1]:
        raise ValueError(f"want X [n, d], y [n]; got {X.shape}, {labels.shape}")
    if not loss.separable and not loss.coupled:
        raise ValueError(
            f"want a loss of one output; got {loss.name}, which is of several "
            "(make_vector_output takes it)"
        )
    labels = labels.astype(X.dtype)
    if not np.all(np.isfinite(labels)):
        raise ValueError("want finite y; got NaN or infinity")
    loss.check_labels(labels)
    return labels


def check_beta(beta: Any) -> float:
    """beta as a float; ValueError unless it is a positive, finite number."""
    if not is_number(beta):
        raise ValueError(f"want a number for beta; got {beta!r}")
    if not (np.isfinite(beta) and beta > 0):
        raise ValueError(f"want a finite beta > 0; got {beta}")
    return float(beta)


def check_patterns(
    patterns: Any, X: np.ndarray, *, gated: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Masks [P, n] and gates [P, d] of patterns, checked to be those of this X [n, d].

    Args:
      patterns: an `arrangements.Patterns`.
      X: checked data.
      gated: whether the gates stay in the network. Masks are then X gates >= 0 for the
        gates rounded to X's dtype, which may differ from the patterns' at ties and in
        cells too thin for the dtype.

    Raises:
      ValueError: if they are not patterns of this X.
    """
    if not isinstance(patterns, Patterns):
        raise ValueError(
            f"want patterns of cvxjax.arrangements; got {type(patterns).__name__}"
        )
    masks, gates = np.asarray(patterns.masks), np.asarray(patterns.gates)
    n, d = X.shape
    if masks.ndim != 2 or masks.shape[0] == 0:
        raise ValueError(
            f"want at least one pattern, masks [P, {n}]; got {masks.shape}"
        )
    if masks.shape[1] != n or gates.shape != (masks.shape[0], d):
        raise ValueError(
            f"want patterns of this X [{n}, {d}]; got masks {list(masks.shape)}, gates "
            f"{list(gates.shape)}"
        )
    check_sizes(X)
    gates = gates.astype(X.dtype)
    unclear = _check_cells(X, masks, gates)
    if gated:
        rows = np.flatnonzero(np.any(unclear, axis=0))
        exact = gates.astype(np.float64) @ X[rows].T.astype(np.float64) >= 0
        masks = masks.copy()
        masks[:, rows] = np.where(unclear[:, rows], exact, masks[:, rows])
    return masks, gates


def check_sizes(X: np.ndarray, *, squared: bool = False) -> None:
    """ValueError if the size of a row leaves no room in X's dtype; zero rows may stay.

    Args:
      X: [n, d].
      squared: whether squares of the sizes must have room as well.
    """
    about = np.finfo(X.dtype)
    low, high = float(about.tiny / about.eps), float(about.max * about.eps)
    if squared:
        low, high = float(np.sqrt(about.tiny)), float(np.sqrt(about.max))
    sizes = np.max(np.abs(X), axis=1)
    wrong = (sizes > 0) & ((sizes < low) | (sizes > high))
    if wrong.any():
        i = int(np.flatnonzero(wrong)[0])
        raise ValueError(
            f"want rows of X that are zero or of sizes from {low:.1g} to {high:.1g}, "
            f"which {X.dtype} resolves; got row {i} of size {sizes[i]:.3g}: "
            "choose other units"
        )


def _check_cells(X: np.ndarray, masks: np.ndarray, gates: np.ndarray) -> np.ndarray:
    """Raises ValueError for gates of other data; returns which signs rounding decides.

    Returns:
      [P, n], bool, where |X gate| is no more than its rounding.
    """
    if not np.all(np.isfinite(gates)):
        raise ValueError("want finite gates; got NaN or infinity")
    values = gates @ X.T
    sizes = np.abs(gates) @ np.abs(X).T  # entry by entry: cells may be thin
    clear = np.abs(values) > 64 * np.finfo(X.dtype).eps * sizes
    wrong = np.any(clear & ((values >= 0) != masks), axis=1)
    if wrong.any():
        raise ValueError(
            f"want gates with masks = (X gates >= 0); got {int(wrong.sum())} of "
            f"{len(wrong)} that disagree with this X"
        )
    return ~clear
