"""Calls as people write them: each works, or one sentence says what arrived and why.

Situations from public bug reports of neighbouring projects and from new users' files
(section 3 of the cases).
"""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers import loop
from cvxjax.solvers.starts import check_start
from tests import instances

S = cj.solvers
X, Y = instances.draw_data(8, 2)
SIGNS = np.sign(Y)
KEY = jax.random.key(0)


def make(X=X, y=Y, **options):
    return cj.programs.make_two_layer(X, y, **{"beta": 0.1} | options)


def program():
    return instances.program_of("two_layer/squared")


def vectors(Y):
    return cj.programs.make_vector_output(X, Y, beta=0.1)


class Frame:
    """What NumPy and JAX see of a data frame or a series of pandas."""

    def __init__(self, values):
        self.values, self.shape, self.ndim = values, values.shape, values.ndim

    def __array__(self, dtype=None, copy=None):
        return np.array(self.values, dtype)

    def __len__(self):
        return len(self.values)


def sparse():
    return pytest.importorskip("scipy.sparse").csr_matrix(X)


def traced(solve):
    return jax.jit(lambda p: solve(p).objective)(program())


REFUSED = {
    "a loss's class": (
        lambda: make(loss=cj.losses.Huber),
        r"got the class Huber, not called \(want one such as losses\.huber\(\), or",
    ),
    "a loss's function": (
        lambda: make(loss=cj.losses.squared),
        "want a loss .* got the function squared, not called",
    ),
    "no loss's name": (lambda: make(loss="mse"), "got 'mse' .*or a name of .*huber"),
    "a number for a key": (
        lambda: cj.arrangements.sample_patterns(0, X, num=3),
        r"want a key such as jax\.random\.key\(0\); got 0",
    ),
    "an array for a key": (
        lambda: cj.arrangements.sample_patterns(X, X, num=3),
        "want a key .*; got ndarray",
    ),
    "sparse X": (
        lambda: make(sparse()),
        r"want a dense array for X; got a sparse csr_matrix \(X\.toarray\(\) is dense",
    ),
    "sparse y": (
        lambda: make(y=sparse()[:, 0]),
        "want a dense array for y; got a sparse csr_matrix",
    ),
    "classes for several outputs": (
        lambda: vectors(np.arange(8) % 3),
        r"want Y \[8, c\], a column for each output; got labels \[8\] .*np\.eye\(c\)",
    ),
    "a stride of 0": (
        lambda: cj.arrangements.extract_patches(X[None], 2, strides=0),
        "want strides, an integer >= 1 or two; got 0",
    ),
    "three strides": (
        lambda: cj.arrangements.extract_patches(X[None], 2, strides=(1, 1, 1)),
        r"want strides, an integer >= 1 or two; got \(1, 1, 1\)",
    ),
    "solve under jit": (
        lambda: traced(cj.solve),
        r"got tracers of jit, vmap or grad, where cvxjax\.solvers\.loop\.run\(solver",
    ),
    "solve under grad": (
        lambda: jax.grad(lambda y: cj.solve(program().replace(y=y)).objective)(Y),
        "program.objective at the solution's params",
    ),
    "data under jit": (
        lambda: jax.jit(lambda X: make(X).y)(X),
        r"want X with values; got a tracer .* trace program\.replace\(X=\.\.\.\)",
    ),
    "a start of text": (
        lambda: cj.solve(program(), start="zero"),
        "want start, parameters or a Solution; got str",
    ),
    "a solver's class inside": (
        lambda: cj.solve(program(), S.WorkingSet(inner=S.Admm)),
        r"got the class Admm \(want Admm\(\)\)",
    ),
    "a working set in another": (
        lambda: cj.solve(program(), S.WorkingSet(inner=S.WorkingSet())),
        "WorkingSet cannot take this program: its inner solver is a WorkingSet",
    ),
    "a path under jit": (
        lambda: traced(lambda p: cj.solve_path(p, [0.1])[0]),
        "got tracers of jit, vmap or grad, where",
    ),
    "certify under jit": (
        lambda: traced(lambda p: cj.certify(p, loop.run(S.Admm(max_iters=50), p))),
        "want values; got tracers of jit, vmap or grad: certify runs outside",
    ),
    "no program": (
        lambda: cj.solve(None),
        r"want a program of cvxjax\.programs; got NoneType",
    ),
    "certify, the other way round": (
        lambda: cj.certify(cj.solve(program()), program()),
        "want a program of cvxjax.programs, then its solution; got Solution",
    ),
    "certify parameters": (
        lambda: cj.certify(program(), cj.solve(program()).params),
        "want a Solution, as of cvxjax.solve or Solution.of; got ArrayImpl",
    ),
    "certify words": (
        lambda: cj.certify(program(), cj.solve(program()).replace(params="x")),
        "want params, arrays of numbers; could not convert string",
    ),
    "a tolerance of text": (
        lambda: cj.solve(program(), tol="a"),
        "want tol > 0; got 'a'",
    ),
    "a time limit of text": (
        lambda: cj.solve(program(), time_limit="a"),
        "want time_limit, seconds >= 0; got 'a'",
    ),
    "a quantile of text": (
        lambda: cj.losses.pinball("a"),
        r"want a scalar quantile in \(0, 1\); got 'a'",
    ),
    "weights with NaN": (
        lambda: cj.losses.weighted(cj.losses.squared(), [1.0, np.nan]),
        "want finite weights > 0; got nan for sample 1",
    ),
    "a masked array": (
        lambda: make(np.ma.masked_greater(X, 0)),
        "want X without missing entries; got a masked array with .* masked",
    ),
    "output weights in a column": (
        lambda: cj.recovery.prune(X, Y[:, None], X),
        r"want u \[m, d\], a \[m\] and X \[n, d\]; got \[8, 2\], \[8, 1\], \[8, 2\]",
    ),
    "an unfit inner solver": (
        lambda: cj.solve(program(), S.WorkingSet(inner=S.Fista())),
        "WorkingSet cannot take this program: .*cone constraints",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_one_sentence_says_what_is_wanted(name):
    call, message = REFUSED[name]
    with pytest.raises(ValueError, match=message) as caught:
        call()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "solver, message",
    [
        (S.Admm(memory=-1), "want memory, an integer >= 0; got -1"),
        (S.Admm(cycle=0), "want cycle, an integer >= 1; got 0"),
        (S.Admm(relaxation=5), "want 1 <= relaxation < 2; got 5"),
        (S.Admm(rho=-1), "want rho > 0; got -1"),
        (S.Admm(rho=np.nan), "want rho > 0; got nan"),
        (S.Admm(rho="1"), "want rho > 0; got 1"),
        (S.Admm(rho=None), "want rho > 0; got None"),
        (S.Admm(cone_weight=0), "want cone_weight > 0; got 0"),
        (S.Admm(projection_steps=0), "want projection_steps, an integer >= 1; got 0"),
        (S.Semidefinite(cycle=0), "want cycle, an integer >= 1; got 0"),
        (S.Semidefinite(relaxation=2.0), "want 1 <= relaxation < 2; got 2.0"),
        (S.InteriorPoint(start=0), "want start > 0; got 0"),
        (S.InteriorPoint(refinements=-1), "want refinements, an integer >= 0; got -1"),
        (S.WorkingSet(scouting=0), "want scouting, an integer >= 1; got 0"),
        (S.WorkingSet(inner=S.Admm(rho=-1)), "want rho > 0; got -1"),
        (S.ColumnGeneration(starts=0), "want starts, an integer >= 1; got 0"),
        (S.ColumnGeneration(seed=-1), "want seed, an integer >= 0; got -1"),
        (S.BurerMonteiro(num_neurons=0), "want num_neurons, an integer >= 1; got 0"),
        (S.FrankWolfe(power_steps=0), "want power_steps, an integer >= 1; got 0"),
        (S.LowRankSemidefinite(rounds=0), "want rounds, an integer >= 1; got 0"),
        (S.Stochastic(batch_size=0), "want batch_size, an integer >= 1; got 0"),
        (S.Stochastic(momentum=1.0), "want 0 <= momentum < 1; got 1.0"),
        (S.Stochastic(learning_rate=-0.1), "want learning_rate > 0; got -0.1"),
        (S.SemismoothNewton(max_iters=0), "want max_iters, an integer >= 1; got 0"),
        (S.CopositiveRelaxation(tol=0), "want tol > 0; got 0"),
        (S.SemidefiniteInteriorPoint(tol=-1), "want tol > 0; got -1"),
    ],
    ids=lambda x: type(x).__name__,
)
def test_options_out_of_range_are_named(solver, message):
    with pytest.raises(ValueError, match=message):
        cj.solve(program(), solver)


@pytest.mark.parametrize("name", ["squared", "logistic", "hinge", "huber"])
def test_a_name_is_a_loss(name):
    labels = SIGNS if name in instances.SIGN_LABELS else Y
    assert make(y=labels, loss=name).loss.name == name
    assert cj.programs.make_quantized(X, labels, beta=1.0, loss=name).loss.name == name


def test_frames_series_and_columns_are_arrays():
    frame, series = Frame(X), Frame(Y)
    for given in (make(frame, series), make(frame, Y[:, None]), make(X, [*Y])):
        np.testing.assert_array_equal(given.X, X)
        np.testing.assert_array_equal(given.y, Y)
    p = program()
    variables = p.recover(instances.solution_of("two_layer/squared", "Admm").params)
    want = p.network().apply(variables, X)
    np.testing.assert_array_equal(p.network().apply(variables, frame), want)
    whole = np.round(X)
    integers = p.network().apply(variables, whole.astype(int))
    np.testing.assert_array_equal(integers, p.network().apply(variables, whole))


def test_without_patterns_all_are_taken():
    p = make()
    assert p.scope is cj.Scope.EXHAUSTIVE
    np.testing.assert_array_equal(p.masks, program().masks)
    assert not p.all_patterns
    X, y = instances.draw_data(40, 6)
    assert make(X, y).all_patterns
    with pytest.raises(ValueError, match="want patterns, since there may be"):
        make(X, y, gated=True)


def test_one_number_for_both_sides():
    images = np.random.default_rng(0).standard_normal((2, 5, 5))
    patches = cj.arrangements.extract_patches(images, 2, strides=2)
    want = cj.arrangements.extract_patches(images, (2, 2), strides=(2, 2))
    np.testing.assert_array_equal(patches, want)


def test_admm_without_memory():
    solution = cj.solve(program(), S.Admm(tol=1e-5, memory=0)).check()
    assert_allclose(
        solution.objective, instances.optimum_of("two_layer/squared"), rtol=1e-4
    )
    spectral = instances.program_of("polynomial/squared")
    cj.solve(spectral, S.Semidefinite(tol=1e-3, memory=0)).check()


def test_what_the_sentence_under_jit_says():
    value = traced(lambda p: loop.run(S.Admm(tol=1e-6), p))
    assert_allclose(value, instances.optimum_of("two_layer/squared"), rtol=1e-5)


@pytest.mark.parametrize("name", ["two_layer/squared", "vector_output/relu"])
def test_a_solution_is_a_start(name):
    p = instances.program_of(name)
    solution = cj.solve(p)
    again = cj.solve(p, start=solution).check()
    assert_allclose(again.objective, solution.objective, rtol=1e-6)


def test_a_network_is_a_start_where_patterns_are_listed():
    p = program()
    neurons = np.random.default_rng(0).standard_normal((5, p.X.shape[1]))
    network = neurons.T, np.array([1.0, -2.0, 0.5, 0.0, -1.0])
    start = check_start(network, p, S.Admm())
    X = np.asarray(p.X)
    assert_allclose(p.forward(start.params), np.maximum(X @ neurons.T, 0) @ network[1])
    cj.solve(p, start=network).check()
    few = p.with_patterns(p.masks[:1], p.gates[:1])
    with pytest.raises(ValueError, match="want a start within the program's 1 pat"):
        cj.solve(few, S.Admm(), start=network)


def test_a_path_by_column_generation():
    few = cj.arrangements.sample_patterns(KEY, X, num=3)
    p, best = make(patterns=few), program()
    path = cj.solve_path(p, [0.5, 0.1], S.ColumnGeneration(tol=1e-6, starts=32))
    grown = path[0]
    assert grown.patterns is not None
    want = instances.optimum_of("two_layer/squared")
    assert float(best.beta) == 0.1
    assert_allclose(path[1].check().objective, want, rtol=1e-5)
    with pytest.raises(ValueError, match="got a solution with patterns of its own"):
        cj.solve(p, S.Admm(), start=grown)


def test_a_working_set_around_newton():
    X, y = instances.draw_data(12, 3)
    p = make(X, y, beta=1.0)
    assert 2 * len(p.masks) > 64
    solver = S.WorkingSet(inner=S.SemismoothNewton(), scouting=5)
    solution = cj.solve(p, solver).check()
    assert cj.certify(p, solution).gap <= 1e-8


@pytest.mark.parametrize("where", ["advance", "__init__"])
def test_a_factorisation_that_fails_is_a_status(monkeypatch, where):
    """LinAlgError is a ValueError, by which input would be called wrong."""
    from cvxjax.solvers.blocks import semismooth_newton

    def fail(*_):
        raise np.linalg.LinAlgError("not positive definite")

    monkeypatch.setattr(semismooth_newton._ProximalRounds, where, fail)
    solution = cj.solve(program(), S.SemismoothNewton())
    assert int(solution.status) == cj.Status.STALLED
    assert_allclose(solution.objective, program().objective(solution.params))
