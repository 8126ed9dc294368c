"""Two-layer networks with normalisation, before or after the ReLU.

The networks are `networks.BatchNorm`; their penalty is half the sum of squares of
scales, shifts and output weights. Lengths of first-layer weights have no effect.

Before the ReLU, with C X = U S V^T (compact) and U' = [U, 1 / sqrt(n)], the program is
the two-layer one of `programs.two_layer` for the data U', over the patterns of U':

    minimise  1/2 ||sum_i D_i U' (v_i - w_i) - y||^2 + beta sum_i (||v_i|| + ||w_i||)
    subject to  (2 D_i - I) U' v_i >= 0,  (2 D_i - I) U' w_i >= 0,

and for several outputs that of `programs.vector_output`. With the first columns of U
alone, it is that of networks whose first layer uses these singular directions only. For
normalisation after the ReLU, over the patterns of X, with C D_i X = U_i S_i V_i^T and
U_i' likewise, the program is

    minimise  1/2 ||sum_i U_i' (v_i - w_i) - y||^2 + beta sum_i (||v_i|| + ||w_i||)
    subject to  v_i and w_i, without the coordinate of the shift, in
        {q : (2 D_i - I) X (V_i S_i^{-1} q + z) >= 0 for some z with C D_i X z = 0}.

C subtracts the mean if `centre`, else it is the identity; U' has the column 1 / sqrt(n)
if `shift`. There are such z only in a few patterns; `algebra.elimination` removes them.

Source: Ergen, Sahiner, Ozturkler, Pauly, Mardani & Pilanci, Demystifying Batch
Normalization in ReLU Networks (ICLR 2022), for normalisation before the ReLU. The talk
prints the other order without the cones.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from cvxjax import recovery
from cvxjax.algebra import linalg
from cvxjax.algebra.elimination import completed, eliminated
from cvxjax.algebra.row_space import coordinates
from cvxjax.algebra.whitening import (
    Factors,
    centred,
    check_resolution,
    factors,
    resolution,
    with_shift,
)
from cvxjax.arrangements.arguments import (
    check_beta,
    check_interiors,
    check_labels,
    check_patterns,
    check_sizes,
)
from cvxjax.arrangements.coverage import missing_patterns
from cvxjax.arrangements.default import default_patterns
from cvxjax.arrangements.exact import few_patterns
from cvxjax.arrangements.patterns import Patterns, check_data
from cvxjax.forms.blocks import BlockProgram
from cvxjax.forms.objective import RegularisedProgram
from cvxjax.networks.batch_norm import BatchNorm, check_order, statistics_of
from cvxjax.programs.two_layer import TwoLayerProgram, make_two_layer
from cvxjax.programs.vector_output import VectorOutputProgram, make_vector_output
from cvxjax.record import static
from cvxjax.solution import Scope
from cvxjax.terms import losses
from cvxjax.terms.cones import make_row_cones
from cvxjax.terms.regularisers import GroupNorm

Array = jax.Array

_CONSTANT = "want X that is not constant, or shift; normalised X is zero"


class Whitened(RegularisedProgram):
    """What normalisation before the ReLU adds to a program, whose X is U'."""

    raw: Array  # [n, d], what the network takes
    unmix: Array  # [d, r], V S^{-1}
    centre: bool = static()
    shift: bool = static()

    @property
    def inputs(self) -> Array:
        return self.raw

    @property
    def blur(self) -> float:
        return resolution(np.asarray(self.raw), np.asarray(self.unmix))

    def network(self) -> BatchNorm:
        outputs = None if self.y.ndim == 1 else self.y.shape[1]
        return BatchNorm("before", self.centre, self.shift, num_outputs=outputs)

    def variables(self, directions: np.ndarray, second: np.ndarray) -> dict[str, Any]:
        """Variables of neurons [m, r + 1] on U' (r without `shift`), weights [m, c]."""
        mix = np.asarray(self.unmix, np.float64)
        first = mix @ directions[:, : mix.shape[1]].T
        return _variables(self, first, directions, second)


