"""Solvers that look for patterns themselves."""
