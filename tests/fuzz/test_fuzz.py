"""The fuzzer itself: cases alone, code that is the case, oracles that see a fault."""

import contextlib
import io

import numpy as np
import pytest

import cvxjax as cj
from cvxjax import programs
from tests import instances
from tests.fuzz import draw, forward, oracles, report, shrink
from tests.fuzz.cases import array_code, build, program_code
from tests.fuzz.families import MARGINS, RESIDUALS, families


def case_of(constructor, **options):
    """The first complete case of seed 0 whose data are those of such a family."""
    options = {"intercept": False, **options}
    for k in range(0, 12 * len(families()), 12):
        family = draw.family_of(0, k)
        if (
            family.constructor == constructor
            and options.items() <= vars(family).items()
        ):
            return draw.draw(0, k)
    raise AssertionError(f"no family of {constructor} with {options}")


def test_a_case_is_the_same_alone():
    first, second = draw.draw(3, 40), draw.draw(3, 40)
    assert first.family == second.family and first.loss == second.loss
    np.testing.assert_array_equal(first.X, second.X)
    np.testing.assert_array_equal(first.y, second.y)
    assert not np.array_equal(draw.draw(3, 41).X, first.X)


def test_families_have_every_constructor_and_loss():
    assert {f.constructor for f in families()} == set(programs.REGISTRY)
    named = {f.loss for f in families()}
    assert {*RESIDUALS, *MARGINS, "softmax"} <= named
    assert set(instances.REAL_LABELS + instances.SIGN_LABELS) <= named


def test_arrays_are_written_bit_for_bit():
    for array in (np.array([[0.1, 1e-300]]), np.array([1.1], np.float32), np.arange(3)):
        again = eval(array_code(array), {"np": np})
        assert again.dtype == array.dtype
        np.testing.assert_array_equal(again, array)


@pytest.mark.parametrize("constructor", sorted(programs.REGISTRY))
def test_the_code_makes_the_case(constructor):
    case = case_of(constructor)
    known = {"cj": cj, "np": np}
    exec("import jax\n" + program_code(case), known)
    program = build(case)
    np.testing.assert_array_equal(known["program"].y, program.y)
    np.testing.assert_array_equal(known["program"].X, program.X)


@pytest.mark.parametrize(
    "name",
    [
        "two_layer/squared",
        "two_layer/gated/squared",
        "vector_output/relu",
        "vector_output/gated",
        "convolutional/max_pool",
        "convolutional/linear",
        "convolutional/circular_relu",
        "batch_norm/before/centre True, shift True",
        "batch_norm/after/centre True, shift True",
        "polynomial/pooled",
        "polynomial/two outputs",
    ],
)
def test_networks_in_numpy_are_those_of_flax(name):
    program = instances.program_of(name)
    solver = next(s for n, s in instances.PAIRS if n == name)
    variables = program.recover(instances.solution_of(name, solver).params)
    network = program.network()
    z = forward.outputs_of(program, variables).astype(float)
    np.testing.assert_allclose(z, network.apply(variables, program.inputs), atol=1e-12)
    decay = float(network.penalty(variables["params"]))
    np.testing.assert_allclose(forward.penalty_of(program, variables), decay)


def doctored(monkeypatch, **changes):
    """What is found on a program whose solutions and bounds are changed."""
    case = case_of(
        "two_layer", loss="squared", options=(), shape=(8, 2), patterns="all"
    )
    solve = cj.solve

    def false_solve(program, solver=None, **options):
        solution = solve(program, solver, **options)
        return solution.replace(**{k: f(solution) for k, f in changes.items()})

    monkeypatch.setattr(cj, "solve", false_solve)
    outcome = oracles.examine(case, limit=100, with_reference=False)
    return {finding.kind for finding in outcome.findings}


def test_oracles_see_a_false_verdict(monkeypatch):
    kinds = doctored(
        monkeypatch, params=lambda s: 0 * s.params, status=lambda s: cj.Status.CONVERGED
    )
    assert "false CONVERGED" in kinds


def test_oracles_see_a_point_outside_the_cones(monkeypatch):
    kinds = doctored(monkeypatch, params=lambda s: 1 - s.params)
    assert "infeasible point" in kinds


def test_oracles_see_bounds_that_contradict_each_other():
    program = instances.program_of("two_layer/squared")
    bounds = oracles.Bounds(program)
    bounds.offer("one", primal=1.0, dual=0.5)
    assert bounds.contradictions() == []
    bounds.offer("two", dual=1.1)
    assert "two bounds by 1.1, one attains 1" in bounds.contradictions()[0]


def test_a_failure_is_shrunk_to_a_snippet_that_runs(monkeypatch):
    case = case_of(
        "two_layer", loss="squared", options=(), shape=(8, 2), patterns="all"
    )

    def examine(case, **_):
        outcome = oracles.Outcome(case)
        if np.max(np.abs(case.X)) > 0:
            outcome.add("false CONVERGED", "default", "as told")
        return outcome

    monkeypatch.setattr(shrink, "examine", examine)
    finding = oracles.Finding("false CONVERGED", "default", "as told")
    small, found = shrink.shrink(case, finding, seconds=20, limit=100)
    assert small.X.shape == (1, 1) and small.y.shape == (1,)
    text = shrink.snippet(small, found)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        exec(text.replace('jax.config.update("jax_enable_x64", True)', ""), {})
    assert "objective" in printed.getvalue() or "program" in text


def test_the_report_counts():
    case = case_of("two_layer", loss="squared")
    outcome = oracles.Outcome(case, [("default", "CONVERGED")])
    outcome.add("false CONVERGED", "default", "as told")
    text = report.summary([outcome], 1.0)
    assert "CONVERGED 1, FALSE CONVERGED 1" in text
    assert "failures: false CONVERGED 1" in text
    assert "1 programs, 1 of them with a failure" in text
