"""Forms as contracts: what a solver reads of a program beyond `interfaces.Program`.

A form is the shape of a convex problem, whatever network it stands for. A solver names
in `takes` the form that it solves; `isinstance(program, form)` then decides, which is
why contracts list methods and small fields only, whose look-up costs nothing.
"""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import jax

Array = jax.Array


@runtime_checkable
class Linear(Protocol):
    """Predictions F w that are linear in w, which may be any pytree of arrays."""

    def adjoint(self, r: Array) -> Any:
        """F^T r, in the structure of the parameters, for r of y's shape."""
        ...


@runtime_checkable
class Blocks(Linear, Protocol):
    """Predictions sum_b F_b w_b of blocks w_b, in one array [S, P, ...]."""

    def response(self, weights: Array, inner: Array) -> Array:
        """sum_b weights_b F_b M F_b^T, [n, n], for M = inner and weights [S, P]."""
        ...


@runtime_checkable
class Vectors(Blocks, Protocol):
    """Blocks that are vectors, w [S, P, d], each with its own matrix F_b [n, d]."""

    def spread(self, blocks: Array) -> Array:
        """sum_b F_b M_b F_b^T, [n, n], for symmetric M = blocks [S, P, d, d]."""
        ...

    def select(self, blocks: Array, live: Array) -> Any:
        """The program of some blocks alone, with parameters [1, B, d].

        Args:
          blocks: [B], positions among the S P blocks, those of the first sign first.
          live: [B], bool; blocks where it is False are padding, zero at every optimum.
        """
        ...


@runtime_checkable
class Patterned(Vectors, Protocol):
    """Vectors over activation patterns: F_b is zero on rows where the mask is False."""

    masks: Any  # [P, rows], bool
    signs: Any  # [S, 1]
    features: Any  # F_p [P, n, d]; None: the rows of X where the mask is True


@runtime_checkable
class Padded(Vectors, Protocol):
    """Vectors over patterns whose number may be rounded up, so that less compiles."""

    X: Any
    masks: Any  # [P, rows], bool

    def padded(self, count: int) -> Any:
        """The program with `count` >= P patterns, the last ones zero at any optimum."""
        ...


@runtime_checkable
class Gated(Blocks, Protocol):
    """Blocks with a gate each, which makes the mask of any sample: for minibatches."""

    masks: Any  # [P, n], bool
    gates: Any  # [P, d]


@runtime_checkable
class Neurons(Protocol):
    """Parameters are any number of neurons u_j with output weights v_j."""

    def neurons(self, w: Array) -> tuple[Array, Array]:
        """u [m, d] and v [m, c] of parameters w."""
        ...


@runtime_checkable
class Pairs(Protocol):
    """Predictions <F_i, Z+ - Z-> of pairs of positive semidefinite matrices."""

    hadamard: Any  # [q, q]

    def pull(self, r: Array) -> Array:
        """`symmetric.svec` of sum_i r_i F_i for each output, [outputs, entries]."""
        ...
