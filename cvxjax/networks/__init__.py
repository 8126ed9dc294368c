"""Flax networks, the non-convex twins of the programs, and their training."""

from cvxjax.networks.training import (
    TrainingResult,
    half_squared_norm,
    train,
    weight_decay_objective,
)
from cvxjax.networks.two_layer import GatedTwoLayer, TwoLayer

__all__ = [
    "GatedTwoLayer",
    "TrainingResult",
    "TwoLayer",
    "half_squared_norm",
    "train",
    "weight_decay_objective",
]
