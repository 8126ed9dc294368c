"""Convolutional networks with a scalar output: six kinds, a class each.

For patches X_k [n, h], k = 1..K, training `networks.Convolutional` on 1/2 ||f - y||^2
and weight decay, half the sum of squares of all weights, has the optimal values below.
Another convex loss may take the place of 1/2 ||. - y||^2.

    sum_pool       minimise 1/2 ||sum_i F_i (v_i - w_i) - y||^2
    average_pool            + beta sum_i (||v_i|| + ||w_i||),  F_i = sum_k D_ik X_k,
                   (2 D_ik - I) X_k v_i >= 0 for every k, and so for w_i;
                   F_i over K for average_pool
    max_pool       the same, where F_i has of each sample the patch with the largest
                   product in cell i, or 0 if that is negative; the constraints say so
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

from typing import Any, ClassVar

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
from cvxjax.arrangements.default import default_patterns
from cvxjax.arrangements.exact import enumerate_patterns, few_patterns
from cvxjax.arrangements.patterns import Patterns, check_data
from cvxjax.forms.blocks import BlockProgram
from cvxjax.forms.sums import SumProgram, parts_of
from cvxjax.interfaces import Loss
from cvxjax.networks.convolutional import Convolutional, check_kind
from cvxjax.solution import Scope
from cvxjax.terms.cones import make_row_cones, make_sign_cones
from cvxjax.terms.regularisers import GroupNorm, NuclearNorm, PairNorms

Array = jax.Array

_BOTH = [[1.0], [-1.0]]


class ConvolutionalProgram(BlockProgram):
    """What the programs above share; each kind says what its parameters are."""

    kind: ClassVar[str]
    any_patterns: ClassVar[bool] = False  # whether `recover` takes other patterns'

    @classmethod
    def made_of(cls, X: np.ndarray, patterns: Patterns | None) -> dict[str, Any]:
        """The fields of the program that depend on the kind, for checked inputs X."""
        raise NotImplementedError

    @classmethod
    def seen(cls, X: np.ndarray) -> np.ndarray | None:
        """The rows whose activation patterns matter, or None for linear kinds."""
        return None

    def lists_every_pattern(self) -> bool:
        # The features of each of the data's patterns must be among the program's.
        X = np.asarray(self.X)
        seen = self.seen(X)
        made = self.made_of(X, None if seen is None else enumerate_patterns(seen))
        listed = {np.asarray(block).tobytes() for block in np.asarray(self.features)}
        needed = {block.astype(X.dtype).tobytes() for block in made["features"]}
        return len(self.signs) == len(made["signs"]) and needed <= listed

    def network(self) -> Convolutional:
        return Convolutional(self.kind)

    def recover(self, w: Array) -> dict[str, Any]:
        """As `interfaces.Program.recover`; w of sums and averages, of any patterns."""
        return self.variables(self.checked(w, any_patterns=self.any_patterns))

    def variables(self, blocks: np.ndarray) -> dict[str, Any]:
        """The variables of parameters: every non-zero block is a filter."""
        return recovery.two_layer_variables(*recovery.neurons(blocks, self.signs))


class PooledProgram(SumProgram, ConvolutionalProgram):
    """The program of `sum_pool`; parameters are [2, P, h], v first."""

    kind: ClassVar[str] = "sum_pool"
    any_patterns: ClassVar[bool] = True

    @classmethod
    def made_of(cls, X: np.ndarray, patterns: Patterns | None) -> dict[str, Any]:
        n, K, h = X.shape
        stacked = X.reshape(n * K, h)
        patterns, every = default_patterns(stacked, patterns)
        rows = stacked / K if cls.kind == "average_pool" else stacked
        parts, kept = parts_of(rows, n, *check_patterns(patterns, stacked))
        check_interiors(kept)
        shared = {"signs": _BOTH, "regulariser": GroupNorm(), "scope": patterns.scope}
        return parts | shared | {"all_patterns": every}


class AveragedProgram(PooledProgram):
    """The program of `average_pool`; parameters are [2, P, h], v first."""

    kind: ClassVar[str] = "average_pool"

    @property
    def share(self) -> float:
        return 1 / self.X.shape[1]


class MaxPoolProgram(ConvolutionalProgram):
    """The program of `max_pool`; parameters are [2, P, h], v first."""

    kind: ClassVar[str] = "max_pool"

    @classmethod
    def seen(cls, X: np.ndarray) -> np.ndarray:
        return max_pool_rows(X)

    @classmethod
    def made_of(cls, X: np.ndarray, patterns: Patterns | None) -> dict[str, Any]:
        n, K, h = X.shape
        rows, decisive = X.reshape(n * K, h), max_pool_rows(X)
        patterns = few_patterns(decisive, patterns)
        of_all = np.shape(patterns.masks)[-1] == len(decisive)
        gates = check_patterns(patterns, decisive if of_all else rows)[1]
        # Cells that agree on the largest patches have the same features and cones.
        values = np.einsum("nkh,ph->pnk", X, gates)
        largest = np.argmax(values, axis=2)
        active = np.max(values, axis=2) > 0
        names = np.where(active, largest, K)
        first = np.sort(np.unique(names, axis=0, return_index=True)[1])
        largest, active, gates = largest[first], active[first], gates[first]
        chosen = X[np.arange(n)[None], largest]  # [P, n, h]
        others = chosen[:, :, None] - X[None]  # zero at the largest patch itself
        itself = np.arange(K) == largest[..., None]
        others = np.where(itself[..., None], chosen[:, :, None], others)
        cone_rows = np.where(active[..., None, None], others, -X[None])
        cones, kept = make_row_cones(cone_rows.reshape(len(first), n * K, h), gates)
        check_interiors(kept)
        return {
            "features": np.where(active[..., None], chosen, 0)[kept],
            "signs": _BOTH,
            "regulariser": GroupNorm(),
            "cones": cones,
            "scope": patterns.scope if of_all else Scope.SAMPLED,
        }


class LinearPatchesProgram(ConvolutionalProgram):
    """The program of `linear`; parameters are [1, 1, K h], z_1 to z_K."""

    kind: ClassVar[str] = "linear"

    @classmethod
    def made_of(cls, X: np.ndarray, patterns: Patterns | None) -> dict[str, Any]:
        return {
            "features": X.reshape(1, len(X), -1),
            "signs": [[1.0]],
            "regulariser": NuclearNorm(shape=X.shape[1:]),
            "cones": None,
            "scope": Scope.EXHAUSTIVE,
        }

    def variables(self, blocks: np.ndarray) -> dict[str, Any]:
        """A filter for each singular value of z [K, h]."""
        z = blocks[0, 0].reshape(self.regulariser.shape)
        left, values, right = np.linalg.svd(z, full_matrices=False)
        rank = int(np.sum(values > 0))
        roots = np.sqrt(values[:rank])
        first, second = right[:rank].T * roots, left[:, :rank] * roots
        return recovery.two_layer_variables(first.T, second.ravel())


class CircularProgram(ConvolutionalProgram):
    """The program of `circular`; parameters are [1, G, 2], G = d // 2 + 1."""

    kind: ClassVar[str] = "circular"

    @classmethod
    def made_of(cls, X: np.ndarray, patterns: Patterns | None) -> dict[str, Any]:
        n, d = X.shape
        features = (X @ _waves(d).T).reshape(n, -1, 2)
        return {
            "features": features.transpose(1, 0, 2),
            "signs": [[1.0]],
            "regulariser": GroupNorm(),
            "cones": None,
            "scope": Scope.EXHAUSTIVE,
        }

    def variables(self, blocks: np.ndarray) -> dict[str, Any]:
        """One filter u and its weights w with u * w = c(theta) and ||u|| = ||w||."""
        u, w = _factors(_signals(blocks.reshape(1, -1), self.X.shape[1])[0])
        return recovery.two_layer_variables(u[None], w)


