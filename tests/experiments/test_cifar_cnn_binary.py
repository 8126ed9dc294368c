"""The convolutional experiment: its data, numbers of the certificate, verdicts."""

from __future__ import annotations

import numpy as np
import pytest

from experiments import cifar_cnn_binary as experiment
from experiments._frame.record import Verdict
from experiments._parts import images

CONFIG = experiment.Config.smoke()


def test_images_of_two_classes_are_split_and_normalised():
    split = images.load("digits", "", 50, (3, 8))
    assert split.train.shape == (50, 8, 8, 1) and split.names == ("3", "8")
    assert len(split.test) + 50 == 183 + 174  # all of scikit-learn's threes and eights
    assert set(split.train_labels) == set(split.test_labels) == {0, 1}
    np.testing.assert_allclose(split.train.mean(), 0, atol=1e-12)
    np.testing.assert_allclose(split.train.std(), 1, rtol=1e-12)
    with pytest.raises(ValueError, match="training images; got 0"):
        images.load("digits", "", 0, (3, 8))
    raw = images.load_bytes("digits", "", 50, (3, 8))
    assert raw.train.dtype == np.uint8 and raw.train.max() == 16
    np.testing.assert_array_equal(raw.test_labels, split.test_labels)


def test_every_set_has_a_source_and_is_read_from_its_folder(tmp_path):
    for data in ("fashion_mnist", "cifar10"):
        assert images.source(data) in ("Fashion-MNIST", "CIFAR-10")
        with pytest.raises(FileNotFoundError):
            images.load_bytes(data, str(tmp_path), 1, (0, 1))


def test_tiles_are_apart_and_scaled():
    pictures = np.asarray([1.0, -2.0, 0.0])[:, None, None, None] * np.ones((1, 2, 2, 1))
    canvas = images.tiles(pictures, columns=2)
    assert canvas.shape == (5, 5, 3)
    assert canvas[0, 0, 0] == 1 and canvas[0, 3, 0] == 0 and canvas[3, 0, 0] == 0.5
    assert np.all(canvas[2] == 1) and np.all(canvas[:, 2] == 1)


def test_all_filters_are_below_random_ones_and_bounded(arrays):
    assert arrays["sampled_gap"] <= CONFIG.tol
    assert arrays["bound"] <= arrays["convex"] < arrays["sampled"] < arrays["zero"]
    np.testing.assert_allclose(arrays["convex_network"], arrays["convex"], rtol=1e-9)
    np.testing.assert_allclose(arrays["progress"][-1, 1], arrays["convex"], rtol=1e-12)


def test_every_local_search_has_its_runs(arrays):
    for kind in ("adam", "lbfgs", "sgd"):
        assert arrays[f"{kind}_last"].shape == (1, CONFIG.starts)
        assert arrays[f"{kind}_curves"].shape == arrays[f"{kind}_times"].shape
        assert len(arrays[f"{kind}_accuracy"]) == CONFIG.starts


def test_verdicts_follow_the_numbers(arrays):
    convex, sampled = float(arrays["convex"]), float(arrays["sampled"])

    def first(lowest: float) -> Verdict:
        return experiment.claims(arrays | {"sgd_last": np.asarray([[lowest]])})[
            0
        ].verdict

    far = {f"{kind}_last": np.asarray([[9 * sampled]]) for kind in ("adam", "lbfgs")}
    arrays = arrays | far
    assert first(0.9 * convex) is Verdict.NOT_REPRODUCED
    assert first((convex + sampled) / 2) is Verdict.CORRECTED
    assert first(2 * sampled) is Verdict.REPRODUCED
    last = experiment.claims(arrays | {"bound": np.asarray(convex / 2)})[-1]
    assert last.verdict is Verdict.UNCHECKABLE and "50% lower" in last.measured
