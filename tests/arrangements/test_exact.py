"""Enumeration against linear programs over all sign vectors, and known counts."""

import itertools
import warnings

import hypothesis
import hypothesis.extra.numpy as hnp
import jax
import numpy as np
import pytest
from hypothesis import strategies as st
from scipy.optimize import linprog

from cvxjax.arrangements import count_bound, enumerate_patterns
from cvxjax.solution import Scope


def has_interior(A):
    """Whether A u > 0 for some u: max t subject to A u >= t, |u_k| <= 1, t <= 1."""
    n, d = A.shape
    constraints = np.concatenate([-A, np.ones((n, 1))], axis=1)
    bounds = [(-1, 1)] * d + [(None, 1)]
    answer = linprog(-np.eye(d + 1)[d], constraints, np.zeros(n), bounds=bounds)
    assert answer.status == 0
    return answer.x[-1] > 1e-7


def brute_force(X):
    """Patterns as a set of tuples, by depth-first search over the signs of the rows."""
    nonzero = np.any(X != 0, axis=1)
    patterns = [()]
    for i in range(len(X)):
        free = nonzero[i] and np.any(nonzero[:i])
        choices = (True, False) if free else (True,)
        longer = [p + (c,) for p, c in itertools.product(patterns, choices)]
        patterns = [p for p in longer if not free or has_interior(signed_rows(X, p))]
    return set(patterns) | {tuple((p ^ nonzero).tolist()) for p in patterns}


def signed_rows(X, mask):
    rows = X[: len(mask)] * np.where(mask, 1.0, -1.0)[:, None]
    return rows[np.any(rows != 0, axis=1)]


def as_set(patterns):
    return {tuple(mask) for mask in np.asarray(patterns.masks).tolist()}


def assert_strict(X, patterns):
    """Distinct masks, each reproduced by a unit gate that ties with no row."""
    masks, gates = np.asarray(patterns.masks), np.asarray(patterns.gates)
    X = np.asarray(X).astype(gates.dtype)
    products = gates @ X.T
    np.testing.assert_array_equal(products >= 0, masks)
    assert np.all(products[:, np.any(X != 0, axis=1)] != 0)
    np.testing.assert_allclose(np.linalg.norm(gates, axis=1), 1, rtol=1e-6)
    assert len(np.unique(np.packbits(masks, axis=1), axis=0)) == len(masks)


@st.composite
def integer_data(draw):
    n, d = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    return draw(hnp.arrays(np.int64, (n, d), elements=st.integers(-2, 2)))


@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
@hypothesis.given(integer_data())
def test_matches_linear_programs_on_integer_data(X):
    patterns = enumerate_patterns(X)
    assert as_set(patterns) == brute_force(X)
    assert_strict(X, patterns)


CUBE = np.array(list(itertools.product([0, 1], repeat=3)))
DEGENERATE = {
    "deck": np.array([[2, 2], [3, 3], [1, 0]]),
    "zero row between antiparallel rows": np.array([[1, -2], [0, 0], [-2, 4], [1, 1]]),
    "all zero": np.zeros((3, 2)),
    "one row": np.array([[0.5, -1.0, 2.0]]),
    "one feature": np.array([[1.0], [-2.0], [0.0], [3.0]]),
    "rank two in four dimensions": np.outer(np.arange(7) - 3, [1, 0, 2, 1])
    + np.outer(np.arange(7) ** 2, [0, 1, -1, 1]),
    "cube": CUBE,
    "cube with a constant": np.concatenate([CUBE, np.ones((8, 1), int)], axis=1),
    "pencils of planes": np.array(
        [[1, 0, 0], [0, 1, 0], [1, 1, 0], [1, -1, 0], [0, 0, 1], [1, 0, 1], [1, 0, -1]]
    ),
    "pencils in four dimensions": np.array(
        [
            [1, 0, 0, 0],
            [0, 1, 0, 0],
            [1, 1, 0, 0],
            [0, 0, 1, 0],
            [0, 0, 0, 1],
            [0, 0, 1, 1],
            [1, 1, 1, 1],
            [1, -1, 0, 0],
        ]
    ),
}


@pytest.mark.parametrize("name", DEGENERATE)
def test_matches_linear_programs_on_degenerate_data(name):
    X = DEGENERATE[name]
    patterns = enumerate_patterns(X)
    assert as_set(patterns) == brute_force(X)
    assert_strict(X, patterns)
    assert patterns.scope is Scope.EXHAUSTIVE


@pytest.mark.parametrize("shape", [(8, 2), (8, 3), (7, 4)])
def test_matches_linear_programs_in_general_position(shape):
    X = np.random.default_rng(1).standard_normal(shape)
    assert as_set(enumerate_patterns(X)) == brute_force(X)


@pytest.mark.parametrize(
    "n, d, count",
    [(6, 2, 12), (20, 3, 382), (5, 5, 32), (3, 7, 8), (300, 3, 89702), (20, 4, 2320)]
    + [(12, 5, 1124), (700, 2, 1400)],
)
def test_attains_the_bound_in_general_position(n, d, count):
    X = np.random.default_rng(n).standard_normal((n, d))
    patterns = enumerate_patterns(X)
    assert len(patterns.masks) == count == count_bound(n, min(n, d))
    assert_strict(X, patterns)


