"""Forms as contracts: what a solver reads of a program beyond `interfaces.Program`.

A program is a theorem, a form the shape of convex problem that it lands in. A solver
says in `takes` which form it wants, and never asks which theorem a program is of. They
name methods and small fields only, so that asking costs nothing.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax

Array = jax.Array


@runtime_checkable
class Linear(Protocol):
    """Predictions F w, linear in parameters that may be any tree of arrays."""

    def adjoint(self, r: Array) -> Any:
        """F^T r, as the parameters are."""
        ...


@runtime_checkable
class Blocks(Linear, Protocol):
    """Blocks w_b with linear predictions, sum_b F_b w_b: one array [S, P, ...]."""

    def response(self, weights: Array, inner: Array) -> Array:
        """sum_b weights_b F_b M F_b^T, [n, n], for M = inner, weights [S, P]."""
        ...


@runtime_checkable
class Vectors(Blocks, Protocol):
    """Blocks that are vectors, [S, P, d]: each may have a matrix of its own."""

    def spread(self, blocks: Array) -> Array:
        """sum_b F_b M_b F_b^T, [n, n], for symmetric M_b = blocks [S, P, d, d]."""
        ...

    def select(self, blocks: Array, live: Array) -> Any:
        """The program of some blocks alone: positions [B], and which are no padding."""
        ...


@runtime_checkable
class Patterned(Vectors, Protocol):
    """Vectors over activation patterns: a block predicts where its pattern is 1."""

    masks: Any  # [P, rows], bool
    signs: Any  # [S, 1]
    features: Any  # F_p [P, n, d]; None: rows of X where the mask is 1


@runtime_checkable
class Gated(Blocks, Protocol):
    """Blocks, vectors or matrices, that have a gate each: samples can come and go."""

    masks: Any  # [P, n], bool
    gates: Any  # [P, d]


@runtime_checkable
class Neurons(Protocol):
    """Neurons u_j with output weights v_j, of any number, instead of blocks."""

    def neurons(self, w: Array) -> tuple[Array, Array]:
        """u [m, d] and v [m, c] of parameters."""
        ...


@runtime_checkable
class Pairs(Protocol):
    """Pairs of positive semidefinite matrices whose difference predicts."""

    hadamard: Any  # [q, q]

    def pull(self, r: Array) -> Array:
        """`symmetric.svec` of sum_i r_i F_i, [outputs, numbers]."""
        ...
