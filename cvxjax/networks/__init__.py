"""Flax networks, whose training the programs make convex, and reference training."""

from cvxjax.networks.batch_norm import BatchNorm
from cvxjax.networks.convolutional import (
    Convolutional,
    ImageConvolutional,
    image_variables,
)
from cvxjax.networks.polynomial import Polynomial
from cvxjax.networks.quantized import (
    Packed,
    Quantized,
    apply_packed,
    pack,
    quantized_variables,
    round_signs,
    unpack,
)
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
    "Packed",
    "Polynomial",
    "Quantized",
    "TrainingResult",
    "TwoLayer",
    "VectorOutput",
    "apply_packed",
    "half_squared_norm",
    "image_variables",
    "pack",
    "quantized_variables",
    "round_signs",
    "train",
    "unpack",
    "weight_decay_objective",
]
