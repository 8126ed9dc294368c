"""Two-layer networks with normalisation, before or after the ReLU, scalar output.

The networks are `networks.BatchNorm`; their penalty is half the squares of scales,
shifts and output weights (first-layer weights have no scale of their own).

Before the ReLU, with C X = U S V^T (compact) and U' = [U, 1 / sqrt(n)], the program is
the two-layer one of `programs.two_layer` for the data U', over the patterns of U':

    minimise  1/2 ||sum_i D_i U' (v_i - w_i) - y||^2 + beta sum_i (||v_i|| + ||w_i||)
    subject to  (2 D_i - I) U' v_i >= 0,  (2 D_i - I) U' w_i >= 0.

After it, over the patterns of X, with C D_i X = U_i S_i V_i^T and U_i' likewise,

    minimise  1/2 ||sum_i U_i' (v_i - w_i) - y||^2 + beta sum_i (||v_i|| + ||w_i||)
    subject to  v_i and w_i, without the coordinate of the shift, in
        {q : (2 D_i - I) X (V_i S_i^{-1} q + z) >= 0 for some z with C D_i X z = 0}.

C centres if `centre`, else it is the identity; the column 1 / sqrt(n) is there if
`shift`. Few patterns leave z free; it is eliminated by the rays of the multipliers.

Source: Ergen, Sahiner, Ozturkler, Pauly, Mardani & Pilanci, Demystifying Batch
Normalization in ReLU Networks (ICLR 2022), for the order before. The deck prints the
order after without the cones.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from scipy.optimize import nnls

from cvxjax import linalg, losses, recovery
from cvxjax.arguments import check_beta, check_interiors, check_labels, check_patterns
from cvxjax.arrangements.exact import few_patterns
from cvxjax.arrangements.patterns import Patterns, check_data
from cvxjax.block_program import BlockProgram
from cvxjax.cones import make_row_cones
from cvxjax.networks.batch_norm import BatchNorm, check_order, statistics_of
from cvxjax.programs.two_layer import TwoLayerProgram, make_two_layer
from cvxjax.regularisers import GroupNorm

Array = jax.Array

_RANK = 1e-10  # singular values below this, relative to the largest, count as zero
_MOST_ROWS = 20_000  # of a cone after elimination


class NormBeforeProgram(TwoLayerProgram, kw_only=True):
    """Normalisation before the ReLU; X is U'."""

    raw: Array  # [n, d], what the network takes
    unmix: Array  # [d, r], V S^{-1}
    centre: bool = struct.field(pytree_node=False)
    shift: bool = struct.field(pytree_node=False)

    @property
    def inputs(self) -> Array:
        return self.raw

    def network(self) -> BatchNorm:
        """The Flax network of `recover`'s variables, whatever their width."""
        return BatchNorm("before", self.centre, self.shift)

    def recover(self, w: Array) -> dict[str, Any]:
        """Variables of a network with the same predictions and the same objective.

        Every non-zero block is a neuron; the statistics are those of the training data.

        Args:
          w: [2, P, r + 1] (r without `shift`), feasible; of any patterns.
        """
        blocks = np.asarray(w)
        if blocks.ndim != 3 or blocks.shape[::2] != self.shape[::2]:
            raise ValueError(
                f"want params {list(self.shape)}; got {list(blocks.shape)}"
            )
        directions, second = recovery.neurons(blocks)
        r = self.unmix.shape[1]
        first = np.asarray(self.unmix) @ directions[:, :r].T
        return _variables(self, first, directions, second)


class NormAfterProgram(BlockProgram, kw_only=True):
    """Normalisation after the ReLU; parameters are [2, P, d + 1] (d without `shift`).

    Blocks of rank r_i use their first r_i coordinates, and the last for the shift.
    """

    unmix: Array  # [P, d, d], V_i S_i^{-1} and columns of zeros
    active: Any  # [P, n], bool
    centre: bool = struct.field(pytree_node=False)
    shift: bool = struct.field(pytree_node=False)

    def network(self) -> BatchNorm:
        """The Flax network of `recover`'s variables, whatever their width."""
        return BatchNorm("after", self.centre, self.shift)

    def recover(self, w: Array) -> dict[str, Any]:
        """Variables of a network with the same predictions and the same objective.

        Every non-zero block is a neuron; the statistics are those of the training data.

        Args:
          w: of the program's shape, feasible.
        """
        blocks = np.asarray(w)
        if blocks.shape != self.shape:
            raise ValueError(
                f"want params {list(self.shape)}; got {list(blocks.shape)}"
            )
        directions, second = recovery.neurons(blocks)
        pattern = np.tile(np.arange(blocks.shape[1]), 2)
        pattern = pattern[np.any(blocks.reshape(-1, blocks.shape[2]) != 0, axis=1)]
        X, d = np.asarray(self.X), self.X.shape[1]
        first = np.zeros((d, len(second)))
        for j, (i, q) in enumerate(zip(pattern, directions, strict=True)):
            u = np.asarray(self.unmix)[i] @ q[:d]
            first[:, j] = _completed(X, np.asarray(self.active)[i], u, self.centre)
        return _variables(self, first, directions, second)


