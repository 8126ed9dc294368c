"""SGD on convex programs: measures, the CSV, going on after a kill, verdicts."""

from __future__ import annotations

import csv
import dataclasses
import os
import signal
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cvxjax.arrangements.convolutional import filter_gates
from cvxjax.devices.sharding import make_mesh
from experiments import cifar10_convex_sgd, cifar100_convex_sgd, fashion_mnist_convex
from experiments._convex_sgd import efficiency
from experiments._convex_sgd import run as runner
from experiments._convex_sgd.claims import claims, last
from experiments._convex_sgd.drawing import plot
from experiments._convex_sgd.learner_convex import make_convex
from experiments._convex_sgd.learner_network import half_squared_path_norm, make_network
from experiments._convex_sgd.rows import load_rows
from experiments._convex_sgd.settings import Curve, Settings, curves_of, marks_of
from experiments._frame import record
from experiments._frame.record import Verdict

CONFIG = cifar10_convex_sgd.Config.smoke()
CLOCK = runner.HISTORY.index("seconds")


@pytest.fixture(scope="module")
def peak():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "gemm_rate", lambda *_: 1e12)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("smoke")


@pytest.fixture(scope="module")
def arrays(folder, peak) -> dict[str, np.ndarray]:
    return run_in(folder, CONFIG)


def run_in(folder: Path, config: Settings) -> dict[str, np.ndarray]:
    with record.parts_in(folder):
        return runner.run_curves("cifar10_convex_sgd", config)


