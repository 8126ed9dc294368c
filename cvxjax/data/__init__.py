"""Data sets: drawn here, bundled with a dependency, given as files or downloaded.

Loaders return float64 NumPy arrays, except those of images, which return bytes. Modules
are imported when they are first used, and scikit-learn with them.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvxjax.data import batches, download, images, signals, synthetic, tables

__all__ = ["batches", "download", "images", "signals", "synthetic", "tables"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return importlib.import_module(f"{__name__}.{name}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
