"""The comparison with PyTorch: equal steps, counted work, verdicts that follow."""

import dataclasses

import numpy as np
import pytest

from experiments import bench_stochastic as experiment
from experiments._frame.record import Verdict


def test_the_step_is_that_of_plain_sgd():
    """Against the objective's subgradient, written out in NumPy."""
    config = dataclasses.replace(experiment.Config.smoke(), steps=4)
    given = experiment.draw(config, 12, 4)
    _, weights = experiment.Step(config, given).take(given)
    gates, b = given["gates"].astype(float), config.batch_size
    w, speed = np.zeros(weights.shape), np.zeros(weights.shape)
    signs = np.array([1.0, -1.0])
    for x, y in zip(given["X"].astype(float), given["Y"], strict=True):
        masks = gates @ x.T >= 0  # [P, b]
        z = np.einsum("spcd,bd->spcb", w, x)
        fit = np.einsum("s,pb,spcb->bc", signs, masks, z)
        slope = np.einsum("s,pb,bc,bd->spcd", signs, masks, fit - y, x)
        total = z.sum(axis=2)
        kinks = np.where(masks, -1.0 * (total < 0), 1.0 * (total > 0))
        slope += experiment._RHO * np.einsum("spb,bd->spd", kinks, x)[:, :, None]
        norms = np.linalg.norm(w, axis=-1, keepdims=True)
        slope += experiment._PENALTY * w / np.where(norms > 0, norms, 1)
        speed = experiment._MOMENTUM * speed + slope / b
        w = w - config.learning_rate * speed
    assert np.abs(w).max() > 0
    assert np.abs(weights - w).max() <= 1e-5 * np.abs(w).max()


def test_pytorch_takes_the_same_steps(arrays):
    """Where it is installed; elsewhere the claim says that it is not."""
    if np.isnan(arrays["apart"]).any():
        assert experiment.claims(arrays)[0].verdict is Verdict.UNCHECKABLE
        pytest.skip("PyTorch is not installed: scripts/bench_environments peers")
    assert np.all(arrays["apart"] <= 1e-4)


def test_verdicts_follow_the_times(arrays):
    made = arrays | {"apart": np.zeros_like(arrays["apart"])}
    made["seconds"] = np.tile([1.0, 2.0, 1.0], (len(arrays["P"]), 1))
    made["flops"], made["peak"] = 6e9 + 0 * arrays["flops"], 1e10 + 0 * arrays["peak"]
    made["memory"] = 1.2 + 0 * arrays["memory"]
    assert [c.verdict for c in experiment.claims(made)] == 3 * [Verdict.REPRODUCED]
    made["seconds"][0] = [1.0, 1.4, 1.0]
    made["peak"], made["memory"] = 2 * made["peak"], made["memory"] + 0.2
    assert [c.verdict for c in experiment.claims(made)] == 3 * [Verdict.NOT_REPRODUCED]


def test_work_is_counted(arrays):
    """Gates, predictions, gradients, and the two products of the cones' penalty."""
    b, c = arrays["batch_size"], arrays["num_outputs"]
    want = 2 * b * arrays["P"] * arrays["d"] * (1 + 2 * c + 4)
    assert np.array_equal(arrays["flops"], want)
