"""Programs that `scripts/fuzz` found to go wrong, shrunk; one test a kind."""

import jax
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.arrangements import enumerate_patterns, from_gates
from cvxjax.bounds.multiples import scaled_dual
from cvxjax.programs import (
    make_batch_norm,
    make_quantized,
    make_two_layer,
    make_vector_output,
)
from cvxjax.returned import inside
from cvxjax.solvers.neurons.rounds import NeuronRounds
from cvxjax.watch import Watch
from tests import instances
from tests.references import two_layer_matrix

Status = cj.Status
FEW = cj.solvers.Admm(max_iters=100)
NEARLY_PARALLEL = (  # two rows, of different labels
    np.array(
        [
            [0.3342170715332031, 0.04816116765141487],
            [0.22961275279521942, 0.9712396862122681],
            [0.023623459041118622, 0.00340417493134737],
            [0.9720910787582397, 0.9751132130622864],
        ]
    ),
    np.array([1.0, 1.0, -1.0, 1.0]),
)


def test_cells_of_almost_equal_rows_are_round_for_the_relaxation():
    """A clock beside a bias: facets so alike that products of them lose the angle."""
    X = np.array(
        [[617.6788812058769, 1], [617.678847600445, 1], [617.6788833011004, 1]]
    )
    y = np.array([[7e-11, 0.4], [1e-10, 0.4], [8e-10, 0.4]])
    program = make_vector_output(X, y, enumerate_patterns(X), beta=500.0)
    solution = cj.solve(program, cj.solvers.CopositiveRelaxation())
    assert solution.check().gap <= 1e-7
    assert cj.certify(program, solution).gap <= 1.1e-7


def thin_cells():
    """A constant of 1e9 beside readings: rounding alone put points outside, by 0.57."""
    readings = [410.849, 411.374, 411.721, 411.328, 411.539, 411.103, 410.587, 411.545]
    X = np.column_stack([np.full(8, 1e9), readings])
    gates = [-4.1153934302e-7, -7.0476893616e-7, -4.1063987012e-7, -4.1110276562e-7]
    return make_two_layer(
        X,
        np.array([-2.0, 2, -1, 0, -2, -1, -2, 2]),
        from_gates(X, np.column_stack([gates, np.ones(4)])),
        beta=0.02,
        loss=cj.losses.huber(11.2178),
    )


@pytest.mark.full
@pytest.mark.filterwarnings("ignore:left out")
def test_solutions_of_thin_cells_are_inside():
    program = thin_cells()
    solution = cj.solve(program)
    certificate = cj.certify(program, solution)
    assert certificate.cone_violation <= 1e-14
    assert float(solution.objective) == pytest.approx(certificate.primal, rel=1e-12)


@pytest.mark.filterwarnings("ignore:left out")
def test_points_of_thin_cells_are_returned_inside():
    program = thin_cells()
    judge = program.judge()
    noise = 1 + 1e-2 * np.random.default_rng(0).standard_normal(program.shape)
    outside = np.asarray(program.cones.interior) * noise
    assert judge.violation(outside) > 1e-3
    moved = inside(program, outside)
    assert judge.violation(moved) <= 1e-14 and np.all(np.any(moved != 0, axis=2))
    hopeless = program.replace(
        cones=program.cones.replace(interior=-program.cones.interior)
    )
    np.testing.assert_array_equal(inside(hopeless, outside), 0)
    point = instances.point_of(hopeless, outside, np.zeros(8))
    assert cj.certify(hopeless, point).primal == np.inf


def test_penalties_that_rounding_would_lose_do_not_blow_up():
    """Gated softmax beside a constant of 1e9: Admm's penalty fell below rounding."""
    X = np.column_stack([[1.0, -1, 0, 2, -3], np.full(5, 1.04e9)])
    Y = np.eye(3)[[0, 2, 1, 0, 1]]
    patterns = from_gates(X, np.array([[0.3, 1.0], [-0.2, -1.0]]))
    program = make_vector_output(X, Y, patterns, beta=1e-3, loss="softmax", gated=True)
    solution = cj.solve(program, cj.solvers.Admm(max_iters=2000))
    assert int(solution.status) == Status.MAX_ITERATIONS
    assert np.isfinite(cj.certify(program, solution).primal)


