"""The benchmark: its worker processes, its judge, its scores, and a smoke run."""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np
import pytest

import cvxjax as cj
from experiments import bench_solvers as experiment
from experiments._frame.record import Verdict
from experiments._peers import claims as made_of
from experiments._peers import judge as judging
from experiments._peers import measure as measuring
from experiments._peers import session, suites
from experiments._peers.judge import feasible_point, judge, make_program, project
from experiments._peers.lines import LINES, PROFILED, Line
from experiments._peers.measure import Effort, measure, warm
from experiments._peers.scores import errors, longest, seconds_to
from experiments._peers.session import (
    Adapter,
    Answer,
    Failed,
    NotInstalled,
    Session,
    TimedOut,
    Workers,
)
from tests import references


@pytest.fixture(scope="module")
def problem() -> suites.Problem:
    return suites.planted(30, 3, 10, beta=0.5)


@pytest.fixture(scope="module")
def optima(problem) -> list[float]:
    """With cones and without, by CVXPY and Clarabel in this process."""
    gated = dataclasses.replace(problem, gated=True)
    return [references.two_layer_optimum(make_program(p)) for p in (problem, gated)]


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
    assert np.all(arrays["idle_bytes"][asked] > 1e7)
    assert np.all(arrays["peak_bytes"][asked] > arrays["idle_bytes"][asked])
    assert arrays["sizes"].tolist() == [[30, 3, 10], [30, 3, 10]]


def test_a_run_can_be_drawn_and_claims_what_it_measured(arrays):
    claims = experiment.claims(arrays)
    assert claims[0].measured == "2 of 2 CONVERGED, confirmed by certify"
    assert claims[0].verdict is Verdict.REPRODUCED
    assert [claim.claim.split(" on ")[0] for claim in claims[1:]] == [
        "tiny: cvxjax is the fastest to a point within 0.001",
        "tiny: cvxjax is the fastest to a point within 0.0001",
    ]
    figure = experiment.plot(arrays)
    titles = [axis.get_title() for axis in figure.axes]
    assert "(a) ReLU, n = 30, d = 3,\n10 patterns" in titles
    assert "(f) to a certified gap of 0.0001" in titles
    assert "Profiles end at ratio 10" in figure.get_supxlabel().replace("\n", " ")


def test_wrong_names_are_refused():
    with pytest.raises(ValueError, match=r"want lines of .*; got \['adlie'\]"):
        experiment.run(dataclasses.replace(experiment.Config(), lines=("adlie",)))
    with pytest.raises(ValueError, match=r"want lines of .*; got \['SCS'\]"):
        experiment.run(dataclasses.replace(experiment.Config(), profiled=("SCS",)))
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
    with Workers(shared=True) as workers:
        rows = measure(problem, lines, workers, Effort(repeats=1, limit=30, slow=1))
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
        with pytest.raises(TimedOut, match="no answer in 0 s"):
            worker.ask(problem, {"solver": "CLARABEL", "tol": 1e-6}, limit=0)
        assert not worker.alive
        with pytest.raises(Failed, match="has ended"):
            worker.ask(problem, {}, limit=1)


def test_a_line_that_fails_is_a_row_with_a_reason(problem):
    line = Line(name="broken", peer="clarabel", relu=({"solver": "CLARABEL"}, {}))
    with Workers(shared=True) as workers:
        rows = measure(problem, [line], workers, Effort(repeats=1, limit=30, slow=1))
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
        "cases": np.array(["monk1-0.1", "haberman-0.3"]),
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
    assert longest(rows | {"waited": np.array([np.nan, 8, np.nan, np.nan])}, 0) == {
        "slow": 8,
        "fast": 2,
    }


def test_the_worker_runs_under_this_interpreter_where_no_other_is_named():
    assert str(session.ADAPTERS["cvxjax"].python) == sys.executable


def test_a_slow_answer_is_asked_for_once_but_a_compiled_one_again(problem):
    peer = Line(name="peer", peer="clarabel", relu=LINES["Clarabel"].relu[:1])
    ours = Line(name="ours", peer="cvxjax", relu=LINES["interior-point"].relu[:1])
    with Workers(shared=False) as workers:
        effort = Effort(repeats=2, limit=60, slow=0.0)
        rows = measure(problem, [peer, ours], workers, effort)
    assert rows["line"].tolist() == ["ours", "peer"]
    asked = np.isfinite(rows["seconds"]).tolist()
    assert asked == [[True, True, False], [True, False, False]]


