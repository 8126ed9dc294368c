"""Steps of a compiled call, from what earlier calls took."""

import numpy as np

import cvxjax as cj
from cvxjax.solvers.pace import Pace
from tests import instances


def test_steps_follow_what_calls_took():
    program = instances.program_of("two_layer/squared")
    solver = cj.solvers.Admm(max_iters=12_345)  # of no other test
    pace = Pace(solver, program)
    assert pace.steps(np.inf) == 1  # nothing is known
    pace.took(1, 60.0)  # it compiled
    assert pace.steps(np.inf) == 1
    pace.took(10, 0.01)
    assert 100 < pace.steps(np.inf) < 1000
    assert pace.steps(0.1) < pace.steps(np.inf)
    assert pace.steps(-1.0) == 1  # the time limit has passed
    again = Pace(solver, program.replace(beta=2 * program.beta))
    assert again.steps(np.inf) == pace.steps(np.inf)
    other = instances.program_of("two_layer/gated/squared")
    assert Pace(solver, other).steps(np.inf) == 1


def test_a_second_solve_returns_to_the_host_less_often():
    program = instances.program_of("two_layer/squared")
    solver = cj.solvers.Admm(max_iters=23_456, check_every=10)
    calls = [[], []]
    for seen in calls:
        cj.solve(program, solver, report=lambda *line, seen=seen: seen.append(line))
    assert len(calls[1]) < len(calls[0])