class NormBeforeProgram(Whitened, TwoLayerProgram):
    """Normalisation before the ReLU, scalar output."""

    def recover(self, w: Array) -> dict[str, Any]:
        """As `interfaces.Program.recover`, with the statistics of the training data.

        Args:
          w: [2, P, r + 1] (r without `shift`), feasible; P blocks of any patterns.
        """
        blocks = self.checked(w, any_patterns=True)
        directions, second = recovery.neurons(blocks, self.signs)
        return self.variables(directions, second[:, None])


class NormBeforeVectorProgram(Whitened, VectorOutputProgram):
    """Normalisation before the ReLU, several outputs."""

    def recover(self, w: Array) -> dict[str, Any]:
        params = super().recover(w)["params"]
        directions = np.asarray(params["first"]["kernel"]).T
        return self.variables(directions, np.asarray(params["second"]["kernel"]))

    def embed(self, variables: Any) -> Array:
        """The parameters [1, m, r + 1 + c] of a trained network, for `certify`.

        Args:
          variables: of `networks.BatchNorm`; its statistics are taken to be those of
            the training data.
        """
        params = variables["params"]
        hidden = np.asarray(self.raw @ params["first"]["kernel"], np.float64)
        columns = np.asarray(self.X)[:, : self.unmix.shape[1]]
        inner = columns.T @ centred(hidden, self.centre)  # [r, m]
        lengths = np.linalg.norm(inner, axis=0)
        inner = inner / np.where(lengths > 0, lengths, 1) * np.asarray(params["scale"])
        parts = [inner.T]
        if self.shift:
            parts.append(np.asarray(params["shift"])[:, None])
        return jnp.asarray(np.hstack([*parts, params["second"]["kernel"]])[None])


class NormAfterProgram(BlockProgram):
    """Normalisation after the ReLU; parameters are [2, P, d + 1] (d without `shift`).

    Blocks of rank r_i use their first r_i coordinates, and the last for the shift.
    """

    active: Any  # [P, n], bool
    centre: bool = static()
    shift: bool = static()

    @property
    def blur(self) -> float:
        sides, X = _Sides(np.asarray(self.X), self.centre), np.asarray(self.X)
        active = np.asarray(self.active)
        parts = ((mask, sides.change @ sides.factors(mask).mix) for mask in active)
        return max(resolution(np.where(m[:, None], X, 0), mix) for m, mix in parts)

    def lists_every_pattern(self) -> bool:
        # Patterns on which every normalised neuron is zero need not be listed.
        missing = missing_patterns(self.X, self.active)
        if missing is None or len(self.signs) != 2 or (self.shift and len(missing)):
            return False
        sides = _Sides(np.asarray(self.X), self.centre)
        return all(sides.factors(mask).columns.shape[1] == 0 for mask in missing)

    def network(self) -> BatchNorm:
        return BatchNorm("after", self.centre, self.shift)

    def recover(self, w: Array) -> dict[str, Any]:
        blocks = self.checked(w)
        directions, second = recovery.neurons(blocks, self.signs)
        pattern = np.tile(np.arange(blocks.shape[1]), len(blocks))
        pattern = pattern[np.any(blocks.reshape(-1, blocks.shape[2]) != 0, axis=1)]
        sides, d = _Sides(np.asarray(self.X), self.centre), self.X.shape[1]
        first = np.zeros((d, len(second)))
        for j, (i, q) in enumerate(zip(pattern, directions, strict=True)):
            features = np.asarray(self.features[i], np.float64)[:, :d]
            first[:, j] = sides.weights(np.asarray(self.active[i]), features @ q[:d])
        return _variables(self, first, directions, second[:, None])


