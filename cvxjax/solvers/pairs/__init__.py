"""Solvers of programs over pairs of positive semidefinite matrices."""
