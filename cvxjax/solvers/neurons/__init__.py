"""Solvers of programs whose parameters are neurons."""