def make_batch_norm(
    X: Any,
    y: Any,
    *,
    beta: float,
    order: str = "before",
    centre: bool = True,
    shift: bool = True,
    patterns: Patterns | None = None,
    rank: int | None = None,
) -> NormBeforeProgram | NormBeforeVectorProgram | NormAfterProgram:
    """Validates the data and builds the program; the loss is squared.

    Args:
      X: [n, d], real; integers are cast to float.
      y: [n]; for "before" also [n, c].
      beta: > 0; the network's objective has beta/2 times the squares of scales, shifts
        and output weights.
      order: of normalisation and ReLU: "before" or "after" it.
      centre: whether the mean over the samples is subtracted.
      shift: whether a constant is added, a / sqrt(n) with a trained.
      patterns: of `whitened(X, centre=centre, shift=shift)` for "before", of X for
        "after". None: all; for "before", beyond 4,096 they are not listed, and the
        solver finds those that matter.
      rank: for "before", how many of the first singular directions of C X the first
        layer may use; default all of them.

    Raises:
      ValueError: saying what arrived and what is wanted.
    """
    check_order(order)
    data = check_data(X)
    check_sizes(data, squared=order == "after")
    beta = check_beta(beta)
    if order == "after":
        if rank is not None:
            raise ValueError("want no rank for order 'after'")
        labels = check_labels(y, data, losses.squared())
        return _after(data, labels, beta, centre, shift, patterns)
    if rank is not None and rank < 1:
        raise ValueError(f"want rank >= 1; got {rank}")
    columns, unmix, whole = _whitened(data, centre, shift, rank)
    if columns.shape[1] == 0:
        raise ValueError(_CONSTANT)
    if unmix.shape[1]:
        check_resolution(data, unmix)
    patterns, every = default_patterns(columns, patterns)
    several = np.ndim(y) == 2
    make: Any = make_vector_output if several else make_two_layer
    plain = make(columns, y, patterns, beta=beta)
    fields: dict[str, Any] = dict(vars(plain)) | {"all_patterns": every}
    if not whole:
        fields["scope"] = Scope.SAMPLED
    return (NormBeforeVectorProgram if several else NormBeforeProgram)(
        **fields,
        raw=jnp.asarray(data),
        unmix=jnp.asarray(unmix),
        centre=centre,
        shift=shift,
    )


def whitened(
    X: Any, *, centre: bool = True, shift: bool = True, rank: int | None = None
) -> np.ndarray:
    """U' = [U, 1 / sqrt(n)], [n, r + 1], whose patterns order "before" takes.

    Args:
      X: [n, d].
      centre, shift, rank: as in `make_batch_norm`; without `shift` U alone, [n, r].
    """
    return _whitened(check_data(X), centre, shift, rank)[0]


def orthogonal_optimum(y: Any, *, beta: float) -> float:
    """The optimum of order "before" if C X has rank n - 1, in closed form.

    It is the sum over y_+ = max(y, 0) and y_- = max(-y, 0) of
    1/2 ||y_s||^2 - 1/2 max(||y_s|| - beta, 0)^2: each part is fitted by one neuron at
    most. For several one-hot outputs the optimum is `whitened_optimum`'s.

    Args:
      y: [n].
      beta: > 0.
    """
    labels, scale = np.asarray(y, np.float64), check_beta(beta)
    sizes = np.asarray([np.linalg.norm(np.maximum(s * labels, 0)) for s in (1, -1)])
    return float(np.sum(sizes**2 - np.maximum(sizes - scale, 0) ** 2) / 2)


def _whitened(
    X: np.ndarray, centre: bool, shift: bool, rank: int | None
) -> tuple[np.ndarray, np.ndarray, bool]:
    """U' and V S^{-1} for the first `rank` directions, and `Factors.whole`."""
    found = factors(X.astype(np.float64), centre, X.dtype)
    columns = with_shift(found.columns[:, :rank], shift)
    return columns.astype(X.dtype), found.mix[:, :rank], found.whole


