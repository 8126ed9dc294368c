"""Regression by two-layer ReLU networks: `ReLURegressor`."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import MultiOutputMixin, RegressorMixin

import cvxjax as cj
from cvxjax.estimators.base import Prepared, ReLUEstimator
from cvxjax.estimators.cross_validation import CrossValidated
from cvxjax.estimators.samples import check_weights

_LOSSES = "squared", "huber", "pinball"


class ReLURegressor(MultiOutputMixin, RegressorMixin, ReLUEstimator):
    """The best two-layer ReLU network for real labels, with a bound of the optimum.

        minimise  sum_i s_i L(f(x_i) + c, y_i) + beta/2 (||W1||^2 + ||W2||^2)

    over all widths, as a convex program over all activation patterns. x_i are
    standardised features and a one, f(x) = (x W1)_+ W2, s_i are sample weights.

    Args:
      beta: weight decay, of the least one for which the zero network is optimal.
      loss: "squared", 1/2 (z - y)^2; "huber" with `delta`; or "pinball", which predicts
        the `quantile` of y. Several outputs take the squared loss.
      quantile: in (0, 1).
      delta: of the Huber loss, in units of y.
      relative_beta: False: beta is the number in the objective above.
      fit_intercept: c is free, without weight decay: the mean of y for the squared
        loss, else found by the program. False: c = 0.
      hidden_bias: append ones to the features, so that each neuron has a bias, which
        decays like its other weights.
      standardize: give features mean 0 and standard deviation 1.
      gated: a gated ReLU network on 1,000 random gates; faster, but another model.
      patterns: activation patterns: None, those that the solver finds; a number, that
        many random ones, or gates; "all", every one of them.
      solver: of `cvxjax.solvers`; default one that fits.
      max_neurons: keep that many of the largest neurons; the certificate then says
        what it costs.
      tol: relative duality gap to reach.
      time_limit: seconds; the best network so far is kept, with a ConvergenceWarning.
      dtype: "float64" or "float32", of the training.
      random_state: of the search for patterns; the same number, the same network.
      verbose: print where the solver stands, once a second; or a function that takes
        this: the iteration, the objective, its lower bound and the gap.

    Attributes:
      network_, variables_: the Flax network, for `network_input(X)`; `intercept_` is
        then added to its outputs.
      intercept_: [c], c above.
      programs_, solutions_: what was solved, one for each network that is put side by
        side, with arrays of NumPy.
      certificate_: bounds of the optimum; its scope says over which networks.
      n_neurons_: the width.
      beta_, beta_max_: weight decay, and the least for which zero is optimal, [1].
      n_features_in_, feature_names_in_: as scikit-learn has them.
    """

    def __init__(
        self,
        beta: float = 0.05,
        *,
        loss: str = "squared",
        quantile: float = 0.5,
        delta: float = 1.0,
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
        self.quantile = quantile
        self.delta = delta

    def _made_loss(self) -> Any:
        """The loss, without sample weights."""
        if self.loss == "pinball":
            return cj.losses.pinball(self.quantile)
        if self.loss == "huber":
            return cj.losses.huber(self.delta)
        if self.loss == "squared":
            return cj.losses.squared()
        raise ValueError(f"want loss, one of {', '.join(_LOSSES)}; got {self.loss!r}")

    def _check_loss(self) -> None:
        """ValueError for a loss that there is not."""
        self._made_loss()

    def _prepared(self, X: Any, y: Any, sample_weight: Any) -> list[Prepared]:
        self._check_parameters()
        loss = self._made_loss()
        X, y = self._checked_both(X, y, multi_output=True, y_numeric=True)
        y = np.asarray(y, float)
        weights = check_weights(sample_weight, len(X))
        self._column = y.ndim == 2
        if self._column and y.shape[1] == 1:
            y = y[:, 0]
        if y.ndim == 2 and self.loss != "squared":
            raise ValueError(
                f"want y [n] for the {self.loss} loss; got {list(y.shape)} (several "
                "outputs take the squared loss)"
            )
        self._scale(X, weights)
        return [self._task(X, y, weights, loss)]

    def predict(self, X: Any) -> np.ndarray:
        """The network's outputs, [n] or [n, c] as y was.

        Args:
          X: [n, d].
        """
        outputs = self._outputs(X)
        return outputs if self._column else outputs[:, 0]


class ReLURegressorCV(CrossValidated, ReLURegressor):
    """`ReLURegressor` whose beta is chosen by cross-validation.

    Args:
      betas: how many, from beta_max down to a thousandth of it, or the numbers
        themselves, as `ReLURegressor` takes them.
      cv: how many folds, of distinct samples in random order, default 5; or folds as
        `sklearn.model_selection.check_cv` takes them.
      one_standard_error: take the largest beta whose mean score is within one standard
        error of the best, and so a simpler network.
      scoring: as scikit-learn takes it; default R^2.
      n_jobs: folds at a time.

      The others are those of `ReLURegressor`; `time_limit` is for everything.

    Attributes:
      best_beta_: the chosen one of `path_["betas"]`.
      path_: arrays by name: betas [k], scores [folds, k], mean_score and
        standard_error [k].

      The others are those of `ReLURegressor`.
    """

    def __init__(
        self,
        betas: Any = 10,
        *,
        cv: Any = None,
        one_standard_error: bool = False,
        scoring: Any = None,
        n_jobs: int | None = None,
        loss: str = "squared",
        quantile: float = 0.5,
        delta: float = 1.0,
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
            quantile=quantile,
            delta=delta,
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
