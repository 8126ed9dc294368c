"""All of scikit-learn's own checks: minutes for each estimator."""

from __future__ import annotations

import warnings

import pytest
from sklearn.utils.estimator_checks import check_estimator

from cvxjax.estimators import (
    ReLUClassifier,
    ReLUClassifierCV,
    ReLURegressor,
    ReLURegressorCV,
)

ESTIMATORS = [
    ReLURegressor(),
    ReLUClassifier(),
    ReLURegressorCV(betas=2, cv=2, time_limit=None),
    ReLUClassifierCV(betas=2, cv=2, time_limit=None),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
def test_check_estimator(estimator):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = check_estimator(estimator, on_skip=None, on_fail=None)
    failed = {one["check_name"]: one["exception"] for one in found if one["exception"]}
    assert not {k: e for k, e in failed.items() if "Skip" not in type(e).__name__}
    assert sum(one["status"] == "passed" for one in found) > 50
