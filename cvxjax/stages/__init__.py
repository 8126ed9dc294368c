"""Sequences of programs: networks that are trained part by part."""

from cvxjax.stages.sequence import Solved, solve_stages

__all__ = ["Solved", "solve_stages"]
