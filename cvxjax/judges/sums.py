"""The judge of `forms.sums`: filters whose predictions are summed over patches."""

from __future__ import annotations

import dataclasses

import numpy as np

from cvxjax.bounds.exact import is_exact
from cvxjax.judges.blocks import BlockJudge
from cvxjax.judges.sign_cones import every_neuron_bound


@dataclasses.dataclass(frozen=True, kw_only=True)
class PooledJudge(BlockJudge):
    """A `BlockJudge` that also has bounds over filters of all patterns."""

    neurons: np.ndarray  # [n K, h]: a filter predicts sums of (rows u)_+ over K rows

    def covers_every_neuron(self) -> bool:
        return is_exact(self.neurons)

    def network_bound(self, v: np.ndarray) -> float:
        patches = len(self.neurons) // len(v)
        return every_neuron_bound(self.neurons, np.repeat(v, patches))
