"""One theorem per file: the record, its constructor, its recovery."""

from cvxjax.programs.two_layer import TwoLayerProgram, make_two_layer

REGISTRY = {"two_layer": make_two_layer}
"""Stem of an architecture (its file in programs/ and networks/) to its constructor."""

__all__ = ["REGISTRY", "TwoLayerProgram", "make_two_layer"]
