"""Judges, one for each form: float64 NumPy apart from solvers and JAX."""
