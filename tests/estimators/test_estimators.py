"""The estimators: their networks, certificates, weights, classes and refusals."""

from __future__ import annotations

import pickle
import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import cvxjax as cj
from cvxjax import estimators


def regressor_of(**parameters):
    """Without a time limit, since machines differ."""
    return estimators.ReLURegressor(**{"time_limit": None} | parameters)


def classifier_of(**parameters):
    return estimators.ReLUClassifier(**{"time_limit": None} | parameters)


def table(n: int = 40, d: int = 3, seed: int = 0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, d)) * [1.0, 1e4, 1e-3][:d] + [5.0, 2e5, 0.0][:d]
    z = (X - X.mean(0)) / X.std(0)
    y = np.maximum(z[:, 0], 0) - np.maximum(z @ np.ones(d), 0)
    return X, 100 + y + 0.1 * rng.normal(size=n)


@pytest.fixture(scope="module")
def regressor():
    X, y = table()
    return regressor_of(beta=0.1, tol=1e-6).fit(X, y)


@pytest.fixture(scope="module")
def classifier():
    X, y = table(seed=1)
    labels = np.where(y > np.quantile(y, 0.7), "dear", "cheap")
    return classifier_of(beta=0.1, tol=1e-6).fit(X, labels), X, labels


def test_the_network_is_that_of_the_program(regressor):
    """Solved once more through the library, on features that are scaled by hand."""
    X, y = table()
    inputs = np.column_stack([(X - X.mean(0)) / X.std(0), np.ones(len(X))])
    program = cj.programs.make_two_layer(inputs, y - y.mean(), beta=1.0)
    beta = 0.1 * float(program.beta_max())
    program = program.replace(beta=jnp.asarray(beta))
    solution = cj.solve(program, cj.solvers.ColumnGeneration(tol=1e-6))
    certificate = regressor.certificate_
    assert regressor.beta_[0] == pytest.approx(beta, rel=1e-6)
    assert certificate.primal == pytest.approx(float(solution.objective), rel=1e-5)
    fit = regressor.predict(X) - y.mean()
    decay = sum(np.sum(np.square(x)) for x in jax.tree.leaves(regressor.variables_))
    value = np.sum((fit - (y - y.mean())) ** 2) / 2 + beta / 2 * decay
    assert value == pytest.approx(certificate.primal, rel=1e-6)
    assert certificate.dual <= value
    assert regressor.score(X, y) > 0.9
    assert regressor.n_neurons_ == regressor.layers_.width <= len(X)


def test_flax_predicts_the_same(regressor, classifier):
    for model, X in ((regressor, table()[0]), classifier[:2]):
        inputs = model.network_input(X)
        outputs = model.network_.apply(model.variables_, inputs) + model.intercept_[0]
        known = model.predict(X) if model is regressor else model.decision_function(X)
        np.testing.assert_allclose(outputs, known, rtol=1e-8)


def test_the_intercept_is_free(classifier):
    """No constant lowers the loss, whatever the scale of the labels' imbalance."""
    model, X, labels = classifier
    scores, y = model.decision_function(X), np.where(labels == "dear", 1.0, -1.0)
    slopes = -y * scipy.special.expit(-y * scores)
    assert abs(np.sum(slopes)) < 1e-5
    assert list(model.classes_) == ["cheap", "dear"]
    assert model.predict_proba(X).mean(axis=0) == pytest.approx([0.7, 0.3], abs=1e-5)
    assert np.mean(model.predict(X) == labels) > 0.85
    assert model.certificate_.gap < 0.05


def test_weights_are_numbers_of_samples():
    X, y = table(25)
    counts = np.arange(25) % 3
    weighted = regressor_of().fit(X, y, sample_weight=counts)
    repeated = regressor_of().fit(np.repeat(X, counts, 0), np.repeat(y, counts))
    np.testing.assert_array_equal(weighted.predict(X), repeated.predict(X))
    value = np.sum(counts * (weighted.predict(X) - y) ** 2) / 2
    decay = sum(np.sum(np.square(x)) for x in jax.tree.leaves(weighted.variables_))
    value += weighted.beta_[0] / 2 * decay
    assert weighted.certificate_.primal == pytest.approx(value, rel=1e-6)
    heavier = regressor_of(relative_beta=False, beta=weighted.beta_[0] * 7)
    heavier.fit(X, y, sample_weight=7.0 * counts)
    np.testing.assert_allclose(heavier.predict(X), weighted.predict(X), rtol=1e-9)