class FakeWorkers:
    """Answers by a table of seconds and errors, and keeps what it was asked."""

    def __init__(self, optimum: np.ndarray, table: dict[str, list]) -> None:
        self.optimum, self.table, self.asked = optimum, table, []
        self.versions, self.idle_bytes, self.answers = {}, 1, 1

    def of(self, line: Line) -> FakeWorkers:
        self.peer = line.peer
        return self

    def ask(self, problem, settings, *, limit) -> Answer:
        self.asked.append((self.peer, settings["k"], limit))
        seconds, excess = self.table[self.peer][settings["k"]]
        if seconds > limit:
            raise TimedOut(limit)
        params = (1 + excess) * self.optimum
        return Answer(arrays={"params": params}, seconds=seconds, peak_bytes=2)


def test_peers_get_a_multiple_of_our_time_and_only_needed_answers_twice(
    problem, monkeypatch
):
    monkeypatch.setattr(measuring, "make_program", lambda problem: None)

    def judged(program, params, dual):
        error = float(params) - 1
        return judging.Verdict(
            objective=1 + error, bound=1.0, gap=2 * error, violation=0.0, raw=1.0
        )

    monkeypatch.setattr(measuring, "judge", judged)
    table = {
        "cvxjax": [(0.5, 9e-4), (0.7, 1e-6)],
        "adelie": [(1.0, 1e-2), (2.0, 9e-4), (3.0, 8e-4), (4.0, 6e-5), (8.0, 0)],
    }
    lines = [
        Line(name=name, peer=name, relu=tuple({"k": k} for k in range(len(answers))))
        for name, answers in reversed(table.items())
    ]
    workers: Any = FakeWorkers(np.asarray(1.0), table)
    effort = Effort(
        repeats=2,
        limit=30,
        first=99,
        slow=10,
        enough=1e-4,
        multiple=10,
        least=3,
        levels=(1e-3, 1e-4),
    )
    rows = measure(problem, lines, workers, effort)
    ours = [("cvxjax", 0, 99), ("cvxjax", 0, 30), ("cvxjax", 1, 99), ("cvxjax", 1, 30)]
    peers = [("adelie", k, 7.0) for k in range(5)]
    assert workers.asked[:9] == ours + peers
    again = [("cvxjax", 0), ("cvxjax", 1), ("adelie", 1), ("adelie", 3)]
    first, second = again[2:], again
    assert [ask[:2] for ask in workers.asked[9:]] == first + second
    assert rows["waited"][-1] == 7.0 and rows["note"][-1] == "no answer in 7 s"

    table["cvxjax"] = [(0.1, 1e-6)]
    workers.asked.clear()
    measure(problem, lines, workers, effort)
    assert workers.asked[2] == ("adelie", 0, 3)  # not less than `least`
    table["cvxjax"] = [(0.1, 1e-3)] * 2
    workers.asked.clear()
    measure(problem, lines, workers, effort)
    assert workers.asked[4] == ("adelie", 0, 30)  # ours did not get there
    table["cvxjax"] = [(40.0, 1e-6)]
    rows = measure(problem, lines, workers, effort)
    assert rows["gap"][0] <= 1e-4 and rows["waited"][0] == 30
    assert np.isnan(rows["seconds"][0]).all()  # for its first answer was cold


def test_lines_of_a_peer_share_a_process_that_is_started_again(problem):
    clarabel = LINES["Clarabel"]
    other = dataclasses.replace(clarabel, name="other")
    settings = clarabel.relu[0]
    with Workers(shared=True) as workers:
        first = workers.of(clarabel)
        assert workers.of(other) is first
        with pytest.raises(TimedOut):
            first.ask(problem, settings, limit=0)
        second = workers.of(other)
        assert second is not first and second.answers == 0
        assert second.ask(problem, settings, limit=60).peak_bytes > second.idle_bytes
        assert workers.of(clarabel) is second and second.answers == 1
    assert not second.alive
    with Workers(shared=False) as workers:
        assert workers.of(clarabel) is not workers.of(other)