def primitive(vectors):
    """Integer vectors up to a factor: divided by their gcd, first entry positive."""
    vectors = vectors[np.any(vectors != 0, axis=1)]
    vectors = vectors // np.gcd.reduce(vectors, axis=1)[:, None]
    leading = vectors[np.arange(len(vectors)), np.argmax(vectors != 0, axis=1)]
    return np.unique(vectors * np.sign(leading)[:, None], axis=0)


def test_counts_on_integer_planes_match_eulers_formula():
    """Half the cells number 1 + sum over rays of (planes through it - 1), exactly."""
    X = np.random.default_rng(8).integers(-4, 5, (90, 3))
    planes = primitive(X)
    i, j = np.triu_indices(len(planes), 1)
    rays = primitive(np.cross(planes[i], planes[j]))
    through = np.sum(rays @ planes.T == 0, axis=1)
    assert np.max(through) > 5
    patterns = enumerate_patterns(X)
    assert len(patterns.masks) == 2 * (1 + np.sum(through - 1))
    assert_strict(X, patterns)


def test_threshold_functions():
    """Half-spaces that cut no corner of a cube: 2, 4, 14, 104, 1882 (OEIS A000609)."""
    for k, count in [(2, 14), (3, 104), (4, 1882)]:
        corners = np.array(list(itertools.product([-1, 1], repeat=k)))
        X = np.concatenate([corners, np.ones((2**k, 1), int)], axis=1)
        assert len(enumerate_patterns(X).masks) == count


def test_patterns_do_not_depend_on_linear_maps_or_scales_of_the_rows():
    rng = np.random.default_rng(3)
    X = rng.integers(-2, 3, (9, 3)).astype(float)
    mapped = (10.0 ** rng.integers(-6, 7, (9, 1))) * X @ np.diag([1e-8, 1.0, 1e9])
    lifted = X @ rng.standard_normal((3, 5))
    expected = as_set(enumerate_patterns(X))
    assert as_set(enumerate_patterns(mapped)) == expected
    assert as_set(enumerate_patterns(lifted)) == expected


@pytest.mark.parametrize("noise", [1e-5, 1e-9])
def test_resolves_bundles_of_nearly_parallel_rows(noise):
    rng = np.random.default_rng(7)
    X = np.repeat(rng.standard_normal((4, 3)), 3, axis=0)
    X += noise * rng.standard_normal((12, 3))
    assert len(enumerate_patterns(X).masks) == count_bound(12, 3)


def test_order_is_lexicographic_and_deterministic():
    X = np.random.default_rng(4).standard_normal((9, 3))
    first, second = enumerate_patterns(X), enumerate_patterns(X)
    masks = np.asarray(first.masks).tolist()
    assert masks == sorted(masks, reverse=True)
    np.testing.assert_array_equal(first.gates, second.gates)


@pytest.mark.parametrize("x64", [False, True])
def test_float32_gates_reproduce_their_masks(x64):
    X = np.random.default_rng(5).standard_normal((40, 3)).astype(np.float32)
    with jax.enable_x64(x64):
        patterns = enumerate_patterns(X)
    assert patterns.gates.dtype == np.float32
    assert len(patterns.masks) == count_bound(40, 3)
    assert_strict(X, patterns)


def test_cells_too_thin_for_float32_are_kept_and_named():
    X = np.array([[1, 1], [1, 1 + 2**-23], [0, 1]], np.float32)
    with pytest.warns(UserWarning, match="2 of 6 cells are too thin"):
        assert len(enumerate_patterns(X).masks) == 6


def test_thin_cells_get_centred_gates():
    X = np.array([[1, 0, 1], [1, 1e-5, 1], [0, 1, 3], [2, 1, 0]], np.float32)
    patterns = enumerate_patterns(X)
    assert len(patterns.masks) == 14
    assert_strict(X, patterns)


def test_limit_counts_distinct_lines():
    X = np.random.default_rng(6).standard_normal((30, 3))
    with pytest.raises(ValueError, match=r"up to 872 patterns .*sample_patterns"):
        enumerate_patterns(X, limit=871)
    repeated = np.concatenate([X[:5], -2 * X[:5]])
    assert len(enumerate_patterns(repeated, limit=22).masks) == 22


def test_count_bound_is_an_exact_integer():
    assert count_bound(1000, 3) == 999_002
    assert count_bound(300, 150) == 2**299
    assert count_bound(4, 9) == 16


BAD = {
    "NaN": [[1.0, np.nan]],
    "infinite": [[np.inf, 1.0]],
    "a vector": [1.0, 2.0],
    "empty": np.zeros((0, 3)),
    "no features": np.zeros((3, 0)),
    "complex": [[1j, 2.0]],
    "text": [["a", "b"]],
    "objects": [[None, 1.0]],
    "ragged": [[1.0], [1.0, 2.0]],
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_bad_data(name):
    with warnings.catch_warnings(), pytest.raises(ValueError, match=r"want X .*got|in"):
        enumerate_patterns(BAD[name])


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.float16])
def test_casts_to_float(dtype):
    X = np.array([[1, 0], [1, 1], [0, 1]], dtype)
    patterns = enumerate_patterns(X)
    assert len(patterns.masks) == 6
    wide = jax.dtypes.canonicalize_dtype(np.float64)
    assert patterns.gates.dtype == (np.float32 if dtype is np.float16 else wide)
