"""What a solution says of itself, and its history."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.solution import History
from cvxjax.solvers import loop
from tests import instances

GATED = "two_layer/gated/squared"


def test_it_prints_what_a_person_wants_to_know():
    solution = instances.solution_of(GATED, "Fista")
    lines = str(solution).splitlines()
    assert repr(solution) == str(solution)
    assert lines[0] == "Solution: CONVERGED, the relative duality gap is at most tol"
    rows = {line[2:15].strip(): line[15:] for line in lines[1:]}
    assert list(rows) == [
        "objective", "lower bound", "relative gap", "scope", "iterations"
    ]  # fmt: skip
    assert float(rows["objective"]) == pytest.approx(float(solution.objective), 1e-9)
    assert float(rows["lower bound"]) == pytest.approx(float(solution.dual_bound), 1e-9)
    assert float(rows["relative gap"]) <= 1e-7
    assert rows["scope"].startswith("exhaustive: optimal among all networks")
    assert int(rows["iterations"].replace(",", "")) == int(solution.iterations)
    assert len(str(solution)) < 400


def test_it_claims_an_optimum_only_where_the_gap_is_proved():
    solution = instances.solution_of(GATED, "Fista")
    for status in cj.Status:
        text = str(solution.replace(status=jnp.asarray(int(status))))
        assert status.name in text and status.message in text
        assert ("optimal" in text) == (status is cj.Status.CONVERGED)
        assert ("a bound over all networks" in text) == ("optimal" not in text)
    for scope in cj.Scope:
        assert f" {scope.value}: " in str(solution.replace(scope=scope))


def test_it_prints_inside_jax_too():
    program, solver = instances.program_of(GATED), instances.SOLVERS["Fista"].solver
    seen = []

    def traced(program):
        solution = loop.run(solver, program)
        seen.append(repr(solution))
        return solution

    many = jax.vmap(lambda beta: traced(program.replace(beta=beta)))
    made = jax.eval_shape(many, jnp.asarray([0.1, 0.2]))
    assert seen[0].startswith("Solution") and "in JAX" in seen[0]
    assert "in JAX" in repr(jax.tree.map(lambda x: np.zeros(x.shape), made))


def test_histories_lose_their_padding_on_the_host():
    nothing = jnp.full(3, jnp.nan).at[0].set(1.0)
    padded = History(
        iteration=jnp.asarray([5, -1, -1]),
        objective=nothing,
        dual_bound=nothing,
        gap=nothing,
    )
    short = padded.trimmed()
    assert short.iteration.tolist() == [5] and short.gap.tolist() == [1.0]
    assert all(isinstance(x, jax.Array) for x in jax.tree.leaves(short))
    solution = instances.solution_of(GATED, "Fista")
    checks = int(solution.iterations) // instances.SOLVERS["Fista"].solver.check_every
    assert solution.history.gap.shape == solution.history.iteration.shape == (checks,)
