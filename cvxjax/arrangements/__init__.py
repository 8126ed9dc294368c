"""Activation patterns of ReLU networks: the cells of hyperplane arrangements."""

from cvxjax.arrangements.exact import enumerate_patterns
from cvxjax.arrangements.low_rank import LowRank, local_lipschitz, low_rank
from cvxjax.arrangements.patterns import Patterns, check_data, count_bound
from cvxjax.arrangements.sampled import from_gates, sample_patterns

__all__ = [
    "LowRank",
    "Patterns",
    "check_data",
    "count_bound",
    "enumerate_patterns",
    "from_gates",
    "local_lipschitz",
    "low_rank",
    "sample_patterns",
]
