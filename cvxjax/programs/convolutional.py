"""Convolutional networks with a scalar output: six kinds, one constructor.

For patches X_k [n, h], k = 1..K, and half squares of all weights as the penalty of the
networks (`networks.Convolutional`), 1/2 ||f - y||^2 + beta times that equals what
follows; another convex loss stands in place of 1/2 ||. - y||^2.

    sum_pool       minimise 1/2 ||sum_i F_i (v_i - w_i) - y||^2
    average_pool            + beta sum_i (||v_i|| + ||w_i||),  F_i = sum_k D_ik X_k,
                   (2 D_ik - I) X_k v_i >= 0 for every k, and so for w_i;
                   F_i over K for average_pool
    max_pool       the same, where F_i has the patch of each sample that is largest in
                   cell i, or zero; the inequalities say that it is, and its sign
    linear         minimise 1/2 ||sum_k X_k z_k - y||^2 + beta ||[z_1 ... z_K]||_*
    circular       minimise 1/2 ||X c(theta) - y||^2 + beta sum_g ||theta_g||
    circular_relu  minimise 1/2 ||sum_i D_i X (c(v_i) - c(w_i)) - y||^2
                   + beta sum_i sum_g (||v_ig|| + ||w_ig||), (2 D_i - I) X c(v_i) >= 0

with c(theta) = sum_g theta_g1 cos(2 pi g t / d) + theta_g2 sin(2 pi g t / d), a real
signal by its frequencies g = 0..d/2; sum_g ||theta_g|| is the l1 norm of its discrete
Fourier transform over d.

Source: Ergen & Pilanci, Implicit Convex Regularizers of CNN Architectures (ICLR 2021).
The deck's l1 norm of a unitary transform has the factor 1 / sqrt(d), as here.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax import recovery
from cvxjax.arrangements.arguments import (
    check_beta,
    check_interiors,
    check_labels,
    check_loss,
    check_patterns,
)
from cvxjax.arrangements.convolutional import max_pool_rows, stack_patches
from cvxjax.arrangements.exact import enumerate_patterns, few_patterns
from cvxjax.arrangements.patterns import Patterns, check_data
from cvxjax.forms.blocks import BlockProgram
from cvxjax.forms.sums import SumProgram, parts_of
from cvxjax.interfaces import Loss
from cvxjax.networks.convolutional import Convolutional, check_kind
from cvxjax.record import static
from cvxjax.solution import Scope
from cvxjax.terms.cones import make_row_cones, make_sign_cones
from cvxjax.terms.regularisers import GroupNorm, NuclearNorm, PairNorms

Array = jax.Array

_SUMS = ("sum_pool", "average_pool")
_MADE_OF_PATTERNS = ("max_pool", "circular_relu")
_SIGNS = {
    "max_pool": [[1.0], [-1.0]],
    "linear": [[1.0]],
    "circular": [[1.0]],
    "circular_relu": [[1.0], [-1.0]],
}


class PooledProgram(SumProgram):
    """The programs of sums and averages; parameters are filters, [2, P, h], v first."""

    kind: str = static()

    @property
    def share(self) -> float:
        return 1 / self.X.shape[1] if self.kind == "average_pool" else 1.0

    def network(self) -> Convolutional:
        """The Flax network of `recover`'s variables, whatever their width."""
        return Convolutional(self.kind)

    def recover(self, w: Array) -> dict[str, Any]:
        """Variables of a network with the same predictions and the same objective.

        Every non-zero block is a filter.

        Args:
          w: [2, P, h], feasible; of any patterns.
        """
        blocks = self.checked(w, any_patterns=True)
        return recovery.two_layer_variables(*recovery.neurons(blocks))


class ConvolutionalProgram(BlockProgram):
    """One of the programs above; `PooledProgram` for sums and averages.

    Parameters are [2, P, h] for max_pool, v first; [1, 1, K h] for linear, z_1 to z_K;
    [1, G, 2] for circular; [2, P, 2 G] for circular_relu. G = d // 2 + 1.
    """

    kind: str = static()

    def lists_every_pattern(self) -> bool:
        """Whether features and signs are those of the data's own patterns."""
        X, every = np.asarray(self.X), None
        if self.kind in _MADE_OF_PATTERNS:
            every = enumerate_patterns(X if X.ndim == 2 else max_pool_rows(X))
        made = _parts_of(X, self.kind, every)
        listed = {np.asarray(block).tobytes() for block in np.asarray(self.features)}
        needed = {block.astype(X.dtype).tobytes() for block in made["features"]}
        return len(self.signs) == len(_SIGNS[self.kind]) and needed <= listed

    def network(self) -> Convolutional:
        """The Flax network of `recover`'s variables, whatever their width."""
        return Convolutional(self.kind)

    def recover(self, w: Array) -> dict[str, Any]:
        """Variables of a network with the same predictions and the same objective.

        max_pool: every non-zero block is a filter. linear: one filter for each singular
        value. circular: one filter. circular_relu: every non-zero block, its filter of
        unit length.

        Args:
          w: of the program's shape, feasible.
        """
        blocks = self.checked(w)
        if self.kind == "max_pool":
            return recovery.two_layer_variables(*recovery.neurons(blocks))
        if self.kind == "linear":
            return _linear(blocks[0, 0].reshape(self.regulariser.shape))
        d = self.X.shape[1]
        if self.kind == "circular":
            return _circular(_signals(blocks.reshape(1, -1), d)[0])
        return _circular_relu(blocks, d)


