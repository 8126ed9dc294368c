"""The relaxation between exact values, networks of signs drawn from it, refusals."""

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import cvxjax as cj
from cvxjax.networks import Quantized
from cvxjax.solvers import Semidefinite
from tests.references import clarabel, cvxpy_loss

KRIVINE = np.pi / (2 * np.log(1 + np.sqrt(2)))


def draw(seed=0, n=8, d=3):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, d)), rng.standard_normal(n)


def make(seed=0, beta=0.3):
    return cj.programs.make_quantized(*draw(seed), beta=beta)


def predict(variables, X):
    """x^T (sum_j alpha_j u_j v_j^T) x, in NumPy."""
    u, v, alpha = parts(variables)
    return np.sum((X @ u.T) * (X @ v.T) * alpha, axis=1)


def parts(variables):
    params = variables["params"]
    left, right, second = (
        np.asarray(params[k]["kernel"]) for k in ("left", "right", "second")
    )
    return left.T.astype(float), right.T.astype(float), second[:, 0]


def objective(program, variables):
    z = predict(variables, np.asarray(program.X))
    fit = float(program.loss.value(z, np.asarray(program.y)))
    return fit + float(program.beta) * float(np.sum(np.abs(parts(variables)[2])))


def exact(program):
    """The best network: the l1 problem over all pairs of sign vectors, by CVXPY."""
    X, y = np.asarray(program.X), np.asarray(program.y)
    d = X.shape[1]
    signs = np.array(np.meshgrid(*[[-1, 1]] * d)).reshape(d, -1)
    features = (X @ signs)[:, :, None] * (X @ signs)[:, None, :]
    alpha = cp.Variable(4**d)
    value, _ = cvxpy_loss(program.loss, features.reshape(len(X), -1) @ alpha, y)
    return clarabel(
        cp.Problem(cp.Minimize(value + float(program.beta) * cp.norm1(alpha)))
    )


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("beta", [0.05, 0.5])
def test_the_exact_value_is_between_two_relaxations(seed, beta):
    program = make(seed, beta)
    want = exact(program)
    lower = cj.solve(program).check()
    certificate = cj.certify(program, lower)
    assert certificate.scope is cj.Scope.GLOBAL_BOUND
    assert certificate.dual <= float(lower.objective) <= want * (1 + 1e-7)
    upper = cj.solve(program.replace(beta=KRIVINE * program.beta)).check()
    assert want <= float(upper.objective) * (1 + 1e-7)


def test_the_relaxation_may_be_strict():
    gaps = []
    for seed in range(4):
        program = make(seed, 0.5)
        gaps.append(1 - float(cj.solve(program).objective) / exact(program))
    assert max(gaps) > 1e-3 and min(gaps) >= -1e-7


@pytest.mark.parametrize("seed", range(3))
def test_matrix(seed):
    program = make(seed)
    w = cj.solve(program).check().params
    Q = np.asarray(program.matrix(w))
    assert Q.shape == (6, 6)
    assert_allclose(Q, Q.T, rtol=1e-13, atol=1e-14)
    rho = float(np.mean(np.diag(Q)))
    assert np.min(np.linalg.eigvalsh(Q)) >= -1e-12 * rho
    assert_allclose(np.diag(Q), rho, rtol=1e-12)
    Z, X = Q[:3, 3:], np.asarray(program.X)
    assert_allclose(np.sum((X @ Z) * X, axis=1), program.forward(w), atol=1e-12)
    z = np.asarray(program.forward(w))
    want = np.sum((z - program.y) ** 2) / 2 + float(program.beta) * rho
    assert_allclose(program.objective(w), want, rtol=1e-12)


def test_no_network_is_below_the_dual():
    """Drawn and refitted ones, and the best of three neurons of random signs."""
    program = make(1)
    solution = cj.solve(program).check()
    dual = cj.certify(program, solution).dual
    values = []
    for seed in range(5):
        variables = program.recover(
            solution.params, key=jax.random.key(seed), num_neurons=30, refit=True
        )
        values.append(objective(program, variables))
    X, y, beta = np.asarray(program.X), np.asarray(program.y), float(program.beta)
    rng = np.random.default_rng(0)
    for _ in range(2000):
        u, v = rng.choice([-1, 1], size=(2, 3, 3))
        features = (X @ u.T) * (X @ v.T)
        alpha = np.linalg.lstsq(features, y, rcond=None)[0] * rng.uniform(0.3, 1)
        values.append(
            np.sum((features @ alpha - y) ** 2) / 2 + beta * np.sum(np.abs(alpha))
        )
    assert min(values) >= dual
    assert min(values) <= 1.2 * dual
    assert min(values) >= exact(program) * (1 - 1e-7)


def test_recover():
    program = make()
    w = cj.solve(program).check().params
    rho = float(np.mean(np.diag(program.matrix(w))))
    variables = program.recover(w, num_neurons=40)
    params = variables["params"]
    for side in ("left", "right"):
        kernel = params[side]["kernel"]
        assert kernel.dtype == np.int8 and kernel.shape == (3, 40)
        assert_array_equal(np.abs(kernel), 1)
    assert_allclose(np.sum(np.abs(params["second"]["kernel"])), KRIVINE * rho)
    assert isinstance(program.network(), Quantized)
    f = program.network().apply(variables, program.X)
    assert_allclose(f, predict(variables, np.asarray(program.X)), atol=1e-12)
    assert program.recover(w)["params"]["left"]["kernel"].shape == (3, 500)
    with pytest.raises(ValueError, match="want num_neurons >= 0; got -1"):
        program.recover(w, num_neurons=-1)


