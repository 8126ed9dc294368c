"""Classification by two-layer ReLU networks: `ReLUClassifier`."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy
from sklearn.base import ClassifierMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets

import cvxjax as cj
from cvxjax.estimators.base import Prepared, ReLUEstimator
from cvxjax.estimators.cross_validation import CrossValidated
from cvxjax.estimators.samples import check_weights

_LARGE = 500_000  # rows x features x classes, beyond which "auto" is softmax
_LOSSES = "logistic", "hinge", "squared_hinge", "squared"


class ReLUClassifier(ClassifierMixin, ReLUEstimator):
    """The best two-layer ReLU network for classes, with a bound of the optimum.

        minimise  sum_i s_i L(f(x_i) + c, y_i) + beta/2 (||W1||^2 + ||W2||^2)

    over all widths, as in `ReLURegressor`.

    Two classes have one output, and labels y_i = -1 and +1. More have an output each:
    one network a class that tells it from the others, side by side, or one network of
    the softmax loss.

    Args:
      beta: as in `ReLURegressor`.
      loss: "logistic", "hinge", "squared_hinge" or "squared".
      multi_class: of three classes or more: "ovr", one against the rest, or "softmax",
        for which `loss` must be "logistic"; its certificate is for the constants c
        found, and looser. "auto" is softmax for the logistic loss of large data, on
        which a network for each class takes minutes.
      class_weight: None, "balanced", or weights by class, by which those of samples
        are multiplied; beta is of the least one for weights without them.

      The others are those of `ReLURegressor`.

    Attributes:
      classes_: labels, sorted.
      multi_class_: "ovr" or "softmax".
      certificates_: of the networks that are put side by side, one for each class.

      The others are those of `ReLURegressor`; `beta_` has an entry for each network.
    """

    def __init__(
        self,
        beta: float = 0.05,
        *,
        loss: str = "logistic",
        multi_class: str = "auto",
        class_weight: Any = None,
        relative_beta: bool = True,
        fit_intercept: bool = True,
        hidden_bias: bool = True,
        standardize: bool = True,
        gated: bool = False,
        patterns: int | str | None = None,
        solver: Any = None,
        max_neurons: int | None = None,
        tol: float = 1e-3,
        time_limit: float | None = 30.0,
        dtype: str = "float64",
        random_state: Any = 0,
        verbose: Any = False,
    ) -> None:
        super().__init__(
            beta,
            relative_beta=relative_beta,
            fit_intercept=fit_intercept,
            hidden_bias=hidden_bias,
            standardize=standardize,
            gated=gated,
            patterns=patterns,
            solver=solver,
            max_neurons=max_neurons,
            tol=tol,
            time_limit=time_limit,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.loss = loss
        self.multi_class = multi_class
        self.class_weight = class_weight

    def _check_loss(self) -> None:
        """ValueError for a loss that there is not, or one that does not fit."""
        if self.loss not in _LOSSES:
            raise ValueError(
                f"want loss, one of {', '.join(_LOSSES)}; got {self.loss!r}"
            )
        if self.multi_class not in ("auto", "ovr", "softmax"):
            raise ValueError(
                f"want multi_class auto, ovr or softmax; got {self.multi_class!r}"
            )
        if self.multi_class == "softmax" and self.loss != "logistic":
            raise ValueError(f"want loss logistic with softmax; got {self.loss!r}")

    def _prepared(self, X: Any, y: Any, sample_weight: Any) -> list[Prepared]:
        self._check_parameters()
        self._check_loss()
        X, y = self._checked_both(X, y)
        check_classification_targets(y)
        weights, counts = check_weights(sample_weight, len(X)), None
        self.classes_, codes = np.unique(y, return_inverse=True)
        if self.class_weight is not None:
            counts = weights
            weights = weights * compute_sample_weight(self.class_weight, y)
        count = len(np.unique(codes[weights > 0]))
        if count < 2:
            raise ValueError(f"want two classes or more; got {count} class in y")
        if count < len(self.classes_):
            raise ValueError(
                f"want samples of weight > 0 of each of {len(self.classes_)} classes; "
                f"got those of {count}"
            )
        self._scale(X, weights if counts is None else counts)
        one_hot = np.eye(len(self.classes_))[codes]
        if len(self.classes_) == 2:
            one_hot = one_hot[:, 1:]
        self.multi_class_ = self._kind(X.size * len(self.classes_))
        if len(self.classes_) > 2 and self.multi_class_ == "softmax":
            return [self._task(X, one_hot, weights, cj.losses.softmax(), counts)]
        loss = getattr(cj.losses, self.loss)()
        return [self._task(X, 2 * hot - 1, weights, loss, counts) for hot in one_hot.T]

    def _kind(self, size: int) -> str:
        """How classes are told apart; `size` is of the data of all networks."""
        if self.multi_class != "auto":
            return self.multi_class
        large = size > _LARGE and self.loss == "logistic" and not self.gated
        return "softmax" if large else "ovr"

    def decision_function(self, X: Any) -> np.ndarray:
        """The network's outputs: [n] for two classes, else [n, classes].

        Args:
          X: [n, d].
        """
        outputs = self._outputs(X)
        return outputs[:, 0] if len(self.classes_) == 2 else outputs

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest class of each sample, [n].

        Args:
          X: [n, d].
        """
        scores = self.decision_function(X)
        which = (scores > 0).astype(int) if scores.ndim == 1 else scores.argmax(axis=1)
        return self.classes_[which]

    def _has_probabilities(self) -> bool:
        if self.loss != "logistic":
            raise AttributeError(
                f"probabilities come with the logistic loss; this one is {self.loss}"
            )
        return True

    @available_if(_has_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """Probabilities of the classes, [n, classes].

        One against the rest: those of the networks, divided by their sum.

        Args:
          X: [n, d].
        """
        scores = self.decision_function(X)
        if scores.ndim == 1:
            return scipy.special.expit(np.column_stack([-scores, scores]))
        if self.multi_class_ == "softmax":
            return scipy.special.softmax(scores, axis=1)
        logs = scipy.special.log_expit(scores)
        return scipy.special.softmax(logs, axis=1)

    @available_if(_has_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of `predict_proba`."""
        return np.log(self.predict_proba(X))


class ReLUClassifierCV(CrossValidated, ReLUClassifier):
    """`ReLUClassifier` whose beta is chosen by cross-validation.

    Args:
      betas, cv, one_standard_error, n_jobs: as in `ReLURegressorCV`; folds keep the
        share of each class.
      scoring: as scikit-learn takes it; default accuracy.

      The others are those of `ReLUClassifier`; `time_limit` is for everything.

    Attributes:
      best_beta_, path_: as in `ReLURegressorCV`.

      The others are those of `ReLUClassifier`.
    """

    def __init__(
        self,
        betas: Any = 10,
        *,
        cv: Any = None,
        one_standard_error: bool = False,
        scoring: Any = None,
        n_jobs: int | None = None,
        loss: str = "logistic",
        multi_class: str = "auto",
        class_weight: Any = None,
        relative_beta: bool = True,
        fit_intercept: bool = True,
        hidden_bias: bool = True,
        standardize: bool = True,
        gated: bool = False,
        patterns: int | str | None = None,
        solver: Any = None,
        max_neurons: int | None = None,
        tol: float = 1e-3,
        time_limit: float | None = 60.0,
        dtype: str = "float64",
        random_state: Any = 0,
        verbose: Any = False,
    ) -> None:
        self.betas = betas
        self.cv = cv
        self.one_standard_error = one_standard_error
        self.scoring = scoring
        self.n_jobs = n_jobs
        super().__init__(
            loss=loss,
            multi_class=multi_class,
            class_weight=class_weight,
            relative_beta=relative_beta,
            fit_intercept=fit_intercept,
            hidden_bias=hidden_bias,
            standardize=standardize,
            gated=gated,
            patterns=patterns,
            solver=solver,
            max_neurons=max_neurons,
            tol=tol,
            time_limit=time_limit,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
