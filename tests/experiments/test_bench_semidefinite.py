"""The comparison with CVXPY: answers agree, ratios and verdicts follow the numbers."""

import numpy as np
import pytest

import cvxjax as cj
from experiments import bench_semidefinite as experiment
from experiments._frame.record import Verdict
from experiments._peers.spectral import solve_by_cvxpy


def test_peers_certify_the_same_optimum(arrays):
    assert arrays["kind"].tolist() == ["polynomial", "quantized"]
    assert np.all(arrays["gap"] <= 1e-5)
    _, objective, gap = np.moveaxis(arrays["peers"], 2, 0)
    assert np.all(gap <= 1e-5)
    scale = np.maximum(1, arrays["objective"])[:, None]
    assert np.all(np.abs(objective - arrays["objective"][:, None]) <= 1e-5 * scale)
    assert np.all(arrays["grid_gap"] <= 1e-5)


@pytest.mark.parametrize("kind", ["polynomial", "quantized"])
@pytest.mark.parametrize("reduced", [False, True])
def test_clarabel_has_the_objective_to_1e_6(kind, reduced):
    program = experiment.make(kind, 40, 4, experiment.Config())
    answer = solve_by_cvxpy(program, "CLARABEL", 1e-9, 30.0, reduced=reduced)
    optimum = float(cj.solve(program).check().objective)
    assert abs(answer.objective - optimum) <= 1e-6 * max(1, optimum)
    assert answer.gap <= 1e-6


def test_ratios_are_of_those_that_certify(arrays):
    slow = arrays["peers"].copy()
    slow[..., 0] = 60 * arrays["seconds"][:, None]
    fast = arrays | {"peers": slow}
    assert np.allclose(experiment.ratios(fast), 60)
    assert experiment.claims(fast)[0].verdict is Verdict.REPRODUCED
    slow[0, 0, 0] = arrays["seconds"][0]
    assert experiment.claims(fast)[0].verdict is Verdict.NOT_REPRODUCED
    slow[0, 1, 2] = 1.0
    assert np.isnan(experiment.ratios(fast)[0, 1])