class CircularReluProgram(ConvolutionalProgram):
    """The program of `circular_relu`; parameters are [2, P, 2 G], G = d // 2 + 1."""

    kind: ClassVar[str] = "circular_relu"

    @classmethod
    def seen(cls, X: np.ndarray) -> np.ndarray:
        return X

    @classmethod
    def made_of(cls, X: np.ndarray, patterns: Patterns | None) -> dict[str, Any]:
        patterns = few_patterns(X, patterns)
        masks, gates = check_patterns(patterns, X)
        waves = _waves(X.shape[1])
        images = X @ waves.T
        squares = np.sum(waves**2, axis=1)
        angles = gates @ waves.T / np.where(squares > 0, squares, 1)
        cones, kept = make_sign_cones(images, masks, angles.astype(X.dtype))
        check_interiors(kept)
        return {
            "features": np.where(masks[kept][..., None], images, 0),
            "signs": _BOTH,
            "regulariser": PairNorms(),
            "cones": cones,
            "scope": patterns.scope,
        }

    def variables(self, blocks: np.ndarray) -> dict[str, Any]:
        """Every non-zero block is a neuron, its filter of unit length."""
        d, dtype = self.X.shape[1], blocks.dtype
        flat = blocks.reshape(-1, blocks.shape[-1])
        signs = np.repeat([1.0, -1.0], blocks.shape[1])
        active = np.any(flat != 0, axis=1)
        pairs = [_factors(signal) for signal in _signals(flat[active], d)]
        filters = np.asarray([u for u, _ in pairs]).reshape(-1, d)
        middle = np.asarray([w for _, w in pairs]).reshape(-1, d)
        sizes = np.linalg.norm(filters, axis=1)  # roots of the blocks' norms, = ||w||
        variables = recovery.two_layer_variables(
            (filters / sizes[:, None]).astype(dtype),
            (signs[active] * sizes).astype(dtype),
        )
        variables["params"]["middle"] = jnp.asarray(middle.T.astype(dtype))
        return variables


