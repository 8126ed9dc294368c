"""Solvers that see a minibatch at each step."""