def test_draws_follow_the_key():
    program = make()
    w = cj.solve(program).check().params
    first = program.recover(w, num_neurons=40)
    for key, same in ((0, True), (1, False)):
        again = program.recover(w, key=jax.random.key(key), num_neurons=40)
        equal = [
            np.array_equal(first["params"][k]["kernel"], again["params"][k]["kernel"])
            for k in ("left", "right")
        ]
        assert all(equal) if same else not any(equal)


def test_the_draws_are_unbiased():
    program = make()
    X, w = np.asarray(program.X), cj.solve(program).check().params
    count = 200_000
    variables = program.recover(w, key=jax.random.key(3), num_neurons=count)
    u, v, alpha = parts(variables)
    each = (X @ u.T) * (X @ v.T) * alpha * count  # of which f is the mean
    error = np.std(each, axis=1) / np.sqrt(count)
    miss = np.mean(each, axis=1) - np.asarray(program.forward(w))
    assert np.all(np.abs(miss) <= 5 * error)
    assert np.max(error) <= 0.05 * np.max(np.abs(program.forward(w)))


def test_the_refit_is_between_the_bound_and_the_draw():
    program = make(2)
    solution = cj.solve(program).check()
    options = {"key": jax.random.key(5), "num_neurons": 25}
    plain = program.recover(solution.params, **options)
    better = program.recover(solution.params, refit=True, **options)
    dual = cj.certify(program, solution).dual
    assert dual <= objective(program, better) <= objective(program, plain)
    pairs = {tuple(row) for row in np.hstack(parts(plain)[:2])}
    pairs |= {tuple(-np.array(row)) for row in pairs}
    swapped = {row[3:] + row[:3] for row in pairs}
    flipped = {row[:3] + tuple(-np.array(row[3:])) for row in pairs | swapped}
    kept = {tuple(row) for row in np.hstack(parts(better)[:2])}
    assert kept <= pairs | swapped | flipped
    assert len(kept) == parts(better)[2].size < 25
    assert better["params"]["second"]["kernel"].dtype == program.X.dtype


def test_all_neurons_refitted_are_the_exact_value():
    program = make(3)
    solution = cj.solve(program).check()
    variables = program.recover(solution.params, num_neurons=2000, refit=True)
    assert_allclose(objective(program, variables), exact(program), rtol=1e-6)


def test_what_is_not_feasible_is_not_drawn_from():
    program = make()
    w = cj.solve(program).check().params
    wrong = {
        "a diagonal that varies": w.at[0, 0, 0, 0].add(0.1),
        "a negative eigenvalue": w.at[0].add(-jnp.eye(3)).at[1].add(jnp.eye(3)),
        "NaN or infinity": w.at[0, 0, 0, 0].set(jnp.nan),
        "entries unsymmetric": w.at[0, 0, 0, 1].add(0.1).at[1, 0, 0, 1].add(-0.1),
    }
    for message, params in wrong.items():
        with pytest.raises(ValueError, match=message):
            program.recover(params)
    with pytest.raises(
        ValueError, match=r"want params \[2, 1, 3, 3\]; got \[2, 3, 3\]"
    ):
        program.recover(w[:, 0])
    rough = cj.solve(program, Semidefinite(max_iters=2))
    assert rough.status == cj.Status.MAX_ITERATIONS
    program.recover(rough.params)  # far from the optimum, but feasible


X, Y = draw()


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"X": np.where(X > 1, np.nan, X)}, "want X of finite float64"),
        ({"X": X[0]}, r"want X \[n, d\]"),
        ({"X": X.astype(str)}, "want X of real numbers"),
        ({"y": Y[:7]}, r"want X \[n, d\], y \[n\]; got \(8, 3\), \(7,\)"),
        ({"y": Y[:, None] * [1, 2]}, r"y \[n\]; got \(8, 3\), \(8, 2\)"),
        ({"y": np.full(8, np.inf)}, "want finite y"),
        ({"y": ["1"] * 8}, "want real numbers for y"),
        ({"loss": cj.losses.logistic()}, r"logistic loss wants labels -1 and \+1"),
        ({"loss": cj.losses.interpolation()}, "no constraint; got interpolation"),
        ({"loss": cj.losses.hard_margin()}, "no constraint; got hard_margin"),
        ({"beta": 0}, "want a finite beta > 0; got 0"),
        ({"beta": -1.0}, "want a finite beta > 0; got -1.0"),
        ({"beta": "1"}, "want a number for beta"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        cj.programs.make_quantized(**{"X": X, "y": Y, "beta": 0.1, **arguments})


def test_integers_are_floats():
    program = cj.programs.make_quantized(np.eye(3, dtype=int), [1, 2, 3], beta=1)
    assert program.X.dtype == program.y.dtype == float
