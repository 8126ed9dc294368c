"""The judge of `forms.sums`: filters whose predictions are summed over patches."""

from __future__ import annotations

import dataclasses

import numpy as np

from cvxjax.judges.blocks import BlockJudge
from cvxjax.judges.relu import ReluJudge


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledJudge(ReluJudge, BlockJudge):
    """A `BlockJudge` that also has bounds over filters of all patterns."""

    neurons: np.ndarray  # [n K, h]: a filter predicts sums of (rows u)_+ over K rows

    def neuron_rows(self) -> np.ndarray:
        """The rows that a filter is applied to, K of each sample."""
        return self.neurons
