"""What every solver gets: arrays, beta, and whether there are cones. NumPy only."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class Problem:
    """Two-layer training by squared loss over given activation patterns.

        minimise  1/2 ||sum_i D_i X (v_i - w_i) - y||^2 + beta sum_i (||v_i|| + ||w_i||)
        subject to  (2 D_i - I) X v_i >= 0,  (2 D_i - I) X w_i >= 0    (unless gated)

    Answers are [2, P, d], v first and w second.
    """

    X: np.ndarray  # [n, d], float64
    y: np.ndarray  # [n], float64
    masks: np.ndarray  # [P, n], bool
    gates: np.ndarray  # [P, d], float64; masks are 1[X g >= 0]
    beta: float  # > 0
    gated: bool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Of an answer."""
        return (2, len(self.masks), self.X.shape[1])

    def largest_correlation(self) -> float:
        """max_i ||X^T D_i y||: the zero network is optimal from this beta on.

        With cones it is so from a smaller beta on already.
        """
        return float(np.linalg.norm((self.masks * self.y) @ self.X, axis=1).max())

    def write(self, path: Path) -> None:
        """As .npz."""
        np.savez(path, **dataclasses.asdict(self))

    @classmethod
    def read(cls, path: Path) -> Problem:
        """What `write` wrote."""
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        beta, gated = float(arrays.pop("beta")), bool(arrays.pop("gated"))
        return cls(**arrays, beta=beta, gated=gated)