def make_batch_norm(
    X: Any,
    y: Any,
    *,
    beta: float,
    order: str = "before",
    centre: bool = True,
    shift: bool = True,
    patterns: Patterns | None = None,
) -> NormBeforeProgram | NormAfterProgram:
    """Validates the data and builds the program; the loss is squared.

    Args:
      X: [n, d], real; integers are cast to float.
      y: [n].
      beta: > 0; the network's objective has beta/2 times the squares of scales, shifts
        and output weights.
      order: of normalisation and ReLU: "before" or "after" it.
      centre: whether the mean over the samples is subtracted.
      shift: whether a constant is added, a / sqrt(n) with a trained.
      patterns: of `whitened(X, centre=centre, shift=shift)` for "before", of X for
        "after". None: all, if there are few.

    Raises:
      ValueError: saying what arrived and what is wanted.
    """
    check_order(order)
    data = check_data(X)
    check_beta(beta)
    check_labels(y, data, losses.squared())
    if order == "after":
        return _after(data, y, beta, centre, shift, patterns)
    columns, unmix = _whitened(data, centre, shift)
    if columns.shape[1] == 0:
        raise ValueError("want X that is not constant, or shift; normalised X is zero")
    patterns = few_patterns(columns, patterns)
    plain = make_two_layer(columns, y, patterns, beta=beta)
    fields = {name: getattr(plain, name) for name in plain.__dataclass_fields__}
    return NormBeforeProgram(
        **fields,
        raw=jnp.asarray(data),
        unmix=jnp.asarray(unmix),
        centre=centre,
        shift=shift,
    )


def whitened(X: Any, *, centre: bool = True, shift: bool = True) -> np.ndarray:
    """U' = [U, 1 / sqrt(n)], [n, r + 1], whose patterns order "before" takes.

    Args:
      X: [n, d].
      centre, shift: as in `make_batch_norm`; without `shift` U alone, [n, r].
    """
    return _whitened(check_data(X), centre, shift)[0]


def orthogonal_optimum(y: Any, *, beta: float) -> float:
    """The optimum of order "before" if C X has rank n - 1, in closed form.

    The sum over y_+ = max(y, 0) and y_- = max(-y, 0) of
    1/2 ||y_s||^2 - 1/2 max(||y_s|| - beta, 0)^2: each is the fit of one neuron at most.

    Args:
      y: [n].
      beta: > 0.
    """
    labels, scale = np.asarray(y, np.float64), check_beta(beta)
    sizes = np.asarray([np.linalg.norm(np.maximum(s * labels, 0)) for s in (1, -1)])
    return float(np.sum(sizes**2 - np.maximum(sizes - scale, 0) ** 2) / 2)


def _whitened(
    X: np.ndarray, centre: bool, shift: bool
) -> tuple[np.ndarray, np.ndarray]:
    """U' and V S^{-1}."""
    columns, unmix, _ = _factors(_centred(X, centre))
    return _with_shift(columns, shift), unmix


def _centred(X: np.ndarray, centre: bool) -> np.ndarray:
    return X - X.mean(axis=0) if centre else X