def lines_in(folder: Path) -> list[dict[str, str]]:
    with (folder / "data" / "cifar10_convex_sgd.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_curve_is_trained_and_measured(arrays):
    kinds = ["gaussian", "convolutional", "cones", "sgd"]
    assert arrays["kind"].tolist() == kinds
    assert arrays["epoch"].tolist() == [[0, 1, 2, 4]] * 3 + [[0, 1, 2, 8]]
    np.testing.assert_array_equal(arrays["step"], 4 * arrays["epoch"])
    assert np.all(np.diff(arrays["seconds"], axis=1) > 0)
    np.testing.assert_allclose(arrays["objective"][:3, 0], 0.5)  # of the zero network
    assert np.all(last(arrays, "objective") < arrays["objective"][:, 0])
    assert np.all(arrays["zero_blocks"][:3, 0] == 1)
    assert np.all(arrays["peak_bytes"] > arrays["held_bytes"])
    rate = arrays["flops"] / arrays["seconds_per_step"]
    np.testing.assert_allclose(arrays["utilisation"], rate / 1e12)


def test_cones_of_every_class_keep_the_network_near_the_convex_model(arrays):
    excess = last(arrays, "network_objective") / last(arrays, "objective")
    assert excess[2] < min(excess[:2])
    assert last(arrays, "violation")[2] < min(last(arrays, "violation")[:2]) / 2


def test_the_csv_has_every_record_once(arrays, folder):
    lines = lines_in(folder)
    keys = [(line["curve"], line["epoch"]) for line in lines]
    assert len(keys) == len(set(keys)) == 16
    for line in lines:
        row = arrays["curve"].tolist().index(line["curve"])
        at = arrays["epoch"][row].tolist().index(float(line["epoch"]))
        for name in runner.HISTORY:
            assert float(line[name]) == pytest.approx(
                arrays[name][row, at], nan_ok=True
            )


def test_finished_curves_are_not_trained_again(arrays, folder, monkeypatch):
    before = lines_in(folder)
    monkeypatch.setattr(runner, "_train", None)
    again = run_in(folder, CONFIG)
    for name, value in arrays.items():
        np.testing.assert_array_equal(again[name], value)
    assert lines_in(folder) == before


def test_a_run_that_is_told_to_stop_goes_on_as_if_it_had_not(
    arrays, folder, tmp_path, monkeypatch
):
    config = dataclasses.replace(
        CONFIG,
        class_cone_weight=0.0,
        sgd_rates=(),
        checkpoint_dir=str(tmp_path / "saved"),
        checkpoint_seconds=1e-9,
    )
    record = runner.Metrics.record

    def record_and_kill(self, row, text):
        record(self, row, text)
        if row["epoch"] == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with monkeypatch.context() as patch, pytest.raises(SystemExit) as stop:
        patch.setattr(runner.Metrics, "record", record_and_kill)
        run_in(tmp_path, config)
    assert stop.value.code == 128 + signal.SIGTERM
    assert [line["epoch"] for line in lines_in(tmp_path)] == ["0", "1", "2"]
    resumed = run_in(tmp_path, config)
    for name in set(runner.HISTORY) - {"seconds"}:
        np.testing.assert_array_equal(resumed[name], arrays[name][:2], name)
    assert np.all(np.diff(resumed["seconds"], axis=1) > 0)
    timeless = [
        [line | {"seconds": ""} for line in lines_in(place)]
        for place in (tmp_path, folder)
    ]
    assert timeless[0] == timeless[1][:8]


def test_a_curve_that_diverges_ends_early(arrays, peak, tmp_path):
    config = dataclasses.replace(
        CONFIG, learning_rates=(), class_cone_weight=0.0, sgd_rates=(1e9,)
    )
    found = run_in(tmp_path, config)
    assert np.sum(np.isfinite(found["epoch"])) < 4
    assert np.all(np.isnan(last(found, "objective")))


def test_a_diverged_curve_loses(arrays):
    lost = arrays | {"objective": arrays["objective"].copy()}
    lost["objective"][[0, 1], 2:] = np.nan
    found = [claim.verdict for claim in claims(lost)]
    assert found[:4] == [Verdict.NOT_REPRODUCED] * 4
    plot(lost)


@pytest.fixture(scope="module")
def digits():
    return load_rows("digits", "", CONFIG.num_train)


@pytest.mark.parametrize("bf16", [False, True])
def test_what_is_measured_of_a_convex_program(digits, bf16):
    config = dataclasses.replace(CONFIG, bf16=bf16)
    learner = make_convex(config, Curve("cones", 1e-2), digits, make_mesh())
    x, y = (jnp.asarray(array[: CONFIG.batch_size]) for array in digits.train)
    state = learner.state
    for _ in range(3):
        state, _ = learner.step(state, x, y)
    gates = filter_gates(
        jax.random.key(CONFIG.seed), (8, 8, 1), (3, 3), num=CONFIG.num_patterns
    )
    w, (X, Y) = np.asarray(state.w, np.float64), map(np.float64, digits.train)
    z = np.einsum("spkd,nd->spkn", w, X)
    masks = (np.asarray(gates) @ X.T >= 0)[None, :, None]
    fits = [(f[0] - f[1]).sum(0).T for f in (np.where(masks, z, 0), np.maximum(z, 0))]
    penalty = CONFIG.beta * np.linalg.norm(w, axis=-1).sum()
    losses = [np.sum((fit - Y) ** 2) / 2 / len(X) + penalty for fit in fits]
    shares = [np.mean(fit.argmax(1) == Y.argmax(1)) for fit in fits]
    measured = learner.measure(state)
    want = {
        "objective": losses[0],
        "network_objective": losses[1],
        "violation": np.maximum(np.where(masks, -z, z), 0).sum() / np.abs(z).sum(),
        "train_accuracy": shares[0],
        "network_train_accuracy": shares[1],
    }
    found = {name: measured[name] for name in want}
    assert found == pytest.approx(want, rel=2e-2 if bf16 else 1e-5)
    assert bf16 == (found != pytest.approx(want, rel=1e-5))


def test_what_is_measured_of_the_network(digits):
    config = dataclasses.replace(CONFIG, bf16=True)
    learner = make_network(config, Curve("sgd", 1e-2), digits, make_mesh())
    first, second = (np.float64(w["kernel"]) for w in learner.state[0].values())
    X, Y = map(np.float64, digits.train)
    fit = np.maximum(X @ first, 0) @ second
    penalty = np.sum(first**2) + np.sum(np.sum(np.abs(second), axis=1) ** 2)
    want = np.sum((fit - Y) ** 2) / 2 / len(X) + CONFIG.beta * penalty / 2
    measured = learner.measure(learner.state)
    assert measured["objective"] == pytest.approx(want, rel=2e-2)
    assert measured["objective"] != pytest.approx(want, rel=1e-6)
    assert learner.cost.parameters == first.size + second.size


def test_the_networks_penalty_is_the_convex_ones_where_it_is_balanced(key):
    one, two = jax.random.split(key)
    first, second = jax.random.normal(one, (5, 4)), jax.random.normal(two, (4, 3))
    sizes = jnp.linalg.norm(first, axis=0), jnp.sum(jnp.abs(second), axis=1)
    blocks = jnp.sum(sizes[0] * sizes[1])  # sum_jk ||w_j v_jk||
    scale = jnp.sqrt(sizes[1] / sizes[0])

    def penalty(scale):
        layers = {"first": first * scale[None], "second": second / scale[:, None]}
        return half_squared_path_norm({k: {"kernel": v} for k, v in layers.items()})

    assert penalty(scale) == pytest.approx(blocks) and penalty(scale * 2) > blocks


def test_images_become_rows_in_float32(digits, tmp_path):
    assert digits.shape == (8, 8, 1) and digits.train.x.shape == (200, 64)
    assert digits.train.x.dtype == digits.train.y.dtype == np.float32
    np.testing.assert_allclose(digits.train.x.mean(), 0, atol=1e-6)
    assert np.all(digits.test.y.sum(axis=1) == 1)
    for data in ("cifar10", "cifar100", "fashion_mnist"):
        with pytest.raises(FileNotFoundError):
            load_rows(data, str(tmp_path), 10)


def test_marks_are_dense_at_first_and_few():
    assert marks_of(4, 25) == [0, 1, 2, 3, 4]
    for epochs, records in ((40, 25), (400, 25), (100, 25), (8, 3), (9, 1)):
        marks = marks_of(epochs, records)
        assert marks[0] == 0 and marks[-1] == epochs and len(marks) == records + 1
        assert marks == sorted(set(marks))


@pytest.mark.parametrize(
    "module", [cifar10_convex_sgd, cifar100_convex_sgd, fashion_mnist_convex]
)
def test_each_experiment_has_three_sizes(module, peak, tmp_path):
    full, small = module.Config.full(), module.Config.smoke()
    assert (full.num_patterns, full.batch_size, full.epochs) == (4_096, 1_000, 100)
    assert full.cone_weight == 1e-2 and full.beta == 1e-6 and full.momentum == 0.9
    assert full.num_neurons == full.num_patterns
    assert full.sgd_rates == (1e-2, 5e-3, 1e-3) and not full.proximal
    assert full.plateau == 0.5 and full.seed == 42 and small.data == "digits"
    assert module.Config().data == full.data != small.data
    tiny = dataclasses.replace(
        small, learning_rates=(), class_cone_weight=0.0, sgd_epochs=1
    )
    with record.parts_in(tmp_path):
        module.run(tiny)
    name = module.__name__.rpartition(".")[2]
    assert (tmp_path / "data" / f"{name}.csv").read_text().count("\n") == 3


def test_the_authors_rates_fall_on_a_plateau_and_not_under_proximal_steps(digits):
    config = dataclasses.replace(CONFIG, plateau=0.5)
    with pytest.raises(ValueError, match="--noproximal"):
        make_convex(config, Curve("gaussian", 1e-2), digits, make_mesh())
    config = dataclasses.replace(config, proximal=False, batch_size=200)
    learner = make_convex(config, Curve("gaussian", 1e-12), digits, make_mesh())
    x, y = map(jnp.asarray, digits.train)
    state = learner.state
    for _ in range(11):  # 10 epochs of one batch without progress
        state, _ = learner.step(state, x, y)
    assert state.optimizer[1].scale == 0.5


def test_curves_with_cones_take_the_smallest_rate():
    config = Settings(learning_rates=(2.0, 1.0), sgd_rates=(3.0,))
    names = [curve.name for curve in curves_of(config)]
    assert names[-2:] == ["cones-1", "sgd-3"] and len(names) == 6
    config = dataclasses.replace(config, class_cone_weight=0.0)
    assert len(curves_of(config)) == 5


def test_the_peak_is_measured(monkeypatch):
    monkeypatch.setitem(efficiency._SIDES, "cpu", 64)
    for dtype in (jnp.float32, jnp.bfloat16):
        assert 0 < efficiency.gemm_rate(make_mesh(), dtype) < 1e15


def test_verdicts_follow_the_numbers(arrays):
    same = arrays | {"network_objective": arrays["objective"]}
    assert claims(same)[4].verdict is Verdict.REPRODUCED
    held = np.where(np.arange(4)[:, None] == 2, 1.0, 9.0) * arrays["objective"]
    held = claims(arrays | {"network_objective": held})
    assert held[4].verdict is Verdict.CORRECTED
    assert "not" not in held[4].verdict.value
    swapped = arrays | {"kind": arrays["kind"][[3, 3, 2, 0]]}
    swapped |= {"kind": np.asarray(["sgd", "sgd", "gaussian", "convolutional"])}
    found = [claim.verdict for claim in claims(swapped)]
    assert found[0] is found[1] is found[3] is Verdict.NOT_REPRODUCED
    two = np.tile(np.asarray([0.50, 0.53, 0.4, 0.51])[:, None], 4)
    found = claims(arrays | {"test_accuracy": two, "num_test": np.asarray(10_000)})
    assert found[1].verdict is found[2].verdict is Verdict.REPRODUCED
    assert found[1].measured.startswith("+2.0 points")
