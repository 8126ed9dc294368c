"""Estimators of scikit-learn that train two-layer ReLU networks by convex programs."""

from cvxjax.estimators.classifier import ReLUClassifier, ReLUClassifierCV
from cvxjax.estimators.regressor import ReLURegressor, ReLURegressorCV

__all__ = [
    "ReLUClassifier",
    "ReLUClassifierCV",
    "ReLURegressor",
    "ReLURegressorCV",
]
