from __future__ import annotations

import dataclasses

import jax
import numpy as np
import pytest

from experiments import bench_scaling as experiment
from experiments._peers import kernels, suites
from experiments._peers.judge import make_program
from experiments._record import Verdict


@pytest.fixture(scope="module")
def arrays() -> dict[str, np.ndarray]:
    return experiment.run(experiment.Config.smoke())


@pytest.fixture(scope="module")
def made() -> list[kernels.Kernel]:
    return kernels.make_kernels(make_program(suites.planted(64, 8, 40, beta=1.0)))


def test_a_run_times_every_size_and_kernel(arrays):
    assert arrays["size"].tolist() == [20]
    assert np.all(arrays["gap"] <= 1e-4) and set(arrays["status"]) == {"CONVERGED"}
    assert len(arrays["kernels"]) == 6
    assert np.all(experiment.attained(arrays) > 0)
    assert [len(axis.get_lines()) for axis in experiment.plot(arrays).axes][0] == 1
    assert len(experiment.claims(arrays)) == 1


def test_exponents_of_known_powers(arrays):
    sizes = np.array([10, 20, 40, 80])
    known = {
        **arrays,
        "line": np.array(["adelie"] * 4 + ["cvxjax"] * 4),
        "axis": np.array(["n"] * 4 + ["P"] * 4),
        "size": np.tile(sizes, 2),
        "seconds": np.column_stack(
            [np.full(8, 99.0), np.concatenate([3 * sizes**1.5, sizes**2.0])]
        ),
        "peak_bytes": np.full(8, 2.0**20),
        "note": np.full(8, ""),
        "settings": np.full(8, "{}"),
    }
    found = experiment.exponents(known)
    assert found == pytest.approx({("adelie", "n"): 1.5, ("cvxjax", "P"): 2.0})
    verdicts = [claim.verdict for claim in experiment.claims(known)[:2]]
    assert verdicts == [Verdict.REPRODUCED, Verdict.NOT_REPRODUCED]


def test_counted_flops_are_those_that_xla_counts(made):
    for kernel in made:
        if kernel.name == "spread":  # XLA counts the body of its loop once
            continue
        compiled = jax.jit(kernel.function).lower(*kernel.arguments).compile()
        analysed = compiled.cost_analysis()
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