def _factors(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U [n, r], V S^{-1} [d, r], and a basis [d, d - r] of the null space."""
    left, values, right = np.linalg.svd(matrix)
    rank = int(np.sum(values > _RANK * max(values[0], np.finfo(float).tiny)))
    return left[:, :rank], right[:rank].T / values[:rank], right[rank:].T


def _with_shift(columns: np.ndarray, shift: bool) -> np.ndarray:
    if not shift:
        return columns
    constant = np.full((len(columns), 1), len(columns) ** -0.5)
    return np.hstack([columns, constant]).astype(columns.dtype)


def _after(
    X: np.ndarray,
    y: Any,
    beta: float,
    centre: bool,
    shift: bool,
    patterns: Patterns | None,
) -> NormAfterProgram:
    n, d = X.shape
    patterns = few_patterns(X, patterns)
    masks, gates = check_patterns(patterns, X)
    width = d + int(shift)
    features = np.zeros((len(masks), n, width), X.dtype)
    unmix = np.zeros((len(masks), d, d), X.dtype)
    points = np.zeros((len(masks), width), X.dtype)
    rows = []
    for i, (mask, gate) in enumerate(zip(masks, gates, strict=True)):
        columns, mix, free = _factors(_centred(np.where(mask[:, None], X, 0), centre))
        r = columns.shape[1]
        features[i, :, :r], unmix[i, :, :r] = columns, mix
        signed = np.where(mask[:, None], X, -X)
        block = _eliminated(signed @ mix, signed @ free)
        rows.append(np.pad(block, ((0, 0), (0, width - r))))
        points[i, :r] = columns.T @ _centred(np.where(mask, X @ gate, 0), centre)
        if shift:
            features[i, :, d] = n**-0.5
    used = np.any(features != 0, axis=(1, 2))
    most = max(len(block) for block in rows)
    stacked = np.stack([np.pad(b, ((0, most - len(b)), (0, 0))) for b in rows])
    if shift:
        points[:, d] = 1  # free, and not zero where the rest is
    cones, kept = make_row_cones(stacked[used].astype(X.dtype), points[used])
    check_interiors(kept)
    chosen = np.flatnonzero(used)[kept]
    return NormAfterProgram(
        X=jnp.asarray(X),
        y=jnp.asarray(check_labels(y, X, losses.squared())),
        beta=jnp.asarray(check_beta(beta), X.dtype),
        loss=losses.squared(),
        regulariser=GroupNorm(),
        features=jnp.asarray(features[chosen]),
        cones=cones,
        signs=jnp.asarray([[1], [-1]], X.dtype),
        scope=patterns.scope,
        unmix=jnp.asarray(unmix[chosen]),
        active=jnp.asarray(masks[chosen]),
        centre=centre,
        shift=shift,
    )


def _eliminated(kept: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Rows R with R q >= 0 exactly if kept q + free z >= 0 for some z.

    By Farkas' lemma they are mu^T kept for the extreme rays of {mu >= 0, free^T mu =
    0}, whose supports are the minimally dependent sets of rows of `free`.

    Args:
      kept: [m, r].
      free: [m, k].

    Raises:
      ValueError: if there may be too many rays.
    """
    sizes = np.linalg.norm(free, axis=1)
    scale = np.max(np.linalg.norm(kept, axis=1), initial=0) + np.max(sizes, initial=0)
    bound = sizes > 1e-12 * scale
    rows = [kept[~bound]]
    inner = free[bound] / sizes[bound, None]
    m, k = inner.shape
    total = 0
    found: list[tuple[int, ...]] = []
    for count in range(2, k + 2):
        for chosen in itertools.combinations(range(m), count):
            total += 1
            if total > _MOST_ROWS:
                raise ValueError(
                    f"want patterns with more active samples; got one with {k} free "
                    f"directions and {m} inequalities on them, too many to eliminate"
                )
            if any(set(smaller) <= set(chosen) for smaller in found):
                continue
            ray = _positive_ray(inner[list(chosen)])
            if ray is None:
                continue
            found.append(chosen)
            weights = ray / sizes[bound][list(chosen)]
            rows.append((weights @ kept[bound][list(chosen)])[None])
    return np.vstack(rows)


def _positive_ray(rows: np.ndarray) -> np.ndarray | None:
    """mu > 0 with rows^T mu = 0, unique up to scale; None if there is none."""
    _, values, right = np.linalg.svd(rows.T)
    rank = int(np.sum(values > 1e-10 * values[0]))
    if rank != len(rows) - 1:
        return None
    ray = right[-1]
    ray = ray if ray.sum() > 0 else -ray
    return ray if np.all(ray > 1e-10) else None


def _completed(
    X: np.ndarray, mask: np.ndarray, u: np.ndarray, centre: bool
) -> np.ndarray:
    """u + z with C D X z = 0 and (2 D - I) X (u + z) >= 0, and ||z|| least.

    Source: Lawson & Hanson, Solving Least Squares Problems (1974), chapter 23 (LDP).
    """
    active = np.where(mask[:, None], X, 0)
    free = _factors(_centred(active, centre))[2]
    signed = np.where(mask[:, None], X, -X)
    short, moves = -signed @ u, signed @ free
    if free.shape[1] == 0 or np.all(short <= 0):
        return u
    size = np.max(np.abs(short))
    stack = np.vstack([moves.T, short / size])
    target = np.append(np.zeros(len(stack) - 1), 1.0)
    mu, _ = nnls(stack, target)
    residual = stack @ mu - target
    if abs(residual[-1]) < 1e-12:  # no z: u is outside the cone
        return u
    return u - size * (free @ (residual[:-1] / residual[-1]))


def _variables(
    program: Any, first: np.ndarray, directions: np.ndarray, second: np.ndarray
) -> dict[str, Any]:
    """Flax variables of `BatchNorm` with the statistics of the training data.

    Args:
      first: [d, m].
      directions: [m, r + 1], blocks over the root of their norms.
      second: [m].
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
        "second": {"kernel": jnp.asarray(second[:, None], dtype)},
    }
    if network.shift:
        params["shift"] = jnp.asarray(directions[:, -1], dtype)
    return {"params": params, "batch_stats": statistics_of(hidden, network.centre)}
