"""Saving and restoring: exact, or refused where a file is damaged or foreign."""

import itertools
import logging
import re
import shutil
import threading
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import Mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

import cvxjax as cj
from cvxjax.record import Record, static
from cvxjax.saving import checkpoints
from cvxjax.saving.checkpoints import Checkpoints
from tests import instances


class Node(Record):
    x: jax.Array
    name: str = static(default="static")


def make_state():
    params = {"w": jnp.arange(6, dtype=jnp.bfloat16).reshape(3, 2), "b": jnp.ones(3)}
    return {
        "params": params,
        "optimizer": optax.adam(1e-3).init(params),
        "key": jax.random.key(3),
        "keys": jax.random.wrap_key_data(np.ones((2, 4), np.uint32), impl="rbg"),
        "order": np.random.default_rng(0).permutation(7),
        "node": Node(x=jnp.float32(0.1)),
        "int8": jnp.array([-128, 127], jnp.int8),
        "bool": jnp.array([True, False]),
        "special": np.array([np.nan, -0.0, np.inf, 5e-324]),
        "complex": jnp.array(1 + 2j),
        "empty": jnp.zeros((0, 3)),
        "weak": jnp.full(2, 0.5),
        "scalar": np.float32(0.3),
        "generator": np.random.default_rng(1).bit_generator.state,  # 128 bits, text
        "plain": (True, 3, 0.1, float("inf"), None),
    }


def bits(leaf):
    """What two leaves must share to be the same, to the last bit."""
    if not hasattr(leaf, "dtype"):
        return type(leaf), leaf
    kind = jax.Array if isinstance(leaf, jax.Array) else type(leaf)
    traits = getattr(leaf, "weak_type", None), getattr(leaf, "committed", None)
    dtype = leaf.dtype
    if jnp.issubdtype(dtype, jax.dtypes.prng_key):
        leaf = jax.random.key_data(leaf)
    return kind, traits, dtype, leaf.shape, np.asarray(leaf).tobytes()


def assert_same(got, want):
    assert jax.tree.structure(got) == jax.tree.structure(want)
    assert [*map(bits, jax.tree.leaves(got))] == [*map(bits, jax.tree.leaves(want))]


def abstract(leaf):
    if isinstance(leaf, jax.Array):
        return jax.ShapeDtypeStruct(leaf.shape, leaf.dtype)
    return leaf


SMALL = {"x": np.arange(3.0), "n": 1}
OTHER = {"x": np.arange(3.0) + 1, "n": 2}


@pytest.fixture
def folder(tmp_path):
    """With SMALL as step 10 and OTHER as step 20."""
    with Checkpoints(tmp_path / "run", identity="me") as saved:
        saved.save(10, SMALL)
        saved.save(20, OTHER)
    return tmp_path / "run"


def restore(folder, like=SMALL, identity="me"):
    with Checkpoints(folder, identity=identity) as saved:
        return saved.restore(like)


@pytest.mark.parametrize("make_like", [lambda leaf: leaf, abstract])
def test_round_trip_is_exact(tmp_path, make_like):
    state = make_state()
    with Checkpoints(tmp_path / "a" / "b", identity="me") as saved:
        saved.save(np.int32(7), state)
    step, got = restore(tmp_path / "a" / "b", jax.tree.map(make_like, state))
    assert step == 7
    assert_same(got, state)
    got["order"][0] = 1  # NumPy's arrays can be written


def test_states_of_the_library(tmp_path):
    """A solver's, and a training's."""
    X, y = instances.draw_data(6, 2)
    patterns = cj.arrangements.enumerate_patterns(X)
    program = cj.programs.make_two_layer(X, y, patterns, beta=0.1)
    w = np.zeros((2, len(patterns.masks), 2))
    solver = jax.eval_shape(cj.solvers.Admm().init, program, w)
    solver = jax.tree.map(lambda leaf: np.ones(leaf.shape, leaf.dtype), solver)
    training = cj.networks.TrainingResult(
        variables={"params": {"w": np.ones((1, 2))}},
        optimizer_state=optax.adam(1e-2).init({"w": np.ones((1, 2))}),
        objective=np.ones((1, 3)),
        metrics=None,
        steps=np.arange(3, dtype=np.int32),
        run_seconds=0.1,
        compile_seconds=0.2,
    )
    state = {"solver": solver, "training": training}
    with Checkpoints(tmp_path, identity="me") as saved:
        saved.save(3, state)
    assert_same(restore(tmp_path, state), (3, state))


def test_arrays_come_back_where_they_lay(tmp_path):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    state = {"x": jax.device_put(jnp.ones(3), sharding)}
    with Checkpoints(tmp_path / "run", identity="me") as saved:
        saved.save(1, state)
    absent = {"x": jax.ShapeDtypeStruct((3,), jnp.float64, sharding=sharding)}
    for like in (absent, state):
        _, got = restore(tmp_path / "run", like)
        assert got["x"].committed and got["x"].sharding == sharding


