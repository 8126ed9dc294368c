from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from experiments import bench_scaling as experiment
from experiments._frame.record import Verdict
from experiments._peers import kernels, suites
from experiments._peers.judge import make_program
from experiments._peers.session import Failed, Session


@pytest.fixture(scope="module")
def made() -> list[kernels.Kernel]:
    return kernels.make_kernels(make_program(suites.planted(64, 8, 40, beta=1.0)))


def test_a_run_times_every_size_and_kernel(arrays):
    assert arrays["axis"].tolist() == ["n", "devices", "devices"]
    assert arrays["size"].tolist() == [20, 1, 2]
    assert arrays["gap"][0] <= 1e-4 and arrays["status"][0] == "CONVERGED"
    assert len(arrays["kernels"]) == 6
    assert np.all(experiment.attained(arrays) > 0)
    axes = experiment.plot(arrays).axes
    assert [len(axis.get_lines()) for axis in axes] == [1, 0, 0, 1, 1]
    assert [claim.claim.split()[0] for claim in experiment.claims(arrays)] == [
        "ADMM",
        "each",
    ]


def test_as_many_iterations_give_the_same_point_on_one_device_and_on_two(arrays):
    shared = arrays["axis"] == "devices"
    assert set(arrays["status"][shared]) == {"MAX_ITERATIONS"}
    objective = arrays["objective"][shared]
    assert objective[0] == pytest.approx(objective[1], rel=1e-9)
    assert np.all(np.isfinite(arrays["seconds"][shared]))


def test_patterns_that_devices_cannot_share_are_refused():
    problem = suites.planted(30, 3, 10, beta=1.0)
    settings = {"solver": "Admm", "tol": 1e-3, "devices": 3}
    with Session("cvxjax") as worker, pytest.raises(Failed, match="want devices <="):
        worker.ask(problem, settings, limit=100)


def test_the_base_is_measured_once(monkeypatch):
    measured = []
    row = {name: np.zeros(1) for name in (*experiment.COLUMNS, "versions")}
    row |= {"versions": np.asarray("{}"), "line": np.array(["cvxjax"])}

    def measure(problem, *_):
        measured.append((*problem.X.shape, len(problem.masks)))
        return row

    monkeypatch.setattr(experiment, "measure", measure)
    config = dataclasses.replace(
        experiment.Config.smoke(), n=(20, 30), d=(3,), P=(10, 8), devices=()
    )
    arrays = experiment.run(config)
    assert measured == [(20, 3, 10), (30, 3, 10), (30, 3, 8)]
    assert arrays["axis"].tolist() == ["n", "n", "d", "P", "P"]


def test_exponents_of_known_powers(arrays):
    sizes = np.array([10, 20, 40, 80])
    known = {
        **arrays,
        "line": np.array(["adelie"] * 4 + ["cvxjax"] * 4 + ["ADMM"] * 2),
        "axis": np.array(["n"] * 4 + ["P"] * 4 + ["devices"] * 2),
        "size": np.concatenate([sizes, sizes, [1, 2]]),
        "seconds": np.column_stack(
            [np.full(10, 99.0), np.concatenate([3 * sizes**1.5, sizes**2.0, [2, 4]])]
        ),
        "peak_bytes": np.full(10, 2.0**20),
        "note": np.full(10, ""),
        "settings": np.full(10, "{}"),
    }
    found = experiment.exponents(known)
    assert found == pytest.approx(
        {("adelie", "n"): 1.5, ("cvxjax", "P"): 2.0, ("ADMM", "devices"): 1.0}
    )
    claims = experiment.claims(known)
    assert [claim.verdict for claim in claims[:3]] == [
        Verdict.REPRODUCED,
        Verdict.NOT_REPRODUCED,
        Verdict.NOT_REPRODUCED,
    ]
    assert claims[2].measured.startswith("1: 2.00 s, 2: 4.00 s; devices^1.00")


def test_counted_flops_are_those_that_xla_counts(made):
    for kernel in made:
        if kernel.name == "spread":  # XLA counts the body of its loop once
            continue
        compiled = jax.jit(kernel.function).lower(*kernel.arguments).compile()
        analysed = compiled.cost_analysis()
        assert analysed is not None
        counted = analysed["flops"]
        assert kernel.flops <= counted <= 1.35 * kernel.flops, kernel.name


def test_traffic_counts_every_argument_and_result_once(made):
    forward = next(kernel for kernel in made if kernel.name == "forward")
    n, d, P = 64, 8, len(forward.arguments[1])
    assert forward.traffic() == 8 * (n * d + 2 * P * d + n) + n * P


def test_a_setting_that_a_line_does_not_have_is_refused():
    config = dataclasses.replace(experiment.Config.smoke(), tol=0.5)
    with pytest.raises(ValueError, match="want a tol of .* for interior-point"):
        experiment.run(config)
