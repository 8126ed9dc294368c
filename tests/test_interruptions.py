"""Runs that are killed or told to stop, in processes of their own, and go on."""

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cvxjax.saving import preemption
from cvxjax.saving.checkpoints import Checkpoints
from tests import interrupted_run

ROOT = Path(__file__).parents[1]


def test_preemption_takes_note_and_puts_handlers_back():
    before = signal.getsignal(signal.SIGTERM)
    with preemption.Preemption((signal.SIGTERM, signal.SIGUSR1)) as guard:
        assert not guard.requested()
        os.kill(os.getpid(), signal.SIGTERM)
        assert guard.requested() and guard.requested()
        with pytest.raises(SystemExit) as exit_:
            guard.exit()
        assert exit_.value.code == 143
    assert signal.getsignal(signal.SIGTERM) is before
    assert signal.getsignal(signal.SIGUSR1) is signal.SIG_DFL


@pytest.fixture(scope="module")
def fork(tmp_path_factory):
    """Starts a function in a process forked from one that has imported JAX."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(ROOT))
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("jax")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["tests.interrupted_run"])
        children = []

        def start(function, *arguments):
            child = context.Process(target=function, args=arguments)
            child.start()
            children.append(child)
            return child

        yield start
        for child in children:
            child.kill()
            child.join()
            child.close()


@pytest.fixture(scope="module")
def uninterrupted(fork, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    child = fork(interrupted_run.train, folder / "run", folder / "result")
    child.join(120)
    assert child.exitcode == 0
    return (folder / "result").read_bytes()


def wait_for(child, folder, step):
    """Until the run has finished `step`, or ended."""
    while child.is_alive() and interrupted_run.progress_of(folder) < step:
        time.sleep(0.005)


def newest_of(folder):
    return max(Checkpoints(folder, identity="").steps(), default=0)


def test_kill_9_loses_at_most_one_interval(fork, uninterrupted, tmp_path):
    folder, generator = tmp_path / "run", np.random.default_rng()
    kills, stop = 0, False
    while not stop:
        begun = newest_of(folder)
        child = fork(interrupted_run.train, folder, tmp_path / "result", 0.005)
        if kills < 6:
            Path(f"{folder}.progress").unlink(missing_ok=True)
            wait_for(child, folder, begun + generator.integers(1, 8))
            time.sleep(generator.uniform(0, 0.2))
            child.kill()
        child.join(120)
        stop = child.exitcode == 0
        kills += not stop
        assert child.exitcode == (0 if stop else -signal.SIGKILL)
        reached = interrupted_run.progress_of(folder)
        assert newest_of(folder) >= reached - interrupted_run.EVERY
    assert kills >= 5
    assert (tmp_path / "result").read_bytes() == uninterrupted
    assert len(list(folder.iterdir())) == 3


def test_sigterm_saves_the_very_step_and_exits(fork, uninterrupted, tmp_path):
    """As a user starts it; without a word on the terminal."""
    folder, result = tmp_path / "run", tmp_path / "result"
    command = [sys.executable, "-W", "error", "-m", "tests.interrupted_run"]
    process = subprocess.Popen(
        [*command, folder, result], cwd=ROOT, stdout=-1, stderr=-1
    )
    with process:
        while process.poll() is None and interrupted_run.progress_of(folder) < 6:
            time.sleep(0.005)
        process.terminate()
        assert process.communicate() == (b"", b"")
    assert process.returncode == 143
    assert newest_of(folder) == interrupted_run.progress_of(folder) >= 6
    assert not result.exists()
    child = fork(interrupted_run.train, folder, result)
    child.join(120)
    assert child.exitcode == 0
    assert result.read_bytes() == uninterrupted


def test_several_devices(fork, tmp_path):
    child = fork(interrupted_run.move_between_devices, tmp_path)
    child.join(120)
    assert child.exitcode == 0


def test_two_processes(fork, tmp_path):
    """A signal to one stops both at the same step; they go on as if it had not."""
    like = {
        "split": jax.ShapeDtypeStruct((4,), jnp.float32),
        "key": jax.ShapeDtypeStruct((), jax.random.key(0).dtype),
        "order": np.arange(3),
    }
    for signal_at, code in ((7, 143), (None, 0)):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        children = [
            fork(
                interrupted_run.train_in_two,
                rank,
                port,
                tmp_path,
                rank and signal_at,
            )
            for rank in (0, 1)
        ]
        for child in children:
            child.join(120)
        assert [child.exitcode for child in children] == [code, code]
        with Checkpoints(tmp_path, identity="two") as saved:
            step, state = saved.restore(like)
        assert step == 7 and np.all(np.isfinite(state["split"]))