def make_convolutional(
    inputs: Any,
    y: Any,
    *,
    beta: float,
    kind: str,
    patterns: Patterns | None = None,
    loss: Loss | str | None = None,
) -> ConvolutionalProgram | PooledProgram:
    """Validates the data and builds the program.

    Args:
      inputs: patches [n, K, h], as from `arrangements.extract_patches`; for kinds
        "circular" and "circular_relu", signals X [n, d].
      y: [n], labels of the loss's set.
      beta: weight decay, > 0; the network's objective has beta/2.
      kind: "sum_pool", "average_pool", "max_pool", "linear", "circular" or
        "circular_relu".
      patterns: of the rows `arrangements.stack_patches(patches)`; of
        `arrangements.max_pool_rows(patches)` for max_pool, where only the gates of
        others count; of X for circular_relu. None: all, if there are few. "linear" and
        "circular" have none.
      loss: of `cvxjax.losses`, default squared, 1/2 ||z - y||^2; none that is a
        constraint.

    Raises:
      ValueError: saying what arrived and what is wanted.
    """
    check_kind(kind)
    circular = kind in ("circular", "circular_relu")
    rows = check_data(inputs) if circular else stack_patches(inputs)
    shape = np.shape(inputs)
    made = check_loss(loss)
    if made.constraint is not None:
        raise ValueError(f"want a loss that is no constraint; got {made.name}")
    labels = check_labels(y, rows.reshape(shape), made)
    beta = check_beta(beta)
    if kind in ("linear", "circular") and patterns is not None:
        raise ValueError(f"want no patterns for kind {kind!r}, which has no ReLU")
    if kind in _SUMS:
        return _make_pooled(rows.reshape(shape), labels, beta, kind, patterns, made)
    parts = _parts_of(rows.reshape(shape), kind, patterns)
    features = jnp.asarray(parts.pop("features"))
    program = ConvolutionalProgram(
        X=jnp.asarray(rows.reshape(shape)),
        y=jnp.asarray(labels),
        beta=jnp.asarray(beta, rows.dtype),
        loss=made,
        features=features,
        signs=jnp.asarray(_SIGNS[kind], rows.dtype),
        kind=kind,
        **parts,
    )
    return program.verified()


def _make_pooled(
    patches: np.ndarray,
    y: np.ndarray,
    beta: float,
    kind: str,
    patterns: Patterns | None,
    loss: Loss,
) -> PooledProgram:
    """The program of checked data.

    Args:
      patches: [n, K, h].
      y: [n].
      beta: > 0.
      kind: of `_SUMS`.
      patterns: of the stacked patches; None: all, if there are few.
      loss: L, no constraint.
    """
    n, K, h = patches.shape
    stacked = patches.reshape(n * K, h)
    patterns = few_patterns(stacked, patterns)
    rows = stacked / K if kind == "average_pool" else stacked
    parts, kept = parts_of(rows, n, *check_patterns(patterns, stacked))
    check_interiors(kept)
    program = PooledProgram(
        X=jnp.asarray(patches),
        y=jnp.asarray(y),
        beta=jnp.asarray(beta, patches.dtype),
        loss=loss,
        regulariser=GroupNorm(),
        signs=jnp.asarray([[1], [-1]], patches.dtype),
        scope=patterns.scope,
        kind=kind,
        **parts,
    )
    return program.verified()


def _parts_of(X: np.ndarray, kind: str, patterns: Patterns | None) -> dict[str, Any]:
    """What the kinds give a program: features, regulariser, cones and scope."""
    make = {
        "max_pool": _max_pool,
        "linear": _linear_parts,
        "circular": _circular_parts,
        "circular_relu": _circular_relu_parts,
    }[kind]
    return make(X.reshape(-1, X.shape[-1]), X.shape, patterns)