def test_classes_are_balanced_by_their_weights():
    X, y = table(seed=1)
    labels = y > np.quantile(y, 0.8)
    model = classifier_of(class_weight="balanced").fit(X, labels)
    weights = np.where(labels, 1 / 0.2, 1 / 0.8) / 2
    shares = np.average(model.predict_proba(X), axis=0, weights=weights)
    assert shares == pytest.approx([0.5, 0.5], abs=1e-3)
    plain = classifier_of().fit(X, labels)
    assert model.beta_max_ == pytest.approx(plain.beta_max_)
    other = classifier_of(class_weight={True: 2.5, False: 0.625}).fit(X, labels)
    assert other.intercept_ == pytest.approx(model.intercept_, abs=0.1)


@pytest.mark.parametrize("multi_class", ["ovr", "softmax"])
def test_several_classes(multi_class):
    X, y = load_iris(return_X_y=True)
    X, y = X[::3], np.array(["setosa", "versicolor", "virginica"])[y[::3]]
    model = classifier_of(multi_class=multi_class, time_limit=20, tol=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, y)
    assert model.score(X, y) > 0.95
    p = model.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    shares = p.mean(axis=0)
    np.testing.assert_allclose(shares, 1 / 3, atol=0.02)
    assert len(model.certificates_) == (3 if multi_class == "ovr" else 1)
    inputs = model.network_input(X)
    outputs = np.asarray(model.network_.apply(model.variables_, inputs))
    np.testing.assert_allclose(outputs + model.intercept_, model.decision_function(X))


def test_quantiles():
    X, y = table(60)
    for quantile in (0.2, 0.8):
        model = regressor_of(loss="pinball", quantile=quantile, beta=0.3, tol=1e-3)
        below = np.mean(y <= model.fit(X, y).predict(X) + 1e-9)
        assert below == pytest.approx(quantile, abs=0.1)


def test_several_outputs():
    X, y = table(30)
    Y = np.column_stack([y, -2 * y + X[:, 0]])
    model = regressor_of(beta=0.1, tol=1e-2, time_limit=20)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        model.fit(X, Y)
    assert model.predict(X).shape == Y.shape
    assert model.score(X, Y) > 0.8
    with pytest.raises(ValueError, match="several outputs take the squared loss"):
        regressor_of(loss="huber").fit(X, Y)


def test_gated_networks():
    X, y = table()
    model = regressor_of(gated=True, beta=0.1).fit(X, y)
    assert model.certificate_.scope is cj.Scope.SAMPLED
    assert model.certificate_.gap < 1e-3
    inputs = model.network_input(X)
    outputs = model.network_.apply(model.variables_, inputs) + model.intercept_[0]
    np.testing.assert_allclose(outputs, model.predict(X), rtol=1e-8)


def test_few_neurons_cost_what_the_certificate_says(regressor):
    X, y = table()
    model = regressor_of(beta=0.1, tol=1e-6, max_neurons=2).fit(X, y)
    assert model.n_neurons_ == 2
    assert model.certificate_.primal >= regressor.certificate_.primal
    assert model.certificate_.gap >= regressor.certificate_.gap
    decay = sum(np.sum(np.square(x)) for x in jax.tree.leaves(model.variables_))
    value = np.sum((model.predict(X) - y) ** 2) / 2 + model.beta_[0] / 2 * decay
    assert value == pytest.approx(model.certificate_.primal, rel=1e-6)


def test_units_do_not_matter(regressor):
    """Without standardisation they would: here neither X's nor y's do."""
    X, y = table()
    model = regressor_of(beta=0.1, tol=1e-6).fit(X * [1e-6, 1e6, 1.0], 1e-5 * y)
    np.testing.assert_allclose(
        model.predict(X * [1e-6, 1e6, 1.0]), 1e-5 * regressor.predict(X), rtol=1e-6
    )


def test_labels_that_a_constant_fits():
    X, _ = table()
    model = regressor_of().fit(X, np.full(len(X), 7.0))
    np.testing.assert_array_equal(model.predict(X), 7.0)
    assert model.n_neurons_ == 0


def test_single_precision():
    X, y = table()
    model = regressor_of(beta=0.1, dtype="float32", tol=1e-3).fit(X, y)
    assert model.score(X, y) > 0.9


def test_a_time_limit_is_told():
    X, y = table(60)
    with pytest.warns(ConvergenceWarning, match="TIME_LIMIT: time_limit passed"):
        model = regressor_of(time_limit=1e-3, tol=1e-9).fit(X, y)
    assert np.all(np.isfinite(model.predict(X)))
    assert model.certificate_.gap > 1e-9


def test_in_scikit_learn(regressor):
    X, y = table()
    copied = pickle.loads(pickle.dumps(regressor))
    np.testing.assert_array_equal(copied.predict(X), regressor.predict(X))
    assert clone(regressor).get_params() == regressor.get_params()
    pipeline = make_pipeline(StandardScaler(), regressor_of(tol=1e-2))
    grid = {f"{pipeline.steps[-1][0]}__beta": [0.5, 0.1]}
    search = GridSearchCV(pipeline, grid, cv=2).fit(X, y)
    assert search.best_params_ == {next(iter(grid)): 0.1}


