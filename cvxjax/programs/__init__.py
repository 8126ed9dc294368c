"""One theorem per file: the record, its constructor, its recovery."""

from cvxjax.programs.batch_norm import (
    NormAfterProgram,
    NormBeforeProgram,
    make_batch_norm,
    orthogonal_optimum,
    whitened,
)
from cvxjax.programs.convolutional import ConvolutionalProgram, make_convolutional
from cvxjax.programs.two_layer import TwoLayerProgram, make_two_layer

REGISTRY = {
    "batch_norm": make_batch_norm,
    "convolutional": make_convolutional,
    "two_layer": make_two_layer,
}
"""Stem of an architecture (its file in programs/ and networks/) to its constructor."""

__all__ = [
    "REGISTRY",
    "ConvolutionalProgram",
    "NormAfterProgram",
    "NormBeforeProgram",
    "TwoLayerProgram",
    "make_batch_norm",
    "make_convolutional",
    "make_two_layer",
    "orthogonal_optimum",
    "whitened",
]
