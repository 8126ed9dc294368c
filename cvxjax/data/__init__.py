"""Data sets: drawn here, bundled with a dependency, given as files or downloaded.

Every loader returns float64 NumPy arrays.
"""

from cvxjax.data import download, signals, synthetic, tables

__all__ = ["download", "signals", "synthetic", "tables"]
