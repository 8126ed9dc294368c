"""Ctrl-C, time limits, and output that cannot be written: what is solved is kept."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import cvxjax as cj
from cvxjax import __main__ as command_line
from cvxjax.command_line import early_interrupts
from cvxjax.saving.files import read_arrays
from tests.command_line.test_commands import ROOT, draw, run

ENDLESS = "--solver Stochastic --gated --tol 1e-300 --max_iters 100000000".split()


@pytest.fixture(autouse=True)
def leave_jax_alone(monkeypatch):
    monkeypatch.setattr(command_line, "configure_jax", lambda **_: None)


@pytest.fixture
def data(tmp_path):
    X, y = draw()
    np.savez(tmp_path / "data.npz", X=X, y=y)
    return tmp_path / "data.npz"


def start(*line, **options):
    """The command in a process of its own, compiled as the tests are."""
    return subprocess.Popen(
        [sys.executable, "-m", "cvxjax", *map(str, line)],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
        **({"stdout": subprocess.PIPE} | options),
    )


@pytest.mark.parametrize("seconds", [0.0, 1.0])
def test_an_interrupt_while_it_starts_is_one_line(data, seconds):
    """From the first import that takes long."""
    with start("solve", data, "--beta", 0.1, *ENDLESS) as process:
        maps = Path(f"/proc/{process.pid}/maps")
        while process.poll() is None and "numpy" not in maps.read_text():
            time.sleep(0.01)
        time.sleep(seconds)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and err.count("\n") == 1, err
    assert err.startswith("cvxjax: interrupted") or not out


@pytest.fixture
def slow_data(tmp_path):
    """Nearly parallel columns, on which a first-order solver takes minutes."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    X[:, 1:] = X[:, :1] + 1e-3 * X[:, 1:]
    np.savez(tmp_path / "slow.npz", X=X, y=rng.standard_normal(60))
    return tmp_path / "slow.npz"


@pytest.mark.parametrize("command", ["solve", "path"])
def test_an_interrupt_keeps_the_best_so_far(slow_data, tmp_path, command):
    out = tmp_path / "kept.npz"
    betas = {"solve": ["--beta", 1e-3], "path": ["--betas", "100,1e-3"]}[command]
    options = ["--patterns", 20, *ENDLESS, "--out", out]
    with start(command, slow_data, *betas, *options) as process:
        if command == "solve":
            assert "iteration" in process.stderr.readline()
        else:
            lines = [process.stdout.readline() for _ in range(3)]
            assert lines[2].endswith("CONVERGED\n"), lines  # zero, from beta_max on
            time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    last = err.splitlines()[-1]
    if command == "solve":
        assert last == "cvxjax: interrupted: this is the best so far"
        kept = read_arrays(out)
        assert kept["status"] == "INTERRUPTED" and np.any(kept["params"] != 0)
    else:
        assert last == "cvxjax: interrupted at 2 of 2 betas"
        kept = read_arrays(out)
        assert kept["status"].tolist() == ["CONVERGED", "INTERRUPTED"]
        assert 0 < kept["gap"][1] < 1


def test_a_time_limit_keeps_the_best_so_far(data, capsys, tmp_path):
    line = ["solve", data, "--beta", 0.1, "--gated", "--time_limit", 0]
    rows, err = run([*line, "--out", tmp_path / "w.npz"], capsys, 3)
    assert rows["solver"].endswith("TIME_LIMIT") and "TIME_LIMIT: time_limit" in err
    assert read_arrays(tmp_path / "w.npz")["status"] == "TIME_LIMIT"
    line = ["path", data, "--betas", "0.2,0.1", "--gated", "--time_limit", 0]
    _, err = run([*line, "--out", tmp_path / "p.npz"], capsys, 3)
    assert err == "cvxjax: the time limit came at 1 of 2 betas\n"
    assert read_arrays(tmp_path / "p.npz")["status"].tolist() == ["TIME_LIMIT"]
    _, err = run([*line[:-1], "-1"], capsys, 2)
    assert "want time_limit, seconds >= 0; got -1.0" in err


def test_an_interrupt_while_betas_are_judged_keeps_those_before(
    data, capsys, tmp_path, monkeypatch
):
    """The second Ctrl-C, which nothing notes."""
    certify, calls = cj.certify, []

    def interrupted(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return certify(*arguments, **options)

    monkeypatch.setattr(cj, "certify", interrupted)
    line = ["path", data, "--betas", "0.2,0.1", "--gated", "--tol", 1e-3]
    _, err = run([*line, "--out", tmp_path / "p.npz"], capsys, 130)
    assert err == "cvxjax: interrupted at 1 of 2 betas\n"
    assert len(read_arrays(tmp_path / "p.npz")["betas"]) == 1


def test_a_full_disk_does_not_lose_a_finished_solve(data, tmp_path):
    line = ["solve", data, "--beta", 10, "--gated", "--out", tmp_path / "w.npz"]
    with open("/dev/full", "w") as full, start(*line, stdout=full) as process:
        _, err = process.communicate(timeout=60)
    assert err == "cvxjax: cannot print the results: No space left on device\n"
    assert process.returncode == 0
    assert read_arrays(tmp_path / "w.npz")["status"] == "CONVERGED"


def test_a_closed_pipe_does_not_lose_a_finished_solve(data, tmp_path):
    line = ["solve", data, "--beta", 10, "--gated", "--out", tmp_path / "w.npz"]
    with start(*line) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0
    assert read_arrays(tmp_path / "w.npz")["status"] == "CONVERGED"


def test_an_ascii_terminal_shows_escapes(data, monkeypatch):
    named = data.rename(data.parent / "d\u00e4ta.npz")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert command_line.main(["solve", str(named), "--beta", "10", "--gated"]) == 0
    assert rb"d\xe4ta.npz" in out.buffer.getvalue()


def test_only_the_command_line_looks_after_ctrl_c_when_it_starts(monkeypatch):
    handler = signal.getsignal(signal.SIGINT)
    for words in (["python", "script.py"], ["python", "-m", "cvxjax.other"]):
        monkeypatch.setattr(sys, "orig_argv", words)
        early_interrupts.watch_start()
        assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.setattr(sys, "orig_argv", ["python", "-W", "error", "-m", "cvxjax"])
    early_interrupts.watch_start()
    try:
        assert signal.getsignal(signal.SIGINT) is early_interrupts._leave
        with early_interrupts.interruptible(), pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is early_interrupts._leave
    finally:
        signal.signal(signal.SIGINT, handler)
