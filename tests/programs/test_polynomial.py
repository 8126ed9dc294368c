"""Degree-two networks: other forms of the program, local search, recovery, refusals."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import cvxjax as cj
from tests import instances
from tests.references import clarabel
from tests.spectral_references import penalty

RELU_LIKE = (0.09, 0.5, 0.47)


def draw(seed=0, n=8, d=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


def make(X=None, y=None, *, beta=0.1, coefficients=RELU_LIKE, **options):
    X = draw()[0] if X is None else X
    y = draw()[1][: len(X)] if y is None else y
    return cj.programs.make_polynomial(
        X, y, beta=beta, coefficients=coefficients, **options
    )


def make_patches(pool=None, outputs=None, coefficients=RELU_LIKE, seed=0):
    rng = np.random.default_rng(seed)
    patches = rng.standard_normal((8, 4, 2))
    y = rng.standard_normal((8, outputs) if outputs else 8)
    return cj.programs.make_polynomial(
        None, y, beta=0.1, coefficients=coefficients, patches=patches, pool=pool
    )


def forms(X, Z):
    return cp.sum(cp.multiply(X @ Z, X), axis=1)


def value(program, f, penalty):
    miss = f - np.asarray(program.y)
    return np.sum(np.square(miss)) / 2 + float(program.beta) * penalty


def network_value(program, variables):
    f = program.network().apply(variables, program.X)
    return value(program, f, program.network().penalty(variables["params"]))


def test_quadratic_networks_have_the_nuclear_norm():
    program = make(coefficients=(1, 0, 0))
    assert program.shape == (2, 1, 3, 3)
    X, y = draw()
    Z = cp.Variable((3, 3), symmetric=True)
    cost = 0.5 * cp.sum_squares(forms(X, Z) - y) + 0.1 * cp.normNuc(Z)
    solution = cj.solve(program).check()
    assert_allclose(
        solution.objective, clarabel(cp.Problem(cp.Minimize(cost))), rtol=1e-8
    )
    w = np.asarray(solution.params)
    variables = program.recover(solution.params)
    alpha = np.asarray(variables["params"]["second"]["kernel"])
    nuclear = np.linalg.norm(w[0, 0] - w[1, 0], "nuc")
    assert_allclose(np.sum(np.abs(alpha)), nuclear, rtol=1e-9)
    assert alpha.size <= 3


def test_one_matrix_is_not_enough():
    """The talk prints Z alone: networks of positive output weights."""
    program = make()
    (a, b, c), (X, y) = RELU_LIKE, draw()
    values = []
    for count in (1, 2):
        Z = [cp.Variable((4, 4), PSD=True) for _ in range(count)]
        parts = [a * forms(X, M[:3, :3]) + b * X @ M[:3, 3] + c * M[3, 3] for M in Z]
        f = parts[0] if count == 1 else parts[0] - parts[1]
        cost = 0.5 * cp.sum_squares(f - y) + 0.1 * sum(M[3, 3] for M in Z)
        ties = [cp.trace(M[:3, :3]) == M[3, 3] for M in Z]
        values.append(clarabel(cp.Problem(cp.Minimize(cost), ties)))
    assert_allclose(cj.solve(program).check().objective, values[1], rtol=1e-8)
    assert values[0] > 1.02 * values[1]


@pytest.mark.parametrize("kind", ["rows", "pooled patches"])
def test_local_search_finds_the_optimum_and_never_less(kind):
    program = make()
    if kind != "rows":
        both = make_patches(pool=2, outputs=2)
        program = both.replace(y=both.y[:, 0])
    solution = cj.solve(program).check()
    network = program.network().copy(num_neurons=12)
    result = cj.networks.train(
        jax.random.key(0),
        network,
        (program.X, program.y),
        optax.adam(optax.exponential_decay(0.02, 8000, 1e-6)),
        steps=8000,
        num_seeds=5,
        weight_decay=0.1,
        penalty=network.penalty,
    )
    found = np.asarray(result.objective)[:, -1]
    dual = cj.certify(program, solution).dual
    assert np.all(found >= dual)
    assert_allclose(np.min(found), solution.objective, rtol=1e-5)
    variables, best = result.best()
    assert_allclose(network_value(program, variables), best, rtol=1e-9)


def test_outputs_share_nothing():
    """The optimum of several is the sum of those of each."""
    Y = np.random.default_rng(1).standard_normal((8, 2))
    alone = [cj.solve(make(y=y)).check().objective for y in Y.T]
    assert_allclose(cj.solve(make(y=Y)).check().objective, sum(alone), rtol=1e-8)


KINDS = {
    "rows": make,
    "quadratic": lambda: make(coefficients=(1, 0, 0)),
    "negative": lambda: make(coefficients=(-0.5, 0.3, 0.2)),
    "negative quadratic": lambda: make(coefficients=(-1, 0, 0)),
    "even": lambda: make(coefficients=(0.5, 0, -2)),
    "affine": lambda: make(coefficients=(0, 1, 0.5)),
    "linear": lambda: make(coefficients=(0, 2, 0)),
    "constant": lambda: make(coefficients=(0, 0, 1.5)),
    "three outputs": lambda: make(y=np.random.default_rng(0).standard_normal((8, 3))),
    "one column": lambda: make(y=draw()[1][:, None]),
    "pool 1": lambda: make_patches(1),
    "pool 2": lambda: make_patches(2),
    "pool 4": lambda: make_patches(),
    "even, pool 2": lambda: make_patches(2, coefficients=(1, 0, 0.2)),
    "pool 2, two outputs": lambda: make_patches(2, 2),
}


@pytest.mark.parametrize("rank", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_recovery_of_any_feasible_point(kind, rank):
    """Predictions, the penalty, unit norms and the number of neurons."""
    program = KINDS[kind]()
    rows = np.random.default_rng(rank).standard_normal((*program.shape[:3], rank))
    if program.lifted:
        upper = np.linalg.norm(rows[..., :-1, :], axis=(2, 3))
        last = np.linalg.norm(rows[..., -1, :], axis=2)
        rows[..., -1, :] *= (upper / last)[..., None]
    w = rows @ np.swapaxes(rows, 2, 3)
    variables = program.recover(jnp.asarray(w))
    f = program.network().apply(variables, program.X)
    assert_allclose(f, program.forward(jnp.asarray(w)), atol=1e-8)
    params = variables["params"]
    assert_allclose(program.network().penalty(params), penalty(program, w), rtol=1e-10)
    first = np.asarray(params["first"]["kernel"])
    assert_allclose(np.linalg.norm(first, axis=0), 1, atol=1e-12)
    assert first.shape[1] <= rank * 2 * program.shape[1]
    windows, m = program.windows, first.shape[1]
    assert params["second"]["kernel"].shape == (windows * m, program.outputs)


DATA = {
    "duplicate rows": lambda: instances.duplicate_rows(draw()[0]),
    "zero rows": lambda: instances.zero_rows(draw()[0]),
    "rank one": lambda: draw()[0][:, :1] @ np.array([[1.0, -2, 0.5]]),
    "a column of zeros": lambda: draw()[0] * [1, 0, 1],
    "x and -x": lambda: np.tile(draw(n=4)[0], (2, 1)) * np.repeat([[1.0], [-1]], 4, 0),
    "zeros": lambda: np.zeros((8, 3)),
    "integers": lambda: np.random.default_rng(0).integers(-3, 4, (8, 3)),
    "large": lambda: 1e4 * draw()[0],
    "one sample": lambda: draw()[0][:1],
    "one feature": lambda: draw()[0][:, :1],
}


@pytest.mark.parametrize("name", DATA)
def test_degenerate_data(name):
    X, y = DATA[name](), draw()[1]
    if name == "x and -x":  # no linear part at any dual of equal labels
        y = np.tile(y[:4], 2)
    program = make(X, y[: len(X)])
    assert program.X.dtype == float
    solution = cj.solve(program).check()
    assert cj.certify(program, solution).gap <= 2e-8
    variables = program.recover(solution.params)
    assert_allclose(network_value(program, variables), solution.objective, rtol=1e-8)


@pytest.mark.parametrize("kind", ["rows", "quadratic", "pool 2, two outputs"])
def test_zero_from_beta_max_on(kind):
    program = KINDS[kind]()
    program = program.replace(beta=1.0 * program.beta_max())
    solution = cj.solve(program).check()
    assert not np.any(solution.params)
    assert_allclose(solution.objective, np.sum(program.y**2) / 2)
    params = program.recover(solution.params)["params"]
    d, windows = program.X.shape[-1], program.windows
    assert params["first"]["kernel"].shape == (d, 0)
    assert params["second"]["kernel"].shape == (0 * windows, program.outputs)
    f = program.network().apply({"params": params}, program.X)
    assert_array_equal(f, np.zeros(program.y.shape))


def test_what_is_not_feasible_has_no_network():
    program, quadratic = make(), make(coefficients=(1, 0, 0))
    w = cj.solve(program).check().params
    for message, wrong in {
        "PSD|semidefinite": w.at[0, 0].add(-0.1 * jnp.diag(jnp.array([1.0, 0, 0, 1]))),
        "trace": w.at[1, 0, 0, 0].add(0.1),
        "finite": w.at[0, 0, 0, 0].set(jnp.nan),
        "symmetric": w.at[0, 0, 0, 1].add(0.1),
        "want params": w[0],
    }.items():
        with pytest.raises(ValueError, match=message):
            program.recover(wrong)
    for wrong in (jnp.nan, jnp.inf):
        with pytest.raises(ValueError, match="finite"):
            quadratic.recover(jnp.full((2, 1, 3, 3), wrong))


X, Y = draw()
PATCHES = np.random.default_rng(0).standard_normal((8, 4, 2))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"X": np.where(X > 1, np.nan, X)}, "want X of finite float64"),
        ({"X": X[0]}, r"want X \[n, d\]"),
        ({"X": X.astype(str)}, "want X of real numbers"),
        ({"X": [["a", "b"]]}, "want X of real numbers"),
        ({"y": Y[:7]}, r"want X \[n, d\], y \[n\]; got \(8, 3\), \(7,\)"),
        ({"y": np.ones((7, 2))}, r"want y \[8\] or \[8, c\]; got \(7, 2\)"),
        ({"y": np.ones((8, 0))}, r"want y \[8\] or \[8, c\]; got \(8, 0\)"),
        ({"y": np.ones((8, 2, 2))}, "y"),
        ({"y": np.full((8, 2), np.nan)}, "want finite y"),
        ({"y": ["1"] * 8}, "want real numbers for y"),
        ({"loss": cj.losses.logistic()}, r"logistic loss wants labels -1 and \+1"),
        (
            {"loss": cj.losses.hinge(), "y": np.zeros((8, 2))},
            r"hinge loss wants labels -1 and \+1",
        ),
        ({"loss": cj.losses.interpolation()}, "no constraint; got interpolation"),
        ({"loss": cj.losses.hard_margin()}, "no constraint; got hard_margin"),
        ({"beta": 0}, "want a finite beta > 0; got 0"),
        ({"beta": -1.0}, "want a finite beta > 0; got -1.0"),
        ({"beta": np.nan}, "want a finite beta > 0; got nan"),
        ({"beta": "1"}, "want a number for beta"),
        ({"coefficients": (0, 0, 0)}, "want finite coefficients, not all 0"),
        ({"coefficients": (np.nan, 1, 1)}, "want finite coefficients, not all 0"),
        ({"coefficients": (np.inf, 1, 1)}, "want finite coefficients, not all 0"),
        ({"coefficients": (1, 2)}, r"want coefficients \(a, b, c\); got"),
        ({"coefficients": ("1", "2", "3")}, r"want coefficients \(a, b, c\); got"),
        ({"coefficients": "relu"}, r"want coefficients \(a, b, c\); got 'relu'"),
        ({"pool": 2}, "divides the 1 patches; got 2"),
        ({"X": None, "patches": PATCHES, "pool": 3}, "divides the 4 patches; got 3"),
        ({"X": None, "patches": PATCHES, "pool": 0}, "divides the 4 patches; got 0"),
        ({"X": None, "patches": PATCHES, "pool": 2.0}, "an integer that divides"),
        ({"X": None, "patches": PATCHES[:, 0]}, "patches"),
        ({"X": None, "patches": PATCHES * np.nan}, "finite"),
        ({"patches": PATCHES[:7]}, "want patches of X, 8 samples; got 7"),
    ],
)
def test_bad_arguments(options, message):
    with pytest.raises(ValueError, match=message):
        cj.programs.make_polynomial(**{"X": X, "y": Y, "beta": 0.1, **options})


def test_labels_are_read_by_column():
    labels = np.where(np.random.default_rng(0).standard_normal((8, 2)) > 0, 1, -1)
    program = make(y=labels, loss=cj.losses.logistic())
    assert_array_equal(program.y, labels)
    assert program.shape == (2, 2, 4, 4)
