"""Estimators of scikit-learn that train two-layer ReLU networks by convex programs."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cvxjax.estimators.classifier import ReLUClassifier, ReLUClassifierCV
    from cvxjax.estimators.regressor import ReLURegressor, ReLURegressorCV

__all__ = [
    "ReLUClassifier",
    "ReLUClassifierCV",
    "ReLURegressor",
    "ReLURegressorCV",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:  # scikit-learn is imported when one is asked for
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    where = "regressor" if "Regressor" in name else "classifier"
    return getattr(importlib.import_module(f"{__name__}.{where}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
