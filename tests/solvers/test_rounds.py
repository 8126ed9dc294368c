"""What every solver with a loop on the host owes: its start, and a status for NaN."""

import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.solvers.rounds import Rounds
from cvxjax.watch import Watch
from tests import instances

SOLVERS = {
    "ActiveSetNewton": "two_layer/gated/squared",
    "SemismoothNewton": "two_layer/squared",
    "ColumnGeneration": "two_layer/squared",
    "LowRankSemidefinite": "polynomial/squared",
    "BurerMonteiro": "vector_output/relu",
    "FrankWolfe": "vector_output/relu",
}


@pytest.mark.parametrize("name", SOLVERS)
def test_a_start_is_kept_without_any_time(name):
    """It was lost: what came back were zero parameters."""
    program, solver = instances.program_of(SOLVERS[name]), getattr(cj.solvers, name)()
    good = cj.solve(program, solver).check()
    near = program.replace(beta=1.1 * program.beta)
    solution = cj.solve(near, solver, start=good, time_limit=0)
    assert solution.objective <= 1.01 * near.objective(good.params)


@pytest.mark.parametrize("name", SOLVERS)
def test_labels_that_are_not_finite_are_a_status(name):
    """Some went on until they had stalled."""
    program = instances.program_of(SOLVERS[name])
    y = program.y.at[(0,) * program.y.ndim].set(jnp.nan)
    solution = cj.solve(program.replace(y=y), getattr(cj.solvers, name)())
    assert solution.status == cj.Status.NONFINITE


def test_data_that_are_not_finite_end_before_the_first_round():
    program = instances.program_of("two_layer/squared")
    program = program.replace(X=program.X.at[0, 0].set(jnp.nan))
    rounds = Rounds(program, cj.solvers.SemismoothNewton(), Watch())
    assert rounds.drive(3) is cj.Status.NONFINITE
    assert len(rounds.lines) == 1


def test_another_lists_bound_forgets_its_dual_vector():
    """Neurons in cells of their own make another program: old bounds do not hold."""
    from cvxjax.solvers.neurons.burer_monteiro import _NeuronDescents

    whole = instances.program_of("vector_output/relu")
    program = whole.replace(scope=cj.Scope.SAMPLED)
    solver = cj.solvers.BurerMonteiro()
    rounds = _NeuronDescents(program, solver, Watch(), None)
    rounds.bound, rounds.dual = 1.0, np.ones_like(rounds.y)
    rounds.offer_residual = lambda *_: -np.inf  # one that shows nothing
    rounds.advance()
    assert rounds.bound == rounds.least and not rounds.dual.any()