@pytest.fixture
def raced() -> dict[str, np.ndarray]:
    """Two problems of one suite; the working set wins the first, adelie the second."""
    lines = ["cvxjax", "working-set", "adelie", "pyscnn", "cvxjax", "adelie"]
    seconds = np.array([0.5, 0.4, 5.0, 60.0, 2.0, 1.0])
    return {
        "line": np.array(lines),
        "case": np.array([0, 0, 0, 0, 1, 1]),
        "cases": np.array(["monk1-0.1", "haberman-0.3"]),
        "suites": np.array(["uci", "uci"]),
        "sizes": np.array([[1024, 64, 1024], [1024, 64, 1024]]),
        "seconds": np.column_stack([seconds, seconds]),
        "gap": np.array([1e-5, 1e-5, 1e-5, 1.0, 1e-5, 1e-5]),
        "status": np.array(["CONVERGED"] * 2 + [""] * 2 + ["STALLED", ""]),
        "waited": np.array([np.nan] * 3 + [80.0] + [np.nan] * 2),
        "peak_bytes": np.full(6, 9.0 * 2**20),
        "idle_bytes": np.array([7, 2, 2, 2, 7, 2]) * 2.0**20,
        "note": np.full(6, ""),
        "certified": np.asarray(1e-4),
    }


def test_a_race_names_the_winner_and_every_ratio(raced):
    claim = made_of.race(raced, raced["gap"], 1e-3, 0, "here")
    assert claim.verdict is Verdict.REPRODUCED
    assert claim.measured == (
        "best of cvxjax 0.40 s (working-set), default 0.50 s; adelie 5.00 s (12.5x), "
        "pyscnn not reached in 80 s (> 200x)"
    )
    claim = made_of.race(raced, raced["gap"], 1e-3, 1, "here")
    assert claim.verdict is Verdict.NOT_REPRODUCED
    assert claim.measured == "best of cvxjax 2.00 s (cvxjax); adelie 1.00 s (0.5x)"
    claim = made_of.race(raced, raced["gap"], 1e-9, 1, "here")
    assert (
        claim.measured == "cvxjax not reached in 2.00 s; adelie not reached in 1.00 s"
    )


def test_claims_weigh_problem_1_and_the_largest_of_the_grid(arrays):
    changed = arrays | {
        "suites": np.array(["problem1", "grid"]),
        "cases": np.array(["problem1-beta=1", "largest"]),
    }
    claims = experiment.claims(changed)
    races = [claim.claim for claim in claims if "beta = 1: " in claim.claim]
    assert len(races) == 5 and "a point within 0.001" in races[0]
    weighed = next(claim for claim in claims if "bytes of masks" in claim.claim)
    assert (
        weighed.measured.count("Clarabel") == 2 and "; ReLU, n = 30" in weighed.measured
    )


def test_shares_and_convergence_of_a_suite(raced):
    claim = made_of.share_won(raced, raced["gap"], 1e-3, "uci")
    assert claim.verdict is Verdict.NOT_REPRODUCED
    assert claim.measured == (
        "cvxjax 0, working-set 1, adelie 1, pyscnn 0 of 2 problems: 50%; best peer / "
        "cvxjax: median 6.5, least 0.5 on 2"
    )
    claim = made_of.converged(raced, "uci")
    assert claim.measured == (
        "1 of 2 CONVERGED, confirmed by certify; not: ReLU, table haberman, n = 1024, "
        "d = 64, 1024 patterns, beta = 0.3 of the largest"
    )
    assert claim.claim.startswith("2 problems of UCI tables: the default solver")


def test_memory_is_weighed_against_masks_and_weights(raced):
    assert made_of.program_bytes(raced["sizes"][0]) == 2 * 2**20
    claim = made_of.memory(raced, [1])
    assert claim.measured.endswith(
        "beta = 0.3 of the largest, asked <= 6 MiB: cvxjax 2 MiB, adelie 7 MiB"
    )
    assert claim.verdict is Verdict.REPRODUCED
    assert made_of.memory(raced, [0, 1]).verdict is Verdict.NOT_REPRODUCED


def test_profiled_lines_have_the_settings_that_are_wanted():
    assert [s["tol"] for s in PROFILED["cvxjax"].relu] == [1e-3, 1e-4]
    assert [s["tol"] for s in PROFILED["adelie"].relu] == [1e-7, 1e-8, 1e-9]
    assert PROFILED["adelie"].gated == LINES["adelie"].gated


def test_suites_of_different_rounds_are_put_together():
    three, two = np.ones((2, 3)), np.full((1, 2), 5.0)
    both = experiment.stacked([three, two])
    assert both.shape == (3, 3)
    np.testing.assert_array_equal(both[2], [5, 5, np.nan])
    np.testing.assert_array_equal(
        experiment.stacked([np.arange(2), np.ones(1)]), [0, 1, 1]
    )
    np.testing.assert_array_equal(warm(both), [1, 1, 5])
