"""Sampled patterns: distinct, reproducible, complete when they can be."""

import jax
import numpy as np
import pytest

from cvxjax.arrangements import enumerate_patterns, from_gates, sample_patterns
from cvxjax.solution import Scope


def as_set(patterns):
    return {tuple(mask) for mask in np.asarray(patterns.masks).tolist()}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_samples_are_distinct_and_strictly_interior(dtype):
    X = np.random.default_rng(0).standard_normal((12, 4)).astype(dtype)
    X[7] = 0
    patterns = sample_patterns(jax.random.key(1), X, num=150)
    masks, gates = np.asarray(patterns.masks), np.asarray(patterns.gates)
    assert patterns.scope is Scope.SAMPLED
    assert masks.shape == (150, 12) and masks.dtype == bool and gates.shape == (150, 4)
    assert gates.dtype == jax.dtypes.canonicalize_dtype(dtype)
    assert len(as_set(patterns)) == 150
    products = gates.astype(float) @ X.T.astype(float)
    np.testing.assert_array_equal(products >= 0, masks)
    assert np.all(np.delete(products, 7, axis=1) != 0)
    np.testing.assert_allclose(np.linalg.norm(gates, axis=1), 1, rtol=1e-6)


def test_a_key_fixes_the_stream_and_num_its_length():
    X = np.random.default_rng(0).standard_normal((12, 4))
    long = sample_patterns(jax.random.key(1), X, num=200)
    again = sample_patterns(jax.random.key(1), X, num=200)
    short = sample_patterns(jax.random.key(1), X, num=30)
    other = sample_patterns(jax.random.key(2), X, num=30)
    np.testing.assert_array_equal(long.gates, again.gates)
    np.testing.assert_array_equal(long.masks[:30], short.masks)
    np.testing.assert_allclose(long.gates[:30], short.gates, rtol=1e-12)
    assert np.any(np.asarray(other.masks) != np.asarray(short.masks))


def test_chunks_do_not_change_the_result(monkeypatch):
    X = np.random.default_rng(0).standard_normal((12, 4))
    whole = sample_patterns(jax.random.key(1), X, num=200)
    monkeypatch.setattr("cvxjax.arrangements.sampled._CHUNK", 12 * 100)
    parts = sample_patterns(jax.random.key(1), X, num=200)
    np.testing.assert_array_equal(whole.masks, parts.masks)
    np.testing.assert_allclose(whole.gates, parts.gates, rtol=1e-12)


def test_stops_when_every_pattern_is_found():
    X = np.array([[2, 2], [3, 3], [1, 0], [0, 0]])
    with pytest.warns(UserWarning, match="found 4 .* num=100: X has no more"):
        patterns = sample_patterns(jax.random.key(0), X, num=100)
    assert as_set(patterns) == as_set(enumerate_patterns(X))
    assert patterns.scope is Scope.SAMPLED


def test_stops_when_draws_bring_nothing_new():
    X = np.array([[1.0, 0.0], [1.0, 1e-12], [0.0, 1.0], [0.0, 2.0]])
    with pytest.warns(UserWarning, match="found 4 .* num=6: .* draws brought no more"):
        assert len(sample_patterns(jax.random.key(0), X, num=6).masks) == 4


@pytest.mark.parametrize("X, count", [(np.zeros((3, 2)), 1), (np.array([[2.0]]), 2)])
def test_tiny_data(X, count):
    patterns = sample_patterns(jax.random.key(0), X, num=count)
    assert as_set(patterns) == as_set(enumerate_patterns(X))


@pytest.mark.parametrize("num", [0, -3, 2.5, "many"])
def test_refuses_bad_num(num):
    with pytest.raises(ValueError, match="want num, an integer >= 1; got"):
        sample_patterns(jax.random.key(0), np.ones((2, 2)), num=num)


def test_from_gates_keeps_first_occurrences_and_counts_ties_as_active():
    X = np.array([[1.0, 0.0], [0.0, 1.0]])
    gates = np.array([[3.0, -4.0], [0.0, 2.0], [1.0, 1.0], [5.0, -1.0], [0.0, 0.0]])
    patterns = from_gates(X, gates)
    assert patterns.masks.tolist() == [[True, False], [True, True]]
    np.testing.assert_array_equal(patterns.gates, gates[:2])
    assert patterns.scope is Scope.SAMPLED


def test_from_gates_casts_to_the_dtype_of_the_data():
    X = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)
    patterns = from_gates(X, np.eye(3, dtype=int))
    assert patterns.gates.dtype == np.float32
    np.testing.assert_array_equal(patterns.masks, (X >= 0).T)


@pytest.mark.parametrize(
    "gates",
    [np.ones(3), np.ones((2, 4)), np.ones((0, 3)), [[np.nan, 0, 0]], [["a"] * 3]],
)
def test_from_gates_refuses_bad_gates(gates):
    with pytest.raises(ValueError, match=r"gates.* got"):
        from_gates(np.ones((2, 3)), gates)


@pytest.mark.parametrize("X", [[[np.nan]], [1.0], np.zeros((0, 1)), [["a"]]])
def test_refuses_bad_data(X):
    with pytest.raises(ValueError, match="want X"):
        sample_patterns(jax.random.key(0), X, num=1)
    with pytest.raises(ValueError, match="want X"):
        from_gates(X, [[1.0]])
