"""Networks as convex programs: in each file one theorem, its record and constructor."""

from cvxjax.programs.batch_norm import (
    NormAfterProgram,
    NormBeforeProgram,
    NormBeforeVectorProgram,
    make_batch_norm,
    orthogonal_optimum,
    whitened,
)
from cvxjax.programs.convolutional import ConvolutionalProgram, make_convolutional
from cvxjax.programs.polynomial import PolynomialProgram, make_polynomial
from cvxjax.programs.quantized import QuantizedProgram, make_quantized
from cvxjax.programs.two_layer import TwoLayerProgram, make_two_layer
from cvxjax.programs.vector_output import (
    GatedVectorProgram,
    VectorOutputProgram,
    make_vector_output,
    whitened_optimum,
)

REGISTRY = {
    "batch_norm": make_batch_norm,
    "convolutional": make_convolutional,
    "polynomial": make_polynomial,
    "quantized": make_quantized,
    "two_layer": make_two_layer,
    "vector_output": make_vector_output,
}
"""Constructors by the name of the architecture, that of its files."""

__all__ = [
    "REGISTRY",
    "ConvolutionalProgram",
    "GatedVectorProgram",
    "NormAfterProgram",
    "NormBeforeProgram",
    "NormBeforeVectorProgram",
    "PolynomialProgram",
    "QuantizedProgram",
    "TwoLayerProgram",
    "VectorOutputProgram",
    "make_batch_norm",
    "make_convolutional",
    "make_polynomial",
    "make_quantized",
    "make_two_layer",
    "make_vector_output",
    "orthogonal_optimum",
    "whitened",
    "whitened_optimum",
]
