"""Pooled convolutional programs as the certificate reads them: NumPy, no solver."""

from __future__ import annotations

import dataclasses

import numpy as np

from cvxjax.judges.blocks import BlockJudge
from cvxjax.judges.sign_cones import every_neuron_bound, every_neuron_is_covered


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledJudge(BlockJudge):
    """Blocks that are filters, which have bounds over those that are not listed."""

    neurons: np.ndarray  # [n K, h]: a filter predicts sums of (rows u)_+ over K rows

    def covers_every_neuron(self) -> bool:
        """Whether `network_bound` is exact: rank <= 3 of all patches together."""
        return every_neuron_is_covered(self.neurons)

    def network_bound(self, v: np.ndarray) -> float:
        """An upper bound of max |v^T f(u)| over all filters ||u|| <= 1.

        Args:
          v: [n].
        """
        patches = len(self.neurons) // len(v)
        return every_neuron_bound(self.neurons, np.repeat(v, patches))
