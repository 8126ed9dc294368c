"""Programs over emulated devices and over two processes agree with one device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.arrangements.patterns import Patterns
from cvxjax.data.batches import epoch_order
from cvxjax.devices.sharding import gather, join, make_mesh, place
from tests import instances

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"}


@pytest.fixture(scope="module")
def on_eight():
    done = subprocess.run(
        [sys.executable, ROOT / "tests" / "on_eight_devices.py"],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_solutions_are_the_same_on_every_mesh(on_eight):
    runs = on_eight["runs"]
    gated, others = runs[:3], runs[3:]
    np.testing.assert_allclose(
        [run["primal"] for run in gated], gated[0]["primal"], rtol=1e-12
    )
    assert len({run["iterations"] for run in gated}) == 1
    assert [run["kind"] for run in others] == ["vector", "relu"]
    for run in runs:
        assert max(run["gaps"]) <= 2e-10 and run["violation"] <= 1e-15


def test_parameters_lie_where_their_patterns_do(on_eight):
    for run in on_eight["runs"]:
        parts = run["mesh"][1] if run["mesh"] else 1
        assert run["parts"] == parts
        assert run["patterns"] == -(-13 // parts) * parts
        assert run["added"] == 0
    assert on_eight["specs"] == [["patterns", "samples"], [None]]


def test_what_devices_send_is_one_prediction_or_one_gradient(on_eight):
    forward, adjoint = on_eight["sent"]
    assert forward == {"all-reduce": 16 * 8}
    assert adjoint == {"all-reduce": 13 * 3 * 8}


def test_minibatch_steps_are_the_same_on_every_mesh(on_eight):
    one, *others = on_eight["steps"]
    assert np.any(one["w"])
    for run in others:
        np.testing.assert_allclose(run["w"], one["w"], rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(run["sums"], one["sums"], rtol=1e-12)
        assert run["shard"] == [2, 8 // run["mesh"][1], 2, 3]


def test_a_step_sends_one_prediction_however_many_devices(on_eight):
    """Sixteen rows of two outputs; weights stay where they are."""
    prediction = {"all-reduce": 16 * 2 * 8}
    assert [run["sent"] for run in on_eight["weak"]] == 2 * [prediction]
    for run in on_eight["steps"]:
        rows, parts = run["mesh"]
        gradient = 2 * (8 // parts) * 2 * 3 * 8 + 8 if rows > 1 else 0
        assert run["sent"] == {"all-reduce": 16 // rows * 2 * 8 + gradient}


def test_batches_are_loaded_once_for_each_part(on_eight):
    first = epoch_order(0, 0, 8)[:4].tolist()
    got = on_eight["batches"]
    assert got["loaded"] == [2, 2] and got["x"] == first
    assert got["shards"] == [first[:2]] * 4 + [first[2:]] * 4


def test_two_processes_solve_one_program_of_rows_of_their_own(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((16, 3)), rng.standard_normal(16)
    gates = rng.standard_normal((13, 3))
    for k, part in enumerate((slice(8), slice(8, 16))):
        np.savez(tmp_path / f"rows_{k}.npz", X=X[part], y=y[part], gates=gates)
    script = ROOT / "tests" / "in_two_processes.py"
    done = subprocess.run(
        [ROOT / "scripts" / "launch_local", "2", sys.executable, script, tmp_path],
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    answers = [
        json.loads((tmp_path / f"answer_{k}.json").read_text()) for k in range(2)
    ]
    patterns = Patterns(masks=(X @ gates.T >= 0).T, gates=gates, scope=cj.Scope.SAMPLED)
    program = cj.programs.make_two_layer(X, y, patterns, beta=2, gated=True)
    alone = cj.solve(program, cj.solvers.Fista(tol=1e-9)).check()
    for k, answer in enumerate(answers):
        assert answer["processes"] == 2
        np.testing.assert_array_equal(answer["held"], X[8 * k : 8 * k + 8])
        np.testing.assert_allclose(answer["params"], alone.params, atol=1e-12)
        assert answer["gap"] <= 1e-9 and answer["held patterns"] == 7
        np.testing.assert_allclose(answer["by patterns"], alone.objective, rtol=1e-12)
        order = epoch_order(0, 0, 16).reshape(4, 4)
        np.testing.assert_array_equal(answer["labels"], y[order])
        assert answer["loaded"] == [2] and answer["numbers"] == [0, 0, 1, 1]


def test_make_mesh_takes_all_devices():
    count = jax.device_count()
    assert dict(make_mesh().shape) == {"samples": 1, "patterns": count}
    assert make_mesh(count, 1).axis_names == ("samples", "patterns")
    for shape in ((count + 1,), (1, count + 1), (0,), (1, 0), (-1, -count)):
        with pytest.raises(ValueError, match="the number of devices"):
            make_mesh(*shape)


def relu(make=cj.programs.make_two_layer, **options):
    X, y = instances.draw_data(4, 2)
    gates = np.array([[1.0, 0.0], [0.0, 1.0]])
    patterns = cj.arrangements.from_gates(X, gates)
    return make(X, y, patterns, beta=0.1, **options)


def test_on_one_device_nothing_changes():
    program = relu()
    same = gather(place(program, make_mesh()))
    jax.tree.map(np.testing.assert_array_equal, program, same)
    assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(same))


def test_programs_of_another_layout_are_refused():
    X, y = instances.draw_data(4, 2)
    polynomial = cj.programs.make_polynomial(X, y, beta=0.1)
    neurons = relu(
        lambda X, y, *rest, **more: cj.programs.make_vector_output(
            X, y[:, None], *rest, **more
        )
    )
    for program in (polynomial, neurons):
        with pytest.raises(ValueError, match="want a two-layer program"):
            place(program, make_mesh())


def test_cones_need_every_row():
    with pytest.raises(ValueError, match="want a gated program"):
        join(relu(), make_mesh())