def _max_pool(
    rows: np.ndarray, shape: tuple[int, ...], patterns: Patterns | None
) -> dict[str, Any]:
    n, K, h = shape
    patches, decisive = rows.reshape(shape), max_pool_rows(rows.reshape(shape))
    patterns = few_patterns(decisive, patterns)
    of_all = np.shape(patterns.masks)[-1] == len(decisive)
    gates = check_patterns(patterns, decisive if of_all else rows)[1]
    # Cells with the same largest patches are one.
    values = np.einsum("nkh,ph->pnk", patches, gates)
    largest = np.argmax(values, axis=2)
    active = np.max(values, axis=2) > 0
    names = np.where(active, largest, K)
    first = np.sort(np.unique(names, axis=0, return_index=True)[1])
    largest, active, gates = largest[first], active[first], gates[first]
    chosen = patches[np.arange(n)[None], largest]  # [P, n, h]
    others = chosen[:, :, None] - patches[None]  # zero at the largest patch itself
    itself = np.arange(K) == largest[..., None]
    others = np.where(itself[..., None], chosen[:, :, None], others)
    cone_rows = np.where(active[..., None, None], others, -patches[None])
    cones, kept = make_row_cones(cone_rows.reshape(len(first), n * K, h), gates)
    check_interiors(kept)
    return {
        "features": np.where(active[..., None], chosen, 0)[kept],
        "regulariser": GroupNorm(),
        "cones": cones,
        "scope": patterns.scope if of_all else Scope.SAMPLED,
    }


def _linear_parts(
    rows: np.ndarray, shape: tuple[int, ...], patterns: None
) -> dict[str, Any]:
    return {
        "features": rows.reshape(1, shape[0], -1),
        "regulariser": NuclearNorm(shape=(shape[1], shape[2])),
        "cones": None,
        "scope": Scope.EXHAUSTIVE,
    }


def _circular_parts(
    rows: np.ndarray, shape: tuple[int, ...], patterns: None
) -> dict[str, Any]:
    n, d = shape
    features = (rows @ _waves(d).T).reshape(n, -1, 2)
    return {
        "features": features.transpose(1, 0, 2),
        "regulariser": GroupNorm(),
        "cones": None,
        "scope": Scope.EXHAUSTIVE,
    }


def _circular_relu_parts(
    rows: np.ndarray, shape: tuple[int, ...], patterns: Patterns | None
) -> dict[str, Any]:
    patterns = few_patterns(rows, patterns)
    masks, gates = check_patterns(patterns, rows)
    waves = _waves(shape[1])
    images = rows @ waves.T
    squares = np.sum(waves**2, axis=1)
    angles = gates @ waves.T / np.where(squares > 0, squares, 1)
    cones, kept = make_sign_cones(images, masks, angles.astype(rows.dtype))
    check_interiors(kept)
    return {
        "features": np.where(masks[kept][..., None], images, 0),
        "regulariser": PairNorms(),
        "cones": cones,
        "scope": patterns.scope,
    }


def _waves(d: int) -> np.ndarray:
    """Cosine and sine of every frequency, [2 G, d]; orthogonal, some sines zero."""
    phases = 2 * np.pi * np.outer(np.arange(d // 2 + 1), np.arange(d)) / d
    waves = np.stack([np.cos(phases), np.sin(phases)], axis=1)
    waves[0, 1] = 0
    if d % 2 == 0:
        waves[-1, 1] = 0
    return waves.reshape(-1, d)


def _signals(theta: np.ndarray, d: int) -> np.ndarray:
    """c(theta), [m, d], of [m, 2 G]."""
    return theta.astype(np.float64) @ _waves(d)


def _linear(z: np.ndarray) -> dict[str, Any]:
    """Filters from the singular vectors of z [K, h]."""
    left, values, right = np.linalg.svd(z, full_matrices=False)
    rank = int(np.sum(values > 0))
    roots = np.sqrt(values[:rank])
    first, second = right[:rank].T * roots, left[:, :rank] * roots
    return recovery.two_layer_variables(first.T, second.ravel())


def _circular(signal: np.ndarray) -> dict[str, Any]:
    """One filter u and its weights w with u * w = signal and ||u|| = ||w||."""
    u, w = _factors(signal)
    return recovery.two_layer_variables(u[None], w)


def _circular_relu(blocks: np.ndarray, d: int) -> dict[str, Any]:
    flat = blocks.reshape(-1, blocks.shape[-1])
    signs = np.repeat([1.0, -1.0], blocks.shape[1])
    active = np.any(flat != 0, axis=1)
    pairs = [_factors(signal) for signal in _signals(flat[active], d)]
    filters = np.asarray([u for u, _ in pairs]).reshape(-1, d)
    middle = np.asarray([w for _, w in pairs]).reshape(-1, d)
    sizes = np.linalg.norm(
        filters, axis=1
    )  # = ||w||, square roots of the blocks' norms
    variables = recovery.two_layer_variables(
        (filters / sizes[:, None]).astype(blocks.dtype),
        (signs[active] * sizes).astype(blocks.dtype),
    )
    variables["params"]["middle"] = jnp.asarray(middle.T.astype(blocks.dtype))
    return variables


def _factors(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """u and w, [d] each, with circular convolution u * w = signal, of least squares."""
    spectrum = np.fft.fft(signal)
    size = np.sqrt(np.abs(spectrum))
    u = np.fft.ifft(size).real
    w = np.fft.ifft(spectrum / np.where(size > 0, size, 1)).real
    return u, w
