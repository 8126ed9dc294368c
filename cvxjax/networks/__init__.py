"""Flax networks, the non-convex twins of the programs, and their training."""

from cvxjax.networks.batch_norm import BatchNorm
from cvxjax.networks.convolutional import (
    Convolutional,
    ImageConvolutional,
    image_variables,
)
from cvxjax.networks.polynomial import Polynomial
from cvxjax.networks.training import (
    TrainingResult,
    half_squared_norm,
    train,
    weight_decay_objective,
)
from cvxjax.networks.two_layer import GatedTwoLayer, TwoLayer
from cvxjax.networks.vector_output import GatedVectorOutput, VectorOutput

__all__ = [
    "BatchNorm",
    "Convolutional",
    "GatedTwoLayer",
    "GatedVectorOutput",
    "ImageConvolutional",
    "Polynomial",
    "TrainingResult",
    "TwoLayer",
    "VectorOutput",
    "half_squared_norm",
    "image_variables",
    "train",
    "weight_decay_objective",
]