def _after(
    X: np.ndarray,
    y: np.ndarray,
    beta: float,
    centre: bool,
    shift: bool,
    patterns: Patterns | None,
) -> NormAfterProgram:
    """The program of normalisation after the ReLU, from checked arguments."""
    n, d = X.shape
    patterns = few_patterns(X, patterns)
    masks, gates = check_patterns(patterns, X)
    width, sides = d + int(shift), _Sides(X, centre)
    features = np.zeros((len(masks), n, width), X.dtype)
    points = np.zeros((len(masks), width), X.dtype)
    rows, whole = [], True
    for i, (mask, gate) in enumerate(zip(masks, gates, strict=True)):
        columns, mix, null, seen = sides.factors(mask)
        r, whole = columns.shape[1], whole and seen
        features[i, :, :r] = columns
        signed = np.where(mask[:, None], sides.unit, -sides.unit)
        block = eliminated(signed @ mix, signed @ null)
        rows.append(np.pad(block, ((0, 0), (0, width - r))))
        hidden = np.where(mask, sides.values(gate), 0)
        points[i, :r] = columns.T @ centred(hidden[:, None], centre)[:, 0]
        if shift:
            features[i, :, d] = n**-0.5
        if r:
            check_resolution(np.where(mask[:, None], X, 0), sides.change @ mix)
    used = np.any(features != 0, axis=(1, 2))
    if not np.any(used):
        raise ValueError(_CONSTANT)
    most = max(1, *(len(block) for block in rows))
    stacked = np.stack([np.pad(b, ((0, most - len(b)), (0, 0))) for b in rows])
    if shift:
        points[:, d] = 1  # any number; 1, because points must not be zero
    cones, kept = make_row_cones(stacked[used].astype(X.dtype), points[used])
    check_interiors(kept)
    chosen = np.flatnonzero(used)[kept]
    program = NormAfterProgram(
        X=jnp.asarray(X),
        y=jnp.asarray(y),
        beta=jnp.asarray(beta, X.dtype),
        loss=losses.squared(),
        regulariser=GroupNorm(),
        features=jnp.asarray(features[chosen]),
        cones=cones,
        signs=jnp.asarray([[1], [-1]], X.dtype),
        scope=patterns.scope if whole else Scope.SAMPLED,
        active=jnp.asarray(masks[chosen]),
        centre=centre,
        shift=shift,
    )
    return program.verified()


class _Sides:
    """X [n, d] in well conditioned coordinates, for normalisation after the ReLU."""

    def __init__(self, X: np.ndarray, centre: bool) -> None:
        self.X, self.centre = X, centre
        space = coordinates(X)
        self.rows = np.ldexp(space.rows, space.exponents[:, None])  # [n, r], X change
        self.change = space.change  # [d, r]
        lengths = np.linalg.norm(space.rows, axis=1)
        self.unit = space.rows / np.where(lengths > 0, lengths, 1)[:, None]

    def factors(self, mask: np.ndarray) -> Factors:
        """`whitening.factors` of C D_i rows, for the mask [n] of a pattern."""
        active = np.where(mask[:, None], self.rows, 0)
        return factors(active, self.centre, self.X.dtype, exact=False)

    def values(self, gate: np.ndarray) -> np.ndarray:
        """X gate, [n]."""
        return self.X.astype(np.float64) @ gate.astype(np.float64)

    def weights(self, mask: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """u [d] with C (X u)_+ = wanted [n], which must be in the span of C D_i X."""
        columns, mix, null, _ = self.factors(mask)
        c = mix @ (columns.T @ wanted)
        signed = np.where(mask[:, None], self.unit, -self.unit)
        u = self.change @ (c + null @ completed(signed @ c, signed @ null))
        # A step of refinement: so far entries are as precise as the largest one.
        reached = centred(np.where(mask, self.values(u), 0)[:, None], self.centre)
        return u + self.change @ (mix @ (columns.T @ (wanted - reached[:, 0])))


def _variables(
    program: Any, first: np.ndarray, directions: np.ndarray, second: np.ndarray
) -> dict[str, Any]:
    """Flax variables of `BatchNorm` with the statistics of the training data.

    Args:
      first: [d, m].
      directions: [m, r + 1], each block divided by the root of its norm.
      second: [m, c].
    """
    network: BatchNorm = program.network()
    inputs = program.inputs
    hidden = linalg.dot(inputs, jnp.asarray(first, inputs.dtype))
    if network.order == "after":
        hidden = jnp.maximum(hidden, 0)
    inner = directions[:, :-1] if network.shift else directions
    dtype = inputs.dtype
    params = {
        "first": {"kernel": jnp.asarray(first, dtype)},
        "scale": jnp.asarray(np.linalg.norm(inner, axis=1), dtype),
        "second": {"kernel": jnp.asarray(second, dtype)},
    }
    if network.shift:
        params["shift"] = jnp.asarray(directions[:, -1], dtype)
    return {"params": params, "batch_stats": statistics_of(hidden, network.centre)}