@pytest.mark.filterwarnings("ignore:left out")
def test_labels_that_are_met_to_the_constraint_are_not_called_out_of_reach():
    """Offsets of 1e9 miss equal labels by 1e-10, of the 1e-9 that may be missed."""
    offsets = [1.09375, 0.90625, 1.03125, 1.09375, 0.96875, 0.9375, 0.96875]
    X = np.column_stack([1e9 + np.array(offsets), [2.0, 1, -1, 3, -2, -1, -2]])
    gates = np.array([[0.0, 1], [-3.4910877378525614e-9, 1], [2.0302633348e-9, 1]])
    patterns = from_gates(X, np.vstack([gates, [1.2772939175e-6, 0.999999]]))
    program = make_two_layer(
        X, np.full(7, 4.0), patterns, beta=3e7, loss="interpolation"
    )
    solution = cj.solve(program)
    assert int(solution.status) != Status.INFEASIBLE
    assert np.isfinite(cj.certify(program, cj.solve(program, FEW)).primal)
    apart = program.replace(y=program.y.at[0].set(5.0))  # of two rows, alike in a cell
    assert int(cj.solve(apart, FEW).status) == Status.INFEASIBLE


@pytest.mark.parametrize(
    "scale, status", [(1, Status.STALLED), (1e-9, Status.CONVERGED)]
)
def test_networks_that_rounding_makes_others_are_not_called_converged(scale, status):
    """Columns that cancel at 2e9: float64 loses 2e-7 in the network's first layer."""
    X = np.array([[0.7, 0.7], [8e8 * scale, 2e9 * scale], [0.4, 0.8], [0.4, 0.2]])
    y = np.array([[-7e4, 0.01], [50, -0.003], [20, 0.003], [-90, -0.0008]])
    program = make_batch_norm(X, y, beta=2000.0)
    solution = cj.solve(program)
    assert int(solution.status) == status
    z = program.network().apply(program.recover(solution.params), program.inputs)
    miss = np.max(np.abs(z - program.forward(solution.params))) / 7e4
    assert (miss <= 1e-8) == (status == Status.CONVERGED)
    assert cj.certify(program, solution).gap <= 1.1e-7


@pytest.mark.parametrize(
    "gated, share, value",
    [(True, 1e-50, 1e-50), (True, 0.1, 0.095), (False, 0.1, 0.095)],
)
def test_data_whose_squares_underflow_are_solved(gated, share, value):
    """CASES 1.14: 1e-50 is the optimum where 0.5 was certified, and then refused."""
    program = make_two_layer([[1e-200]], [1.0], beta=share * 1e-200, gated=gated)
    solution = cj.solve(program)
    certificate = cj.certify(program, solution)
    assert int(solution.status) == Status.CONVERGED and certificate.gap <= 1e-8
    assert certificate.dual == pytest.approx(value, rel=1e-6)
    fit = 1 - share
    assert float(program.penalty(solution.params)) == pytest.approx(
        fit * 1e200, rel=1e-4
    )
    z = program.network().apply(program.recover(solution.params), program.inputs)
    np.testing.assert_allclose(z, fit, rtol=1e-4)


def test_objectives_of_float32_points_are_summed_in_float64():
    """8.605e-5 was said of a point whose objective is 8.616e-5."""
    X = np.array(
        [
            [1.7584701, -0.454655],
            [0.149129, -0.596889],
            [1.1116398, 0.865305],
            [1.74037, 0.727686],
        ],
        np.float32,
    )
    y = np.array([1, -1, -1, -1], np.float32)
    program = make_two_layer(X, y, enumerate_patterns(X), beta=2e-5, loss="hinge")
    solution = cj.solve(program, cj.solvers.WorkingSet())
    certificate = cj.certify(program, solution)
    assert float(solution.objective) >= (1 - 5e-5) * certificate.primal
    converged = int(solution.status) == Status.CONVERGED
    assert converged == (certificate.gap <= 1.1e-4)


