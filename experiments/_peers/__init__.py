"""Other packages, and cvxjax, behind one protocol: one process and one file for each.

Adapters and the worker import NumPy and the package they adapt, so that they run in
environments without JAX.
"""
