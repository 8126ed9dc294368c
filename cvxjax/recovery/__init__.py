"""Networks from solutions: from blocks, gated blocks, PSD pairs, and sign matrices."""

from cvxjax.recovery.from_blocks import (
    balance,
    blocks_of,
    independent,
    merge,
    minimal,
    neurons,
    prune,
    split,
    two_layer_neurons,
    two_layer_variables,
)

__all__ = [
    "balance",
    "blocks_of",
    "independent",
    "merge",
    "minimal",
    "neurons",
    "prune",
    "split",
    "two_layer_neurons",
    "two_layer_variables",
]
