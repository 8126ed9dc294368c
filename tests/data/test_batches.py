"""Minibatches: their order, resuming, work ahead of use, and the end of the thread."""

from __future__ import annotations

import functools
import threading
import time

import jax
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from cvxjax.data import images
from cvxjax.data.batches import Batches, epoch_order

ROWS = np.arange(11)
POINTS = np.stack([ROWS, -ROWS], axis=1).astype(float)


def make(**options):
    return Batches(POINTS, ROWS, **{"batch_size": 3, "seed": 1} | options)


def take(batches, count):
    """The labels of the next batches, [count, batch_size]."""
    return np.stack([np.asarray(next(batches)[1]) for _ in range(count)])


@pytest.fixture(autouse=True)
def no_thread_stays():
    yield
    assert not [t for t in threading.enumerate() if "cvxjax-batches" in t.name]


def test_an_epoch_takes_every_row_once_but_the_rest():
    with make() as batches:
        assert batches.per_epoch == 3
        epochs = [take(batches, 3).ravel() for _ in range(3)]
    for epoch, seen in enumerate(epochs):
        assert len(set(seen)) == 9
        np.testing.assert_array_equal(seen, epoch_order(1, epoch, 11)[:9])
        assert sorted(epoch_order(1, epoch, 11)) == list(ROWS)
    assert not np.array_equal(epochs[0], epochs[1])
    with make(batch_size=11) as batches:
        assert sorted(take(batches, 1)[0]) == list(ROWS)


def test_the_order_is_of_seed_and_epoch_alone():
    with make() as one, make(depth=5) as other, make(seed=2) as another:
        first = take(one, 7)
        np.testing.assert_array_equal(first, take(other, 7))
        assert not np.array_equal(first, take(another, 7))


@pytest.mark.parametrize("after", [0, 1, 3, 4])
def test_a_run_resumes_at_its_position(after):
    with make() as whole:
        expected = take(whole, 8)[after:]
    with make(depth=4) as begun:
        for _ in range(after):
            next(begun)
        position = begun.position
    assert position == divmod(after, 3)
    with make(start=position) as resumed:
        np.testing.assert_array_equal(take(resumed, 8 - after), expected)


def test_rows_and_labels_stay_together_and_are_on_the_device():
    with make() as batches:
        x, y = next(batches)
    assert isinstance(x, jax.Array) and x.dtype == np.float64
    np.testing.assert_array_equal(x, np.stack([y, -y], axis=1))


def test_images_are_normalised_on_the_way():
    pictures = np.random.default_rng(0).integers(0, 256, (8, 4, 4, 3), np.uint8)
    mean, std = images.channel_statistics(pictures)
    prepare = functools.partial(images.normalise, mean=mean, std=std, dtype=np.float32)
    with Batches(pictures, ROWS[:8], batch_size=4, seed=0, prepare=prepare) as batches:
        x, y = next(batches)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x, prepare(pictures[np.asarray(y)]))


def test_the_thread_works_ahead_and_no_further():
    made = threading.Semaphore(0)
    names = set()

    def prepare(rows):
        names.add(threading.current_thread().name)
        made.release()
        return rows

    with make(depth=3, prepare=prepare) as batches:
        for _ in range(3):
            assert made.acquire(timeout=10)
        assert not made.acquire(timeout=0.05)
        next(batches)
        assert made.acquire(timeout=10)
        assert not made.acquire(timeout=0.05)
    assert threading.current_thread().name not in names


def test_work_and_waiting_overlap():
    def prepare(rows):
        time.sleep(0.05)
        return rows

    waited = 0.0
    with make(depth=2, prepare=prepare) as batches:
        next(batches)
        for _ in range(6):
            time.sleep(0.15)
            start = time.perf_counter()
            next(batches)
            waited += time.perf_counter() - start
    assert waited < 6 * 0.05 / 2


def test_exceptions_of_the_thread_are_raised_where_the_batch_was_due():
    calls = []

    def prepare(rows):
        calls.append(len(rows))
        if len(calls) == 3:
            raise OSError("the disk is gone")
        return rows

    batches = make(prepare=prepare, depth=2)
    take(batches, 2)
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)
    with pytest.raises(StopIteration):
        next(batches)


def test_it_ends_when_it_is_closed_or_the_block_is_left():
    batches = make()
    next(batches)
    batches.close()
    batches.close()
    assert list(batches) == []
    with pytest.raises(KeyError), make() as batches:
        raise KeyError
    assert list(batches) == []


def test_what_is_forgotten_leaves_no_thread():
    batches = make()
    next(batches)
    (thread,) = [t for t in threading.enumerate() if "cvxjax-batches" in t.name]
    del batches
    thread.join(timeout=10)


def test_batches_go_where_the_sharding_says():
    mesh = Mesh(np.asarray(jax.devices()[:1]), ("samples",))
    sharding = NamedSharding(mesh, PartitionSpec("samples"))
    with make() as plain, make(sharding=sharding) as placed:
        for _ in range(4):
            (x, y), (u, v) = next(plain), next(placed)
            assert u.sharding == sharding == v.sharding
            np.testing.assert_array_equal(x, u)
            np.testing.assert_array_equal(y, v)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 0},
        {"batch_size": 12},
        {"seed": -1},
        {"depth": 0},
        {"start": (0, 3)},
        {"start": (-1, 0)},
        {"y": ROWS[1:]},
    ],
)
def test_what_does_not_fit_is_refused(wrong):
    with pytest.raises(ValueError, match="want"):
        Batches(**{"x": POINTS, "y": ROWS, "batch_size": 3, "seed": 1} | wrong)
