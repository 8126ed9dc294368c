"""The benchmark: its worker processes, its judge, its scores, and a smoke run."""

from __future__ import annotations

import dataclasses
import sys

import numpy as np
import pytest

import cvxjax as cj
from experiments import bench_solvers as experiment
from experiments._peers import session, suites
from experiments._peers.judge import feasible_point, judge, make_program, project
from experiments._peers.lines import LINES, Line
from experiments._peers.measure import measure, warm
from experiments._peers.scores import errors, seconds_to
from experiments._peers.session import Adapter, Failed, NotInstalled, Session
from experiments._record import Verdict
from tests import references


@pytest.fixture(scope="module")
def problem() -> suites.Problem:
    return suites.planted(30, 3, 10, beta=0.5)


@pytest.fixture(scope="module")
def optima(problem) -> list[float]:
    """With cones and without, by CVXPY and Clarabel in this process."""
    gated = dataclasses.replace(problem, gated=True)
    return [references.two_layer_optimum(make_program(p)) for p in (problem, gated)]


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return experiment.run(experiment.Config.smoke())


def test_every_answer_of_a_run_is_feasible_and_its_bounds_hold(arrays, optima):
    asked = np.isfinite(arrays["objective"])
    assert {"cvxjax", "Clarabel"} <= set(arrays["line"][asked].tolist())
    optimum = np.asarray(optima)[arrays["case"]]
    assert np.all(arrays["objective"][asked] >= optimum[asked] * (1 - 1e-7))
    assert np.all(arrays["bound"][asked] <= optimum[asked] * (1 + 1e-7))
    for case, best in enumerate(optima):
        rows = asked & (arrays["case"] == case)
        assert arrays["objective"][rows].min() == pytest.approx(best, rel=1e-4)
    assert np.all(arrays["seconds"][asked] > 0)
    assert np.all(arrays["peak_bytes"][asked] > 1e7)


def test_a_run_can_be_drawn_and_claims_what_it_measured(arrays):
    claims = experiment.claims(arrays)
    assert claims[0].measured == "2 of 2 CONVERGED, confirmed by certify"
    assert claims[0].verdict is Verdict.REPRODUCED
    titles = [axis.get_title() for axis in experiment.plot(arrays).axes]
    assert "tiny-relu" in titles and "certified to 0.0001" in titles


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match=r"want lines of .*; got \['adlie'\]"):
        experiment.run(dataclasses.replace(experiment.Config(), lines=("adlie",)))
    with pytest.raises(ValueError, match="want suites of tiny, .*; got 'all'"):
        list(suites.make_cases("all"))


@pytest.mark.parametrize("line", ["adelie", "pyscnn", "SCS"])
def test_a_peer_minimises_the_same_objective(line, problem, optima):
    for p, optimum in zip(
        (problem, dataclasses.replace(problem, gated=True)), optima, strict=True
    ):
        settings = LINES[line].settings(p.gated)[-1]
        try:
            with Session(LINES[line].peer) as peer:
                params = peer.ask(p, settings, limit=60).arrays["params"]
        except NotInstalled as reason:
            pytest.skip(str(reason))
        verdict = judge(make_program(p), params)
        assert verdict.objective == pytest.approx(optimum, rel=1e-3)
        assert verdict.raw == pytest.approx(optimum, rel=1e-3)


def test_a_peer_that_is_not_installed_is_left_out(problem, monkeypatch, arrays):
    monkeypatch.setitem(session.ADAPTERS, "adelie", Adapter("adelie", "nowhere"))
    lines = [LINES["adelie"]]
    rows = measure(problem, lines, repeats=1, limit=30, slow=1)
    assert rows["note"].tolist() == ["not installed: no environment nowhere"]
    monkeypatch.setitem(session.ADAPTERS, "adelie", Adapter("no_such_peer", None))
    with pytest.raises(NotInstalled, match="no_such_peer"), Session("adelie"):
        pass

    without = {**arrays, "note": arrays["note"].astype("U60")}
    absent = without["line"] != "cvxjax"
    without["note"][absent] = "not installed: nothing"
    claims = experiment.claims(without)
    assert claims[-1].verdict is Verdict.UNCHECKABLE
    caption = experiment.plot(without).get_supxlabel().replace("\n", " ")
    assert "Clarabel (not installed: nothing)" in caption


def test_what_a_worker_cannot_do_is_an_outcome(problem):
    with Session("clarabel") as worker:
        with pytest.raises(Failed, match="KeyError"):
            worker.ask(problem, {"solver": "CLARABEL"}, limit=30)
        answer = worker.ask(problem, {"solver": "CLARABEL", "tol": 1e-6}, limit=30)
        assert answer.arrays["params"].shape == problem.shape
        with pytest.raises(Failed, match="no answer in 0 s"):
            worker.ask(problem, {"solver": "CLARABEL", "tol": 1e-6}, limit=0)
        assert not worker.alive
        with pytest.raises(Failed, match="has ended"):
            worker.ask(problem, {}, limit=1)