@pytest.mark.filterwarnings("ignore:2 of 6 cells are too thin")
@pytest.mark.parametrize("outputs", [None, 2])
def test_gates_too_thin_for_float32_decide_as_the_networks_do(outputs):
    """Rows nearly parallel: a gate between them rounds to one side of both."""
    X = np.array([[8.41e-4, 1], [-5.1e-4, 1], [-1.53e-3, 3]]).astype(np.float32)
    y = np.ones(3, np.float32)
    patterns = enumerate_patterns(X)
    assert len(patterns.masks) == 6
    if outputs is None:
        program = make_two_layer(X, y, patterns, beta=2.0, loss="hinge", gated=True)
    else:
        labels = np.stack([y, -y], axis=1)
        program = make_vector_output(X, labels, patterns, beta=0.1, gated=True)
    active = X.astype(float) @ np.asarray(program.gates, float).T >= 0
    np.testing.assert_array_equal(np.asarray(program.masks), active.T)
    solution = cj.solve(program)
    z = program.network().apply(program.recover(solution.params), program.inputs)
    miss = np.max(np.abs(z - program.forward(solution.params)))
    assert miss <= 1e-4 or int(solution.status) == Status.STALLED


def test_bounds_of_quantized_networks_are_as_good_as_the_solver_says():
    """Weights of 7 beside 1e-3: the judge's steps ended at 1e-8, and 1e-6 was lost."""
    X = np.array(
        [[-0.25, 0.67, 0.18, -0.31, 0.91], [1.4, -0.74, -0.26, -0.74, -0.11]]
    ).T * np.array([1, 1e-3])
    X = np.insert(X, 1, 7.0, axis=1)
    y = np.array([1.0, -1, 1, -1, 1])
    program = make_quantized(X, y, beta=0.01, loss="hinge")
    solution = cj.solve(program).check()
    assert cj.certify(program, solution).gap <= 1.1e-8


def test_a_small_column_is_not_out_of_reach():
    """Readings of 1e-6 beside 2e7 tell the samples apart; a network of 1e8 fits."""
    X = np.array([[7e-6, 2e7], [7e-7, 2e7], [6e-6, 2e7]])
    gates = np.array([[-1, -4e-10], [-1, 2e-10], [-1, 2e-13], [-1, 3e-13], [-1, 5e-7]])
    program = make_two_layer(
        X, np.array([1.0, -1, -1]), from_gates(X, gates), beta=3.0, loss="hard_margin"
    )
    solution = cj.solve(program, cj.solvers.Admm())
    assert int(solution.status) != Status.INFEASIBLE


@pytest.mark.filterwarnings("ignore:left out", "ignore:.*too thin")
@pytest.mark.parametrize("solver", [None, cj.solvers.WorkingSet()])
def test_float32_points_of_thin_cells_converge_if_the_certificate_agrees(solver):
    """One reading of 50 among readings of 0.5: 19.6 was said, 45 could be certified."""
    X = np.array([[0.06, 0.4, 50, 0.4, 0.6, 0.8], [1, 1, 100, 1, 1, 1]], np.float32).T
    y = np.array([0.2, -0.2, 20, 0.02, 0.3, 0.04], np.float32)
    program = make_batch_norm(X, y, beta=1.0)
    solution = cj.solve(program, solver)
    if int(solution.status) == Status.CONVERGED:
        assert cj.certify(program, solution).gap <= 1.1e-4


