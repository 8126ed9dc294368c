"""beta by cross-validation, along a path of warm starts in each fold."""

from __future__ import annotations

import copy
import time
from typing import Any, Self

import joblib
import numpy as np
from sklearn.base import is_classifier
from sklearn.metrics import check_scoring
from sklearn.model_selection import KFold, StratifiedKFold, check_cv
from sklearn.utils import _safe_indexing, indexable

from cvxjax.estimators.base import ReLUEstimator
from cvxjax.estimators.samples import check_weights, merged

_LEAST = 1e-3  # of beta_max: the smallest beta of a grid
_ROUGH = 1e-2  # relative gap in folds, if the tolerance is not larger
_FOLDS = 0.8  # of the time


class CrossValidated(ReLUEstimator):
    """Chooses beta, then trains with all samples."""

    betas: Any
    cv: Any
    one_standard_error: bool
    scoring: Any
    n_jobs: int | None

    def _grid(self) -> np.ndarray:
        """The betas that are tried, descending."""
        if isinstance(self.betas, int | np.integer):
            if self.betas < 1:
                raise ValueError(f"want betas, at least one; got {self.betas}")
            if not self.relative_beta:
                raise ValueError(
                    "want betas, the numbers themselves, where relative_beta is False; "
                    f"got {self.betas} as their count"
                )
            # At one, zero is optimal.
            return np.geomspace(1, _LEAST, self.betas + 1)[1:]
        betas = np.unique(np.asarray(self.betas, float))[::-1]
        if betas.ndim != 1 or betas.size == 0 or not np.all(np.isfinite(betas)):
            raise ValueError(f"want betas, numbers > 0; got {self.betas!r}")
        if np.any(betas <= 0):
            raise ValueError(f"want betas > 0; got {betas.min():g}")
        return betas

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Chooses beta, and trains the network with it.

        Args:
          X: [n, d], numbers.
          y: labels, as the class says.
          sample_weight: [n], >= 0; default ones. Folds are scored with them as well.

        Raises:
          ValueError: a parameter or the data are not as wanted.
        """
        began = time.monotonic()
        betas = self._grid()
        prepared = self._prepared(X, y, sample_weight)
        X, y, sample_weight = indexable(X, y, sample_weight)
        folds: Any = self.cv
        if folds is None or isinstance(folds, int | np.integer):
            X, y, sample_weight = self._distinct(X, y, sample_weight)
            kind = StratifiedKFold if is_classifier(self) else KFold
            seed = prepared[0].task.seed
            count = 5 if folds is None else int(folds)
            folds = kind(count, shuffle=True, random_state=seed)
        splitter: Any = check_cv(folds, y, classifier=is_classifier(self))
        splits = list(splitter.split(X, y))
        limit = self.time_limit
        share = None if limit is None else _FOLDS * limit / len(splits)
        scorer = check_scoring(self, scoring=self.scoring)
        scores = joblib.Parallel(n_jobs=self.n_jobs)(
            joblib.delayed(_scores)(
                self, X, y, sample_weight, betas, split, share, scorer
            )
            for split in splits
        )
        self.path_ = _summary(betas, np.asarray(scores))
        chosen = _chosen(self.path_, one_standard_error=self.one_standard_error)
        self.best_beta_ = float(betas[chosen])
        left = None if limit is None else max(1.0, began + limit - time.monotonic())
        (parts,) = self._path(prepared, [self.best_beta_], left)
        return self._keep(parts, prepared)

    def _distinct(self, X: Any, y: Any, sample_weight: Any) -> tuple[np.ndarray, ...]:
        """Distinct samples and their weights, so that none is in two folds."""
        X, y = self._checked(X), np.asarray(y)
        weights = check_weights(sample_weight, len(X))
        if not is_classifier(self):
            return merged(X, y.astype(float), weights)
        classes, codes = np.unique(y, return_inverse=True)
        X, codes, weights = merged(X, codes, weights)
        return X, classes[codes.astype(int)], weights


def _scores(
    estimator: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    betas: np.ndarray,
    split: tuple[np.ndarray, np.ndarray],
    time_limit: float | None,
    scorer: Any,
) -> np.ndarray:
    """The scores of one fold, [k]; NaN where the time did not suffice."""
    model = copy.copy(estimator)
    model.tol = max(model.tol, _ROUGH)

    def part(of: Any, rows: np.ndarray) -> Any:
        return None if of is None else _safe_indexing(of, rows)

    train, test = split
    weights = None if sample_weight is None else np.asarray(sample_weight)
    prepared = model._prepared(part(X, train), part(y, train), part(weights, train))
    scores = np.full(len(betas), np.nan)
    path = model._path(prepared, betas, time_limit, certify=False)
    options = {}
    if weights is not None and np.ptp(weights) > 0:  # not every score takes weights
        options["sample_weight"] = weights[test]
    for k, parts in enumerate(path):
        model._keep(parts, prepared)
        scores[k] = scorer(model, part(X, test), part(y, test), **options)
    return scores


def _summary(betas: np.ndarray, scores: np.ndarray) -> dict[str, np.ndarray]:
    """Means and standard errors over folds; NaN where a fold has no score."""
    folds = len(scores)
    error = np.full(len(betas), np.nan)
    if folds > 1:
        error = np.std(scores, axis=0, ddof=1) / np.sqrt(folds)
    return {
        "betas": betas,
        "scores": scores,
        "mean_score": np.mean(scores, axis=0),
        "standard_error": error,
    }


def _chosen(path: dict[str, np.ndarray], *, one_standard_error: bool) -> int:
    """Which beta: that of the best mean score, or a larger one that is as good."""
    means = np.where(np.isnan(path["mean_score"]), -np.inf, path["mean_score"])
    best = int(np.argmax(means))
    if not one_standard_error:
        return best
    allowed = means[best] - np.nan_to_num(path["standard_error"][best])
    return int(np.argmax(means >= allowed))  # betas descend
