"""Data sets: drawn here, bundled with a dependency, given as files or downloaded.

Every loader returns float64 NumPy arrays, but those of images return bytes.
"""

from cvxjax.data import batches, download, images, signals, synthetic, tables

__all__ = ["batches", "download", "images", "signals", "synthetic", "tables"]