def test_labels_that_active_blocks_alone_do_not_reach_are_matched_by_others():
    """Nearly fitted in float32 by blocks that cannot fit exactly; others can."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((6, 2))
    y = rng.standard_normal(6)
    patterns = enumerate_patterns(X)
    program = make_two_layer(X, y, patterns, beta=1.0, loss="interpolation", gated=True)
    judge = program.judge()
    least = np.linalg.lstsq(two_layer_matrix(program), y, rcond=None)[0]
    params = least.reshape(program.shape).astype(np.float32).astype(np.float64)
    few = np.zeros_like(params)
    few[0, 0] = params[0, np.argmax(np.linalg.norm(params[0], axis=-1))]
    for start in (params, few):
        matched = judge.match(start, y)
        np.testing.assert_allclose(judge.predict(matched), y, rtol=0, atol=1e-13)
    lone = program.replace(
        masks=program.masks[:1], gates=program.gates[:1], scope=cj.Scope.SAMPLED
    ).judge()
    given = few[:, :1]
    miss = lone.predict(lone.match(given, y)) - y
    assert np.max(np.abs(miss)) > 1e-3  # out of reach of one pattern


def test_neurons_too_small_to_be_balanced_are_left_out():
    """The square of an outer weight underflowed, and its neuron became infinite."""
    X = np.array([[1.0, 2.0], [2.0, -1.0], [-1.0, 0.5]])
    program = make_vector_output(X, np.eye(3, 2), enumerate_patterns(X), beta=0.1)
    rounds = NeuronRounds(program, cj.solvers.FrankWolfe(), Watch())
    rounds.best = np.ones((2, 2)), np.array([[1.0, 0.0], [1e-200, -1e-200]])
    rounds.end_line()
    params = np.asarray(rounds.finish(Status.STALLED).params)
    assert np.all(np.isfinite(params))
    assert np.sum(np.any(params != 0, axis=-1)) == 1


def test_objectives_of_few_neurons_are_their_own():
    """At a tiny beta the neurons left over cost 2 % less than the solver had said."""
    readings = [-0.04, -1.0, 0.0, -2.0]
    X = np.column_stack([np.full(4, 1e6), readings])
    y = np.array([[-0.09, 0.9], [0.2, 0.8], [0.04, 0.8], [1.0, 0.8]])
    program = make_batch_norm(X, y, beta=8e-11)
    solution = cj.solve(program, cj.solvers.CopositiveRelaxation())
    value = float(program.objective(solution.params))
    assert float(solution.objective) == pytest.approx(value, rel=1e-9)


@pytest.mark.parametrize("gated", [True, False])
@pytest.mark.parametrize("loss", ["interpolation", "hard_margin"])
def test_small_samples_do_not_put_labels_out_of_reach(loss, gated):
    """3e-13 beside 3e-4, each active alone: INFEASIBLE, or 1e7 times the optimum."""
    X = np.array([[3e-4], [-3e-13]], np.float32)
    y = np.array([40.0, 0.03] if loss == "interpolation" else [1, 1], np.float32)
    program = make_two_layer(X, y, beta=0.002, loss=loss, gated=gated)
    solution = cj.solve(program).check()
    want = 0.002 * (y[0] / 3e-4 + y[1] / 3e-13)
    assert float(solution.objective) == pytest.approx(want, rel=1e-4)


@pytest.mark.filterwarnings("ignore:.*too thin")
def test_points_that_float64_finds_no_cell_for_are_not_converged():
    """Samples that differ in the sixth digit, in float32: the certificate had inf."""
    X = np.array(
        [[999983, 1000000], [999978, 999997], [999980, 999999], [999978, 999997]],
        np.float32,
    )
    y = np.ones(4, np.float32)
    program = make_two_layer(X, y, beta=2e-5, loss="hinge")
    solution = cj.solve(program)
    certificate = cj.certify(program, solution)
    assert np.isfinite(certificate.primal)
    assert solution.status != Status.NONFINITE
    assert solution.status != Status.CONVERGED or certificate.gap <= 1e-4


@pytest.mark.parametrize("order", ["before", "after"])
def test_normalised_networks_of_columns_of_very_different_size(order):
    """Mixing weights 1e-10 of others kept few digits: predictions 1e-8 to 1e-7 off."""
    X = np.array([[-3e9, 1.0], [0.02, 1.0], [-0.1, 1.0]])
    y = np.array([0.9, 1.0, 0.6])
    if order == "after":
        X = np.array([[3.3, 5.3e9], [3.3, -6.7e9], [2.1e8, -2.3e16], [3.3, -3e8]])
        y = np.array([-5.0, -8.0, -7.0, -4.0])
    program = make_batch_norm(
        X, y, beta=0.06, order=order, centre=False, shift=order == "before"
    )
    solution = cj.solve(program).check()
    network = program.network().apply(program.recover(solution.params), X)
    want = program.forward(solution.params)
    np.testing.assert_allclose(network, want, rtol=0, atol=1e-8 * np.max(np.abs(y)))


def test_a_long_row_does_not_hide_what_short_ones_miss():
    """One reading of 1e8 beside others of order one: a point 1e-7 outside its cell.

    Beside the long row's values that is rounding, and its objective was below the
    bound.
    """
    X = np.array([[1e8, 1.0], [1e-7, -1.0], [1.0, 2.0]])
    program = make_two_layer(X, X[:, 1], from_gates(X, [[1.0, 0.0]]), beta=1.0)
    judge, params = program.judge(), np.zeros(program.shape)
    params[0, 0] = 1.0, 2e-7  # the second row gives -1e-7
    assert 5e-8 < judge.violation(params) < 2e-7
    assert judge.violation(judge.repair(params, keep_predictions=False)) == 0


def test_a_bound_of_listed_patterns_proves_nothing_about_all_networks():
    """Rounding hid the gap of an exhaustive bound; that of one pattern replaced it."""
    X = np.array([[2e3, 3e-6], [-1e4, 2e5], [2e3, 3e-6], [2e3, 3e-6]])
    y = np.array([1.0, 1.0, -1.0, 1.0])
    options = {"beta": 1e-6, "loss": cj.losses.logistic()}
    program = make_two_layer(X, y, from_gates(X, np.array([[-1e-9, 1.0]])), **options)
    solution = cj.solve(program, cj.solvers.ColumnGeneration())
    certificate = cj.certify(program, solution)
    assert certificate.scope is solution.scope is cj.Scope.EXHAUSTIVE
    size = abs(certificate.primal)
    assert abs(float(solution.dual_bound) - certificate.dual) <= 1e-6 * size
    if solution.status == Status.CONVERGED:
        assert certificate.gap <= 1.1e-4


def test_a_float32_dual_vector_that_rounding_spoils_has_not_converged():
    """Two nearly parallel rows: rounding v to float32 moved its price by 250 beta."""
    X, y = map(np.float32, NEARLY_PARALLEL)
    with pytest.warns(UserWarning, match="too thin"):
        patterns = cj.arrangements.enumerate_patterns(X)
    options = {"beta": 1e-10, "loss": cj.losses.hinge()}
    program = make_two_layer(X, y, patterns, **options)
    solution = cj.solve(program, cj.solvers.ColumnGeneration())
    certificate = cj.certify(program, solution)
    assert abs(float(solution.dual_bound) - certificate.dual) <= 1e-5
    assert (solution.status == Status.CONVERGED) == (certificate.gap <= 1e-4)


def test_a_float32_network_that_fits_up_to_rounding_alone_is_imprecise():
    """One that fits exactly costs more than the tolerance of 1e-4."""
    X = np.array(
        [[1, 0.7], [0.7, 0.3], [0.02, 0.8], [0.4, 0.08], [0.6, 0.4]], np.float32
    )
    y = np.array([0.58, 0.12, 1.2, 0.014, 0.37], np.float32)
    options = {"beta": 0.02, "loss": cj.losses.interpolation()}
    program = make_two_layer(X, y, cj.arrangements.enumerate_patterns(X), **options)
    solution = cj.solve(program, cj.solvers.Admm())
    assert cj.certify(program, solution).gap > 1.1e-4 >= float(solution.gap)
    assert solution.status == Status.IMPRECISE
    assert cj.solve(program).status == Status.CONVERGED


def test_a_multiple_of_a_dual_vector_without_an_end_is_finite():
    """Where nothing is priced, the bound grows with the multiple until it overflows."""
    v, y = np.array([-1e-3, -1.0, 1e20]), np.array([-1.0, -1.0, 1.0])
    value, t = scaled_dual(cj.losses.hard_margin(), v, y, 0.4, 1e-320)
    assert value > 1e100
    assert np.isfinite(t)


def test_no_float32_point_outside_a_thin_cell_counts_as_feasible():
    """Two rows are parallel but for rounding; the cells between are thinner than it."""
    X = np.array([[-0.11437109112739563, -3.0897865295410156],
                  [-0.03812369704246521, -1.0299288034439087],
                  [0.48355379700660706, -1.2969661951065063]], np.float32)  # fmt: skip
    y, options = (
        np.ones(3, np.float32),
        {"beta": 3.0, "loss": cj.losses.interpolation()},
    )
    with pytest.warns(UserWarning, match="too thin for a gate"):
        patterns = cj.arrangements.enumerate_patterns(X)
    program = make_two_layer(X, y, patterns, **options)
    solution = cj.solve(program, cj.solvers.Admm(max_iters=500))
    assert solution.status == Status.MAX_ITERATIONS
    assert np.isinf(solution.objective) and float(solution.dual_bound) < 1.4e9


def test_a_gated_network_whose_sums_cancel_is_imprecise():
    """In any order of its terms a prediction is off by 1e-6 of the largest label."""
    X = np.array([[0.09, 0.6], [0.5, 0.8], [0.04, 0.4], [3e9, 3e10]])
    y = np.array([-2e-08, -9e-08, -1e-07, -7e-08])
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=5)
    program = make_two_layer(X, y, patterns, beta=3e-9, gated=True)
    solution = cj.solve(program)
    assert solution.status == Status.IMPRECISE
    assert cj.certify(program, solution).gap <= 1e-8