def test_data_frames_and_sparse_matrices(regressor):
    pandas = pytest.importorskip("pandas")
    X, y = table()
    names = ["area", "price", "year"]
    frame = pandas.DataFrame(X, columns=names)
    model = regressor_of(beta=0.1, tol=1e-6).fit(frame, y)
    assert list(model.feature_names_in_) == names
    np.testing.assert_array_equal(model.predict(frame), regressor.predict(X))
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(frame[names[::-1]])
    with pytest.warns(UserWarning, match=r"sparse X \[40, 3\] becomes dense, 0.0 MiB"):
        sparse = regressor_of(beta=0.1).fit(scipy.sparse.csr_array(X), y)
    assert sparse.score(X, y) > 0.9


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"beta": 0}, "want beta, a finite number > 0; got 0"),
        ({"beta": "big"}, "want beta, a finite number > 0; got 'big'"),
        ({"tol": -1.0}, "want tol, a finite number > 0; got -1.0"),
        ({"time_limit": 0}, "want time_limit, seconds > 0 or None; got 0"),
        ({"max_neurons": 1.5}, "want max_neurons, an integer >= 1 or None; got 1.5"),
        ({"dtype": "int8"}, "want dtype float64 or float32; got 'int8'"),
        ({"loss": "hinge"}, "want loss, one of squared, huber, pinball; got 'hinge'"),
        ({"loss": "pinball", "quantile": 2}, "want a scalar quantile in"),
        ({"loss": "huber", "delta": 0}, "want a finite scalar delta > 0"),
    ],
)
def test_parameters_that_are_refused(parameters, message):
    X, y = table()
    with pytest.raises(ValueError, match=message):
        regressor_of(**parameters).fit(X, y)


def test_samples_that_are_refused():
    X, y = table()
    labels = y > np.median(y)
    with pytest.raises(ValueError, match="want two classes or more; got 1 class"):
        classifier_of().fit(X, np.ones(len(X)))
    with pytest.raises(ValueError, match=r"each of 2 classes; got those of 1|got 1"):
        classifier_of().fit(X, labels, sample_weight=labels.astype(float))
    with pytest.raises(ValueError, match=r"want sample_weight \[40\]; got \[3\]"):
        regressor_of().fit(X, y, sample_weight=[1, 2, 3])
    with pytest.raises(ValueError, match="want a finite sample_weight >= 0"):
        regressor_of().fit(X, y, sample_weight=-np.ones(40))
    with pytest.raises(ValueError, match="want a sample_weight > 0; got zeros alone"):
        regressor_of().fit(X, y, sample_weight=np.zeros(40))
    with pytest.raises(ValueError, match="want loss logistic with softmax"):
        classifier_of(loss="hinge", multi_class="softmax").fit(X, labels)
    with pytest.raises(NotFittedError):
        _ = classifier_of().certificate_
    with pytest.raises(AttributeError, match="predict_proba"):
        _ = classifier_of(loss="hinge").predict_proba


def test_more_features_than_samples_are_trained_in_their_span():
    """The network is for all features, and costs what its certificate says."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(10, 40))
    y = np.maximum(X[:, 0], 0) - X[:, 1]
    model = estimators.ReLURegressor(0.3, tol=1e-4).fit(X, y)
    assert model.programs_[0].X.shape == (10, 10)
    assert model.layers_.first.shape[0] == 41
    fit = model.layers_.outputs(model.network_input(X))[:, 0] + model.intercept_
    np.testing.assert_allclose(fit, model.predict(X), rtol=1e-12)
    weights = np.sum(model.layers_.first**2) + np.sum(model.layers_.second**2)
    value = 0.5 * np.sum((fit - y) ** 2) + model.beta_[0] / 2 * weights
    assert value == pytest.approx(model.certificate_.primal, rel=1e-6)
    wide = cj.programs.make_two_layer(
        model.network_input(X), y - y.mean(), beta=model.beta_[0]
    )
    assert wide.beta_max() == pytest.approx(model.beta_max_[0], rel=1e-6)
    assert float(cj.solve(wide).objective) == pytest.approx(value, rel=1e-3)


def test_large_data_of_classes_are_one_network_of_the_softmax_loss():
    model = estimators.ReLUClassifier()
    assert model._kind(150 * 4 * 3) == "ovr"
    assert model._kind(1797 * 64 * 10) == "softmax"
    assert model.set_params(gated=True)._kind(1797 * 64 * 10) == "ovr"
    hinge = estimators.ReLUClassifier(loss="hinge")
    assert hinge._kind(1797 * 64 * 10) == "ovr"
    X, y = load_iris(return_X_y=True)
    model = estimators.ReLUClassifier(patterns=5, gated=True).fit(X[::5], y[::5])
    assert model.multi_class_ == "ovr" and len(model.programs_) == 3
