"""What the estimators share: parameters, checks of the data, and the fitted network."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Self

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.base import BaseEstimator
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

import cvxjax as cj
from cvxjax.estimators.layers import side_by_side
from cvxjax.estimators.samples import Scaling, dense, merged, row_basis, weighted
from cvxjax.estimators.training import Task, Trained, train_path
from cvxjax.networks.two_layer import GatedTwoLayer, TwoLayer
from cvxjax.networks.vector_output import GatedVectorOutput, VectorOutput

_UNFINISHED = {
    cj.Status.TIME_LIMIT,
    cj.Status.MAX_ITERATIONS,
    cj.Status.STALLED,
    cj.Status.NONFINITE,
}


class Prepared(NamedTuple):
    """What is trained, and what is added to the network's outputs afterwards."""

    task: Task
    shift: np.ndarray  # [c]


class ReLUEstimator(BaseEstimator):
    """Parameters and attributes of all estimators; see `ReLURegressor`."""

    def __init__(
        self,
        beta: float = 0.05,
        *,
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
        self.beta = beta
        self.relative_beta = relative_beta
        self.fit_intercept = fit_intercept
        self.hidden_bias = hidden_bias
        self.standardize = standardize
        self.gated = gated
        self.patterns = patterns
        self.solver = solver
        self.max_neurons = max_neurons
        self.tol = tol
        self.time_limit = time_limit
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def _check_parameters(self) -> None:
        """ValueError, in one sentence, for a parameter out of range."""
        for name in ("beta", "tol"):
            value = getattr(self, name)
            if not _is_real(value) or not 0 < value < np.inf:
                raise ValueError(f"want {name}, a finite number > 0; got {value!r}")
        limit, most = self.time_limit, self.max_neurons
        if limit is not None and (not _is_real(limit) or not limit > 0):
            raise ValueError(f"want time_limit, seconds > 0 or None; got {limit!r}")
        if most is not None and (not isinstance(most, int | np.integer) or most < 1):
            raise ValueError(f"want max_neurons, an integer >= 1 or None; got {most!r}")
        some = self.patterns
        if isinstance(some, str):
            if some != "all":
                raise ValueError(f"want patterns all, a number or None; got {some!r}")
        elif some is not None and (not isinstance(some, int | np.integer) or some < 1):
            raise ValueError(f"want patterns, an integer >= 1; got {some!r}")
        if np.dtype(self.dtype).name not in ("float64", "float32"):
            raise ValueError(f"want dtype float64 or float32; got {self.dtype!r}")

    def _checked(self, X: Any) -> np.ndarray:
        """X [n, d] as float64, by scikit-learn's checks, for a fitted estimator."""
        known = {"accept_sparse": True, "dtype": np.float64, "reset": False}
        return dense(validate_data(self, X, **known))

    def _checked_both(self, X: Any, y: Any, **options: Any) -> Any:
        """X [n, d] as float64 and y, by scikit-learn's checks, to fit."""
        known = {"accept_sparse": True, "dtype": np.float64}
        X, y = validate_data(self, X, y, **known, **options)
        return dense(X), y

    def _task(
        self,
        X: np.ndarray,
        y: np.ndarray,
        weights: np.ndarray,
        loss: Any,
        counts: np.ndarray | None = None,
    ) -> Prepared:
        """What is trained for these samples.

        Args:
          X: [n, d], as the user gave them; their scaling is known.
          y: [n], or [n, c].
          weights: [n], >= 0.
          loss: of `cvxjax.losses`, without weights.
          counts: [n], weights with which beta_max is found; default `weights`.
        """
        plain = counts is None
        X, y, weights, counts = merged(X, y, weights, weights if plain else counts)
        shift = np.zeros(1 if y.ndim == 1 else y.shape[1])
        centred = self.fit_intercept and loss.quadratic
        if centred:
            shift = np.atleast_1d(np.average(y, axis=0, weights=weights))
            y = y - (shift[0] if y.ndim == 1 else shift)
        unit = float(np.mean(weights))
        whole = weighted(loss, weights / unit)
        inputs = self.scaling_.apply(X)
        basis = row_basis(inputs)
        task = Task(
            X=(inputs if basis is None else inputs @ basis).astype(self.dtype),
            basis=basis,
            y=y.astype(self.dtype),
            loss=whole,
            reference=whole if plain else weighted(loss, counts / unit),
            intercept=self.fit_intercept and not centred,
            weight=unit,
            gated=self.gated,
            patterns=self.patterns,
            solver=self.solver,
            seed=int(check_random_state(self.random_state).randint(2**31)),
            tol=self.tol,
            max_neurons=self.max_neurons,
            report=self.verbose if callable(self.verbose) else None,
            verbose=bool(self.verbose),
        )
        return Prepared(task, shift)

    def _scale(self, X: np.ndarray, weights: np.ndarray) -> None:
        """Decides how features are scaled."""
        X, _, weights = merged(X, np.zeros(len(X)), weights)
        self.scaling_ = Scaling.of(
            X, weights, standardize=self.standardize, ones=self.hidden_bias
        )

    def _prepared(self, X: Any, y: Any, sample_weight: Any) -> list[Prepared]:
        """Checks the samples, and says what is to be trained for them."""
        raise NotImplementedError

    def _path(
        self,
        prepared: list[Prepared],
        betas: Sequence[float],
        time_limit: float | None,
        *,
        certify: bool = True,
    ) -> Iterator[list[Trained]]:
        """For each beta the networks of all tasks, which share the time."""
        ends = None if time_limit is None else time.monotonic() + time_limit

        def path(k: int) -> Iterator[Trained]:
            left = None if ends is None else max(0.0, ends - time.monotonic())
            return train_path(
                prepared[k].task,
                betas,
                relative=self.relative_beta,
                certify=certify,
                time_limit=None if left is None else left / (len(prepared) - k),
            )

        with jax.enable_x64(self.dtype == "float64"):
            if len(prepared) == 1:
                for found in path(0):
                    yield [found]
                return
            lists = []
            for k in range(len(prepared)):
                lists.append(list(path(k)))
                if lists[-1][-1].status is cj.Status.INTERRUPTED:
                    raise KeyboardInterrupt  # a class without a network
        yield from map(list, zip(*lists, strict=False))

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Trains the network.

        Args:
          X: [n, d], numbers; a DataFrame's columns are remembered by name.
          y: labels, as the class says.
          sample_weight: [n], >= 0; default ones.

        Raises:
          ValueError: a parameter or the data are not as wanted.
        """
        prepared = self._prepared(X, y, sample_weight)
        (parts,) = self._path(prepared, [self.beta], self.time_limit)
        return self._keep(parts, prepared)

    def fit_path(
        self, X: Any, y: Any, betas: Sequence[float], sample_weight: Any = None
    ) -> Iterator[Self]:
        """A fitted copy for each beta in turn, each started from the one before.

        Args:
          X: [n, d], numbers.
          y: labels, as the class says.
          betas: > 0, descending, as the parameter `beta`, which is not used.
          sample_weight: [n], >= 0; default ones.

        Yields:
          Estimators; fewer than betas where `time_limit`, which is for all of them
          together, has passed.

        Raises:
          ValueError: a parameter or the data are not as wanted.
        """
        prepared = self._prepared(X, y, sample_weight)
        for parts, beta in zip(
            self._path(prepared, betas, self.time_limit), betas, strict=False
        ):
            copied = copy.copy(self)
            copied.beta = float(beta)
            try:
                copied._keep(parts, prepared)
            except KeyboardInterrupt:
                yield copied
                raise
            yield copied

    def _keep(self, parts: list[Trained], prepared: list[Prepared]) -> Self:
        """Sets the attributes of a fitted estimator.

        Args:
          parts: one network, or one for each class, whose outputs are put side by side.
          prepared: what they were trained for.
        """
        self.layers_ = side_by_side([part.layers for part in parts])
        constants = [
            part.constants + one.shift
            for part, one in zip(parts, prepared, strict=True)
        ]
        self.intercept_ = np.concatenate(constants)
        self.n_neurons_ = self.layers_.width
        self.beta_ = np.asarray([part.beta for part in parts])
        self.beta_max_ = np.asarray([part.beta_max for part in parts])
        self.n_iter_ = max(1, max(part.iterations for part in parts))
        self.certificates_ = [part.certificate for part in parts]
        self.programs_ = [part.program for part in parts]
        self.solutions_ = [part.solution for part in parts]
        self._constants = [part.constants for part in parts]
        self._bases = [one.task.basis for one in prepared]
        self.statuses_ = [part.status for part in parts]
        self._warn()
        if cj.Status.INTERRUPTED in self.statuses_:
            raise KeyboardInterrupt
        return self

    def _warn(self) -> None:
        """A ConvergenceWarning where the solver ended before its tolerance."""
        for status, certificate in zip(self.statuses_, self.certificates_, strict=True):
            if certificate is None or certificate.gap <= self.tol:
                continue
            if status in _UNFINISHED:
                warnings.warn(
                    f"{status.name}: {status.message}; the certified gap is "
                    f"{certificate.gap:.1e} ({certificate.scope.value})",
                    ConvergenceWarning,
                    stacklevel=4,
                )
                return

    @property
    def certificate_(self) -> cj.Certificate:
        """The certificate of the network; of several, that with the largest gap."""
        check_is_fitted(self)
        found: list[Any] = self.certificates_
        return max(found, key=lambda certificate: certificate.gap)

    @property
    def network_(self) -> Any:
        """The Flax network; apply it to `variables_` and `network_input(X)`."""
        check_is_fitted(self)
        gates, outputs = self.layers_.gates, len(self.intercept_)
        if outputs == 1:
            return TwoLayer(None) if gates is None else GatedTwoLayer(gates=gates)
        if gates is None:
            return VectorOutput(outputs)
        return GatedVectorOutput(outputs)

    @property
    def variables_(self) -> dict[str, Any]:
        """The network's Flax variables, in JAX's default precision."""
        check_is_fitted(self)
        layers = self.layers_
        variables: dict[str, Any] = {
            "params": {
                "first": {"kernel": jnp.asarray(layers.first)},
                "second": {"kernel": jnp.asarray(layers.second)},
            }
        }
        if layers.gates is not None:
            variables["gates"] = {"gates": jnp.asarray(layers.gates)}
        return variables

    def network_input(self, X: Any) -> np.ndarray:
        """Features as the network takes them: scaled, with a column of ones.

        Args:
          X: [n, d].
        """
        check_is_fitted(self)
        return self.scaling_.apply(self._checked(X))

    def _outputs(self, X: Any) -> np.ndarray:
        """The network's outputs with their intercepts, [n, c]."""
        given = self.network_input(X)  # checks that there is a network
        return self.layers_.outputs(given) + self.intercept_

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


def _is_real(value: Any) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(
        value, bool
    )