def test_a_line_that_fails_is_a_row_with_a_reason(problem):
    line = Line(name="broken", peer="clarabel", relu=({"solver": "CLARABEL"}, {}))
    rows = measure(problem, [line], repeats=1, limit=30, slow=1)
    assert rows["line"].tolist() == ["broken"]
    assert "KeyError" in str(rows["note"][0])
    assert np.isnan(rows["seconds"]).all() and np.isnan(rows["gap"]).all()


def test_an_infeasible_point_is_projected_and_then_worth_no_less_than_the_optimum(
    problem, optima
):
    program = make_program(problem)
    referee = program.judge()
    params = np.random.default_rng(1).standard_normal(problem.shape)
    projected = project(referee, params)
    for s in range(2):
        for i, mask in enumerate(problem.masks):
            A = np.where(mask[:, None], problem.X, -problem.X)
            expected = references.project_cone(A, params[s, i])
            np.testing.assert_allclose(projected[s, i], expected, atol=1e-9)

    beta = problem.beta
    point = feasible_point(referee, params, problem.y, beta)
    assert references.two_layer_violation(program, point) <= 1e-13
    matrix = references.two_layer_matrix(program)

    def objective(w):
        penalty = np.linalg.norm(w, axis=-1).sum()
        return 0.5 * np.sum((matrix @ w.ravel() - problem.y) ** 2) + beta * penalty

    value = judge(program, params)
    assert value.objective == pytest.approx(objective(point), rel=1e-10)
    assert value.raw == pytest.approx(objective(params), rel=1e-10)
    assert value.bound <= optima[0] <= value.objective
    assert objective(point) <= min(objective(t * point) for t in (0, 0.9, 1.1))


def test_the_optimum_of_the_gated_problem_is_made_dearer_by_the_cones(problem, optima):
    gated = make_program(dataclasses.replace(problem, gated=True))
    solution = cj.solve(gated, cj.solvers.Fista(tol=1e-8)).check()
    verdict = judge(make_program(problem), np.asarray(solution.params))
    assert verdict.raw == pytest.approx(optima[1], rel=1e-6)
    assert verdict.raw < optima[0] <= verdict.objective
    assert verdict.violation > 1e-3


def test_answers_that_are_not_finite_are_worth_nothing(problem):
    verdict = judge(make_program(problem), np.full(problem.shape, np.nan))
    assert verdict.objective == verdict.gap == np.inf


def test_problem_1_is_drawn_in_the_order_stated():
    problem = next(suites.make_cases("problem1")).problem
    rng = np.random.default_rng(0)
    X = rng.standard_normal((500, 20))
    W, a = rng.standard_normal((20, 10)), rng.standard_normal(10)
    y = np.maximum(X @ W, 0) @ a + 0.1 * rng.standard_normal(500)
    gates = rng.standard_normal((20, 200))
    np.testing.assert_array_equal(problem.X, X)
    np.testing.assert_allclose(problem.y, y / np.std(y), rtol=1e-12)
    np.testing.assert_array_equal(problem.masks, (X @ gates >= 0).T)
    assert problem.beta == 1 and not problem.gated


def test_the_tables_are_those_with_the_fewest_entries():
    sizes = {name: n * d for name, (n, d) in cj.data.tables.UCI_SIZES.items()}
    chosen = suites.smallest_tables(24)
    assert len(set(chosen)) == 24
    left = set(sizes) - set(chosen)
    assert max(sizes[name] for name in chosen) < min(sizes[name] for name in left)


def test_scores_of_rows_written_by_hand():
    rows = {
        "case": np.array([0, 0, 0, 1]),
        "cases": np.array(["a", "b"]),
        "line": np.array(["slow", "slow", "fast", "fast"]),
        "objective": np.array([2.2, 2.0, 4.0, 0.5]),
        "bound": np.array([1.0, 1.9, 0.5, np.nan]),
        "seconds": np.array([[9, 1, 3], [9, 6, 6], [2, np.nan, np.nan], [7, 1, 1.0]]),
        "note": np.array(["", "", "", "not installed: x"]),
    }
    np.testing.assert_allclose(warm(rows["seconds"]), [2, 6, 2, 1])
    error = errors(rows)
    np.testing.assert_allclose(error[:3], [0.3 / 2.2, 0.1 / 2.0, 2.1 / 4.0])
    assert np.isnan(error[3])
    times = seconds_to(rows, error, 0.2)
    np.testing.assert_array_equal(times["slow"], [2, np.nan])
    np.testing.assert_array_equal(times["fast"], [np.inf, np.nan])


def test_the_worker_runs_under_this_interpreter_where_no_other_is_named():
    assert str(session.ADAPTERS["cvxjax"].python) == sys.executable


def test_a_slow_answer_is_asked_for_once_but_a_compiled_one_again(problem):
    peer = Line(name="peer", peer="clarabel", relu=LINES["Clarabel"].relu[:1])
    ours = Line(name="ours", peer="cvxjax", relu=LINES["interior-point"].relu[:1])
    rows = measure(problem, [peer, ours], repeats=2, limit=60, slow=0.0)
    asked = np.isfinite(rows["seconds"]).tolist()
    assert asked == [[True, False, False], [True, True, False]]
