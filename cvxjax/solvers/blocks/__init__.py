"""Solvers of programs whose parameters are blocks, one for each pattern and sign."""