def test_without_arrays(tmp_path):
    with Checkpoints(tmp_path, identity="me") as saved:
        saved.save(0, {"n": 3})
    assert restore(tmp_path, {"n": 0}) == (0, {"n": 3})


def test_saved_is_a_copy(tmp_path):
    state = {"x": jnp.arange(1000.0), "order": np.arange(1000)}
    with Checkpoints(tmp_path, identity="me") as saved:
        saved.save(1, state)
        state["order"][:] = 0
        jax.jit(lambda x: x * 2, donate_argnums=0)(state["x"]).block_until_ready()
        like = {"x": jnp.zeros(1000), "order": np.zeros(1000, int)}
        _, got = saved.restore(like)
    np.testing.assert_array_equal(got["x"], np.arange(1000))
    np.testing.assert_array_equal(got["order"], np.arange(1000))


def test_keeps_the_last(tmp_path):
    with Checkpoints(tmp_path, identity="me", keep=2) as saved:
        for step in range(4):
            saved.save(step, SMALL)
            saved.save(step, SMALL)  # a second time: nothing to do
            assert saved.steps() == list(range(step + 1))[-2:]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "3"]


def test_nothing_yet(tmp_path):
    assert restore(tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
    (tmp_path / "notes").mkdir()
    (tmp_path / ".5.part").mkdir()  # a first save, killed
    assert restore(tmp_path) is None
    with Checkpoints(tmp_path, identity="me") as saved:
        saved.save(1, SMALL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1", "notes"]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def empty(path):
    path.write_bytes(b"")


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def exchange(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [truncate, empty, flip, Path.unlink, exchange])
def test_damage_to_any_file_is_refused(folder, damage):
    """And the previous is used: the file's name and the step are told."""
    names = [path.relative_to(folder / "20") for path in (folder / "20").rglob("*")]
    names = [name for name in names if (folder / "20" / name).is_file()]
    assert len(names) > 4
    shutil.copytree(folder / "20", folder.parent / "whole")
    for name in names:
        damage(folder / "20" / name)
        told = "" if name.name == "SHA256SUMS" else re.escape(str(name))
        with pytest.warns(UserWarning, match=f"step 20 is refused.*{told}") as caught:
            assert_same(restore(folder), (10, SMALL))
        assert len(caught) == 1
        shutil.rmtree(folder / "20")
        shutil.copytree(folder.parent / "whole", folder / "20")
    assert_same(restore(folder), (20, OTHER))


@pytest.mark.parametrize("garbage", [Path.mkdir, Path.touch, "file within"])
def test_garbage_is_refused(folder, garbage):
    if garbage == "file within":
        (folder / "30").mkdir()
        (folder / "30" / "SHA256SUMS").write_bytes(b"\xff\x00 nonsense \xfe\n")
    else:
        garbage(folder / "30")
    (folder / "20" / "more").touch()
    with pytest.warns(UserWarning) as caught:
        assert_same(restore(folder), (10, SMALL))
    first, second = (str(warning.message) for warning in caught)
    assert "step 30 is refused" in first and "SHA256SUMS" in first
    assert "step 20 is refused" in second and "more" in second


FOREIGN = {
    "identity": (SMALL, "want identity 'me'; found 'another'"),
    "shape": ({"x": np.arange(4.0), "n": 1}, r"\['x'\].*float64\[3\].*float64\[4\]"),
    "dtype": ({"x": np.ones(3, np.float32), "n": 1}, "want float64.*found float32"),
    "more": (SMALL | {"y": np.ones(1)}, r"\['y'\]: want nothing, found float64"),
    "less": ({"n": 1}, r"\['x'\]: want float64\[3\], found nothing"),
    "kind": ({"x": np.arange(3.0), "n": 1.0}, r"\['n'\]: want int, found float"),
    "tree": ([np.arange(3.0), 1], "and 1 more"),
}


@pytest.mark.parametrize("name", FOREIGN)
def test_foreign_is_refused(folder, name):
    state, reason = FOREIGN[name]
    identity = "another" if name == "identity" else "me"
    with Checkpoints(folder.parent / "else", identity=identity) as saved:
        saved.save(30, state)
    shutil.copytree(folder.parent / "else" / "30", folder / "30")
    with pytest.warns(UserWarning, match=reason):
        assert_same(restore(folder), (20, OTHER))
    with pytest.raises(ValueError, match=f"no checkpoint.*\n.*step 30.*{reason}"):
        restore(folder.parent / "else")


def test_keys_of_another_algorithm_are_foreign(tmp_path):
    with Checkpoints(tmp_path, identity="me") as saved:
        saved.save(1, {"key": jax.random.key(0)})
    with pytest.raises(ValueError, match=r"want key<rbg>\[\], found key<fry>\[\]"):
        restore(tmp_path, {"key": jax.random.key(0, impl="rbg")})


def test_another_format_and_another_name_are_refused(folder, monkeypatch):
    shutil.copytree(folder / "20", folder / "40")
    with pytest.warns(UserWarning, match="step 40.*want step 40; found 20"):
        assert restore(folder)[0] == 20
    monkeypatch.setattr(checkpoints, "_FORMAT", 2)
    with pytest.raises(ValueError, match="want format 2; found 1"):
        restore(folder)


def test_refused_ones_are_set_aside_by_the_next_save(folder):
    flip(folder / "20" / "manifest.json")
    with Checkpoints(folder, identity="me") as saved:
        with pytest.warns(UserWarning, match="going back"):
            step, _ = saved.restore(SMALL)
        assert step == 10 and saved.steps() == [10, 20]
        saved.save(15, OTHER)
        assert saved.steps() == [10, 15]
    (aside,) = folder.glob("refused-*")
    assert [path.name for path in aside.iterdir()] == ["20"]
    assert_same(restore(folder), (15, OTHER))


def test_what_save_refuses(folder, tmp_path):
    with jax.enable_x64(False):
        weak = jnp.full(2, 1.0)
    with Checkpoints(folder, identity="me") as saved:
        with pytest.raises(ValueError, match="already holds step 20"):
            saved.save(30, SMALL)
        saved.restore(SMALL)
        with pytest.raises(ValueError, match="want a step from 20; got 15"):
            saved.save(15, SMALL)
        for leaf, reason in (
            (object(), r"got object in state\['x'\]"),
            (np.array(["text"]), "<U4"),
            (np.ones(2, ">f8"), ">f8"),
            (np.array([object()]), "object"),
            (weak, "weakly typed"),
        ):
            with pytest.raises(TypeError, match=reason):
                saved.save(30, {"x": leaf})
        with pytest.raises(TypeError):
            saved.save(1.5, SMALL)
        assert saved.steps() == [10, 20]
    with Checkpoints(tmp_path / "new", identity="me") as saved:
        with pytest.raises(ValueError, match="want a step from 0; got -1"):
            saved.save(-1, SMALL)
    for name in ("keep", "every_steps", "every_seconds"):
        with pytest.raises(ValueError, match=f"want {name} > 0; got 0"):
            Checkpoints(tmp_path, identity="me", **{name: 0})


def test_64_bits_without_64_bits(folder):
    like = {"x": jax.ShapeDtypeStruct((3,), np.float64), "n": 1}
    with jax.enable_x64(False):
        with pytest.raises(ValueError, match="want float64, JAX makes it float32"):
            restore(folder, like)
        assert restore(folder)[1]["x"].dtype == np.float64


def test_due_by_steps_and_by_seconds(tmp_path, monkeypatch):
    clock = SimpleNamespace(monotonic=itertools.count(0, 10).__next__)
    monkeypatch.setattr(checkpoints, "time", clock)
    for folder, every, want in (
        ("steps", {"every_steps": 3}, [3, 6]),
        ("seconds", {"every_seconds": 25}, [3, 6]),
        ("both", {"every_steps": 2, "every_seconds": 35}, [2, 4, 6, 8]),
        ("neither", {}, []),
    ):
        with Checkpoints(tmp_path / folder, identity="me", **every) as saved:
            due = [step for step in range(1, 9) if saved.save_when_due(step, SMALL)]
        assert due == want


def test_nothing_is_logged_and_nothing_left_running(tmp_path, caplog):
    threads = set(threading.enumerate())
    caplog.set_level(logging.INFO)
    level = logging.getLogger("absl").level
    with Checkpoints(tmp_path, identity="me") as saved:
        saved.save(1, SMALL)
        saved.restore(SMALL)
    assert not [record for record in caplog.records if record.name == "absl"]
    assert logging.getLogger("absl").level == level
    assert set(threading.enumerate()) <= threads


@pytest.mark.parametrize(
    "place, name",
    [
        (ocp.Checkpointer, "save"),
        (checkpoints.files, "atomic"),
        (checkpoints, "_sums"),
        (checkpoints.os, "rename"),
        (checkpoints.shutil, "rmtree"),
    ],
    ids=["arrays", "manifest", "sums", "rename", "delete"],
)
def test_interrupted_saves_leave_the_previous(folder, monkeypatch, place, name):
    with Checkpoints(folder, identity="me", keep=1) as saved:
        saved.restore(SMALL)
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            patch.setattr(place, name, Mock(side_effect=KeyboardInterrupt))
            saved.save(30, SMALL)
    with Checkpoints(folder, identity="me", keep=1) as saved:
        got = saved.restore(SMALL)
        assert_same(got, (30, SMALL) if name == "rmtree" else (20, OTHER))
        saved.save(40, SMALL)
    assert [path.name for path in folder.iterdir()] == ["40"]
