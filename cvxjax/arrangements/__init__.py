"""Activation patterns of ReLU networks: the cells of hyperplane arrangements."""

from cvxjax.arrangements.convolutional import (
    circular_patches,
    extract_patches,
    filter_gates,
    max_pool_rows,
    stack_patches,
)
from cvxjax.arrangements.default import default_patterns
from cvxjax.arrangements.exact import enumerate_patterns, few_patterns
from cvxjax.arrangements.from_network import from_network
from cvxjax.arrangements.low_rank import LowRank, local_lipschitz, low_rank
from cvxjax.arrangements.patterns import Patterns, check_data, count_bound
from cvxjax.arrangements.sampled import from_gates, sample_patterns

__all__ = [
    "LowRank",
    "Patterns",
    "check_data",
    "circular_patches",
    "count_bound",
    "default_patterns",
    "enumerate_patterns",
    "extract_patches",
    "few_patterns",
    "filter_gates",
    "from_gates",
    "from_network",
    "local_lipschitz",
    "low_rank",
    "max_pool_rows",
    "sample_patterns",
    "stack_patches",
]
