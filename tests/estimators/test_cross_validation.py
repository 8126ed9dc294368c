"""beta by cross-validation."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import KFold

from cvxjax.estimators import ReLUClassifierCV, ReLURegressor, ReLURegressorCV
from cvxjax.estimators.cross_validation import _chosen, _summary
from tests.estimators.test_estimators import table


@pytest.fixture(scope="module")
def chosen():
    X, y = table(60)
    return ReLURegressorCV(
        betas=[0.9, 0.1, 0.01], cv=KFold(3), tol=1e-3, time_limit=None
    ).fit(X, y)


def test_scores_are_those_of_the_folds(chosen):
    X, y = table(60)
    path = chosen.path_
    assert list(path["betas"]) == [0.9, 0.1, 0.01]
    assert path["scores"].shape == (3, 3)
    test = np.arange(20)  # folds of KFold are not shuffled
    train = np.arange(20, 60)
    model = ReLURegressor(beta=0.1, tol=1e-2, time_limit=None).fit(X[train], y[train])
    score = model.score(X[test], y[test])
    assert path["scores"][0, 1] == pytest.approx(score, abs=0.02)
    best = int(np.argmax(path["mean_score"]))
    assert chosen.best_beta_ == path["betas"][best] < 0.9
    again = ReLURegressor(beta=chosen.best_beta_, tol=1e-3, time_limit=None).fit(X, y)
    np.testing.assert_allclose(again.predict(X), chosen.predict(X), rtol=1e-9)


def test_the_rule_of_one_standard_error():
    scores = np.array([[0.1, 0.78, 0.8], [0.2, 0.88, 0.9], [0.1, 0.7, 0.7]])
    path = _summary(np.array([0.9, 0.1, 0.01]), scores)
    assert _chosen(path, one_standard_error=False) == 2
    assert _chosen(path, one_standard_error=True) == 1
    scores[1, 2] = np.nan  # no time was left in a fold
    assert _chosen(_summary(path["betas"], scores), one_standard_error=False) == 1


def test_classes():
    X, y = table(60, seed=1)
    labels = np.where(y > np.median(y), "dear", "cheap")
    model = ReLUClassifierCV(betas=2, cv=2, tol=1e-2, scoring="neg_log_loss")
    model.set_params(time_limit=None)
    model.fit(X, labels, sample_weight=np.linspace(0.5, 2, 60))
    assert model.path_["betas"] == pytest.approx([1e-3**0.5, 1e-3])
    assert np.all(model.path_["scores"] < 0)
    assert model.score(X, labels) > 0.8


def test_repeated_samples_are_in_one_fold():
    X, y = table(20)
    weighted = ReLURegressorCV(betas=[0.5, 0.1], cv=2, tol=1e-2, time_limit=None)
    weighted.fit(X, y, sample_weight=np.full(20, 3.0))
    repeated = clone(weighted).fit(np.tile(X, (3, 1)), np.tile(y, 3))
    np.testing.assert_array_equal(weighted.path_["scores"], repeated.path_["scores"])
    assert weighted.best_beta_ == repeated.best_beta_


@pytest.mark.parametrize(
    ("betas", "message"),
    [
        (0, "want betas, at least one; got 0"),
        ([], "want betas, numbers > 0"),
        ([0.1, -1], "want betas > 0; got -1"),
    ],
)
def test_grids_that_are_refused(betas, message):
    X, y = table()
    with pytest.raises(ValueError, match=message):
        ReLURegressorCV(betas=betas).fit(X, y)
    with pytest.raises(ValueError, match="where relative_beta is False"):
        ReLURegressorCV(betas=3, relative_beta=False).fit(X, y)
