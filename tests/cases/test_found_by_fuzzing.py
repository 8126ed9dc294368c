"""Programs that `scripts/fuzz` found to go wrong, shrunk; one test a kind."""

import numpy as np

import cvxjax as cj
from cvxjax.arrangements import enumerate_patterns
from cvxjax.programs import make_vector_output


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
