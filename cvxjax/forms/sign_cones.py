"""The form of vectors over activation patterns, with their cones (ReLU) or without.

    minimise  L(sum_i D_i X (v_i - w_i), y) + beta sum_i (||v_i|| + ||w_i||)
    subject to  (2 D_i - I) X v_i >= 0,  (2 D_i - I) X w_i >= 0     (with cones)

The norm is Euclidean; in coordinates in which X has orthonormal columns, it is that of
an ellipsoid.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax.algebra import linalg, trees
from cvxjax.algebra.coordinates import Coordinates, orthonormal
from cvxjax.arrangements.patterns import Patterns
from cvxjax.forms.listed import ListedPatterns
from cvxjax.judges.sign_cones import SignConeJudge
from cvxjax.terms.cones import SignCones, make_sign_cones
from cvxjax.terms.regularisers import EllipsoidNorm, GroupNorm

Array = jax.Array

_CHUNK_ELEMENTS = 1 << 19  # of a temporary of `spread`, which should fit the cache
_ROW_PARTS = 4  # of the symmetric result of `spread`, each computed to its diagonal


class SignConeProgram(ListedPatterns):
    """The form above; parameters are [2, P, d], v first and w second."""

    gates: Array  # [P, d], the networks' gates if there are no cones
    cones: SignCones | None  # None: gated ReLU
    signs: Array  # [2, 1], 1 and -1; of selected blocks [1, P]; 0 for padding
    regulariser: GroupNorm | EllipsoidNorm = GroupNorm()
    features: ClassVar[None] = None  # made of X and masks
    scaled: ClassVar[tuple[str, ...]] = ("X",)

    @property
    def splits(self) -> bool:
        return True

    @property
    def shape(self) -> tuple[int, int, int]:
        return (self.signs.shape[0], self.masks.shape[0], self.X.shape[1])

    def lists_every_pattern(self) -> bool:
        return len(self.signs) == 2 and super().lists_every_pattern()

    @property
    def patterns(self) -> Patterns:
        return Patterns(masks=self.masks, gates=self.gates, scope=self.scope)

    def parts_of(
        self, masks: np.ndarray, gates: np.ndarray
    ) -> tuple[dict[str, Any], np.ndarray]:
        parts, kept = super().parts_of(masks, gates)
        return parts | {"gates": jnp.asarray(gates[kept])}, kept

    def select(self, blocks: Array, live: Array) -> SignConeProgram:
        pattern = blocks % self.masks.shape[0]
        sign = jnp.broadcast_to(self.signs, self.shape[:2]).reshape(-1)[blocks]
        cones = None if self.cones is None else self.cones.select(pattern)
        return self.replace(
            masks=self.masks[pattern],
            gates=self.gates[pattern],
            cones=cones,
            signs=jnp.where(live, sign, 0)[None],
        )

    def padded(self, count: int) -> SignConeProgram:
        """As `forms.contracts.Padded`: the last pattern is repeated, without effect."""
        P = self.masks.shape[0]
        pattern = np.minimum(np.arange(count), P - 1)
        signs = np.zeros((self.shape[0], count), self.X.dtype)
        signs[:, :P] = self.signs
        # On the host, where other numbers compile nothing.
        masks, gates, cones = trees.on_host((self.masks, self.gates, self.cones))
        cones = None if cones is None else cones.select(pattern)
        parts = {"masks": masks[pattern], "gates": gates[pattern], "cones": cones}
        return self.replace(**jax.tree.map(jnp.asarray, parts | {"signs": signs}))

    @property
    def reach(self) -> Array:
        return self.regulariser.lengths(self.X)

    @property
    def walls(self) -> Any:
        if self.cones is None or self.regulariser.norm == "group":
            return 1.0
        return self.regulariser.lengths(self.cones.rows)[None, None]

    def coordinate_rows(self) -> Array:
        return self.X

    def in_float64(self) -> SignConeProgram:
        """The same program in float64, with interior points found again in float64.

        Those that were rounded to float32 may be outside of thin cells.
        """
        wide = super().in_float64()
        if self.cones is None:
            return wide
        arrays = (np.asarray(x) for x in (wide.X, wide.masks, wide.gates))
        cones, kept = make_sign_cones(*arrays)
        return wide.replace(cones=cones, scope=self.scope) if kept.all() else wide

    def in_coordinates(self) -> tuple[SignConeProgram, Coordinates] | None:
        """The program for Q, X = Q S, in w' = S w and float64.

        None for X = 0, and where rounding leaves a cone without interior point.
        """
        coordinates = orthonormal(np.asarray(self.X, np.float64))
        Q, S, T = coordinates
        if not len(S):
            return None
        cones = self.cones
        if cones is not None:
            cones = cones.in_coordinates(Q, S, jnp.asarray(T))
            if cones is None:
                return None
        program = self.replace(
            X=jnp.asarray(Q),
            gates=jnp.asarray(np.asarray(self.gates) @ S.T),
            cones=cones,
            regulariser=EllipsoidNorm(root=jnp.asarray(T), inverse=jnp.asarray(S)),
            scope=self.scope,
        )
        return program, coordinates

    def forward(self, w: Array) -> Array:
        """sum_i D_i X (w_0i - w_1i), [n]."""
        both = jnp.sum(self.signs[..., None] * w, axis=0)
        return linalg.masked_sum(self.masks, both, self.X)

    def adjoint(self, r: Array) -> Array:
        """X^T D_i r and -X^T D_i r, [2, P, d]."""
        g = linalg.masked_products(self.masks, r, self.X)
        return self.signs[..., None] * g[None]

    def response(self, weights: Array, inner: Array) -> Array:
        gram = linalg.dot(linalg.dot(self.X, inner), self.X.T)
        total = jnp.sum(self.signs**2 * weights, axis=0)
        return linalg.masked_gram(self.masks, total, gram)

    def spread(self, blocks: Array) -> Array:
        n, d = self.X.shape
        P = self.masks.shape[0]
        chunks = -(-P // max(1, min(P, _CHUNK_ELEMENTS // (n * d))))
        size = -(-P // chunks)
        missing = chunks * size - P
        masks = jnp.pad(self.masks, ((0, missing), (0, 0)))
        both = jnp.sum(self.signs[..., None, None] ** 2 * blocks, axis=0)
        both = jnp.pad(both, ((0, missing), (0, 0), (0, 0)))
        both = both.reshape(chunks, size, d, d).transpose(0, 2, 1, 3)

        starts = range(0, n, -(-n // _ROW_PARTS))
        ends = [*starts[1:], n]

        def add(parts: list[Array], chunk: tuple[Array, Array]) -> Any:
            mask, columns = chunk  # [size, n], [d, size, d]
            mask = mask.T[..., None]
            fit = linalg.dot(self.X, columns.reshape(d, -1)).reshape(n, size, d)
            fit = jnp.where(mask, fit, 0).reshape(n, -1)
            plain = jnp.where(mask, self.X[:, None], 0).reshape(n, -1)
            return [
                part + linalg.dot(fit[start:end], plain[:end].T)
                for part, start, end in zip(parts, starts, ends, strict=True)
            ], None

        zeros = [
            jnp.zeros((end - start, end), self.X.dtype)
            for start, end in zip(starts, ends, strict=True)
        ]
        masks = masks.reshape(chunks, size, n)
        parts = jax.lax.scan(add, zeros, (masks, both))[0]
        rows = [jnp.pad(x, ((0, 0), (0, n - x.shape[1]))) for x in parts]
        lower = jnp.tril(jnp.concatenate(rows))
        return lower + jnp.tril(lower, -1).T

    def judge(self) -> SignConeJudge:
        X, masks = np.asarray(self.X, np.float64), np.asarray(self.masks)
        interior = None
        if self.cones is not None:
            interior = np.asarray(self.cones.interior, np.float64)
            if self.X.dtype != jnp.float64:  # rounding may have put points outside
                values = np.where(masks, interior @ X.T, -interior @ X.T)
                if np.any(values[:, np.any(X != 0, axis=1)] <= 0):
                    with jax.enable_x64(True):
                        cones: Any = self.in_float64().cones
                        interior = np.asarray(cones.interior)
        signs = np.broadcast_to(np.asarray(self.signs, np.float64), self.shape[:2])
        return SignConeJudge(X=X, masks=masks, signs=signs, interior=interior)