_CLASSES: dict[str, type[ConvolutionalProgram]] = {
    made.kind: made
    for made in (
        PooledProgram,
        AveragedProgram,
        MaxPoolProgram,
        LinearPatchesProgram,
        CircularProgram,
        CircularReluProgram,
    )
}


def make_convolutional(
    inputs: Any,
    y: Any,
    *,
    beta: float,
    kind: str,
    patterns: Patterns | None = None,
    loss: Loss | str | None = None,
) -> ConvolutionalProgram:
    """Validates the data and builds the program.

    Args:
      inputs: patches [n, K, h], as from `arrangements.extract_patches`; for kinds
        "circular" and "circular_relu", signals X [n, d].
      y: [n], labels as the loss takes them.
      beta: weight decay, > 0; the network's objective has beta/2.
      kind: "sum_pool", "average_pool", "max_pool", "linear", "circular" or
        "circular_relu".
      patterns: for sums and averages, of `arrangements.stack_patches(patches)`; for
        max_pool, of `arrangements.max_pool_rows(patches)`, or of the stacked patches,
        whose gates are then used; for circular_relu, of X. None: all; for sums and
        averages, beyond 4,096 they are not listed, and the solver finds those that
        matter. "linear" and "circular" have none.
      loss: of `cvxjax.losses`, or its name; default squared, 1/2 ||z - y||^2. Not a
        constraint.

    Raises:
      ValueError: saying what arrived and what is wanted.
    """
    check_kind(kind)
    circular = kind in ("circular", "circular_relu")
    X = check_data(inputs) if circular else stack_patches(inputs)
    X = X.reshape(np.shape(inputs))
    made = check_loss(loss)
    if made.constraint is not None:
        raise ValueError(f"want a loss that is no constraint; got {made.name}")
    labels = check_labels(y, X, made)
    scale = check_beta(beta)
    if kind in ("linear", "circular") and patterns is not None:
        raise ValueError(f"want no patterns for kind {kind!r}, which has no ReLU")
    program = _CLASSES[kind]
    parts = program.made_of(X, patterns)
    parts["features"] = jnp.asarray(parts["features"])
    parts["signs"] = jnp.asarray(parts["signs"], X.dtype)
    return program(
        X=jnp.asarray(X),
        y=jnp.asarray(labels),
        beta=jnp.asarray(scale, X.dtype),
        loss=made,
        **parts,
    ).verified()


def _waves(d: int) -> np.ndarray:
    """Cosine and sine of every frequency, [2 G, d], orthogonal; some sines are zero."""
    phases = 2 * np.pi * np.outer(np.arange(d // 2 + 1), np.arange(d)) / d
    waves = np.stack([np.cos(phases), np.sin(phases)], axis=1)
    waves[0, 1] = 0
    if d % 2 == 0:
        waves[-1, 1] = 0
    return waves.reshape(-1, d)


def _signals(theta: np.ndarray, d: int) -> np.ndarray:
    """c(theta), [m, d], for theta [m, 2 G]."""
    return theta.astype(np.float64) @ _waves(d)


def _factors(signal: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The u and w [d] of least norms whose circular convolution u * w is the signal."""
    spectrum = np.fft.fft(signal)
    size = np.sqrt(np.abs(spectrum))
    u = np.fft.ifft(size).real
    w = np.fft.ifft(spectrum / np.where(size > 0, size, 1)).real
    return u, w
