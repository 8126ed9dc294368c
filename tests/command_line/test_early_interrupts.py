"""Ctrl-C, time limits, and output that cannot be written: what is solved is kept."""

from __future__ import annotations

import io
import json
import os
import re
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
ENDLESS += ["--time_limit", "none", "--patterns", "20"]


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


@pytest.mark.parametrize("command", ["fit", "path"])
def test_an_interrupt_keeps_the_best_so_far(slow_data, tmp_path, command):
    out = tmp_path / "kept.npz"
    betas = {"fit": ["--beta", 1e-3], "path": ["--betas", "2,1e-3"]}[command]
    with start(command, slow_data, *betas, *ENDLESS, "--out", out) as process:
        if command == "fit":
            assert "iteration" in process.stderr.readline()
        else:
            while not (line := process.stdout.readline()).endswith("CONVERGED\n"):
                assert line  # zero, from beta_max on
            time.sleep(1)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert err.splitlines()[-1] == "cvxjax: interrupted: this is the best so far"
    told = json.loads(str(read_arrays(out)["model"]))["fitted"]
    statuses = [one["statuses"] for one in told]
    if command == "fit":
        assert statuses == [["INTERRUPTED"]]
        assert np.any(read_arrays(out)["part0/params"] != 0)
    else:
        assert statuses == [["CONVERGED"], ["INTERRUPTED"]]


def test_a_time_limit_keeps_the_best_so_far(slow_data, capsys, tmp_path):
    line = ["fit", slow_data, "--beta", 1e-3, *ENDLESS, "--time_limit", 1]
    rows, err = run([*line, "--out", tmp_path / "w.npz"], capsys, 3)
    assert rows["status"].startswith("TIME_LIMIT") and "TIME_LIMIT: time_limit" in err
    assert np.any(read_arrays(tmp_path / "w.npz")["part0/params"] != 0)
    line = ["path", slow_data, "--betas", "0.2,1e-3,1e-4", *ENDLESS, "--time_limit", 1]
    _, err = run([*line, "--out", tmp_path / "p.npz"], capsys, 3)
    (reached,) = re.findall("cvxjax: the time limit came at ([12]) of 3 betas\n", err)
    assert len(read_arrays(tmp_path / "p.npz")["betas"]) == int(reached)


def test_an_interrupt_while_a_network_is_certified_keeps_it(
    slow_data, capsys, tmp_path, monkeypatch
):
    certify, calls = cj.certify, []

    def interrupted(*arguments, **options):
        calls.append(options["time_limit"])
        if len(calls) == 1:
            raise KeyboardInterrupt
        return certify(*arguments, **options)

    monkeypatch.setattr(cj, "certify", interrupted)
    line = ["fit", slow_data, "--patterns", 10, "--gated", "--out", tmp_path / "w.npz"]
    rows, err = run(line, capsys, 130)
    assert calls[1] == 0 and rows["status"].startswith("INTERRUPTED")
    assert err.endswith("cvxjax: interrupted: this is the best so far\n")
    assert "part0/params" in read_arrays(tmp_path / "w.npz")


def test_predictions_that_cannot_be_printed_are_an_error(data, tmp_path):
    with start("fit", data, "--beta", 2, "--out", tmp_path / "w.npz") as process:
        assert process.wait(60) == 0
    with open("/dev/full", "w") as full:
        with start("predict", tmp_path / "w.npz", data, stdout=full) as process:
            _, err = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "error: cannot print the predictions: No space left on device" in err


def test_a_full_disk_does_not_lose_a_finished_solve(data, tmp_path):
    line = ["fit", data, "--beta", 2, "--out", tmp_path / "w.npz"]
    with open("/dev/full", "w") as full, start(*line, stdout=full) as process:
        _, err = process.communicate(timeout=60)
    assert err == "cvxjax: cannot print the results: No space left on device\n"
    assert process.returncode == 0
    assert "part0/params" in read_arrays(tmp_path / "w.npz")


def test_a_closed_pipe_does_not_lose_a_finished_solve(data, tmp_path):
    line = ["fit", data, "--beta", 2, "--out", tmp_path / "w.npz"]
    with start(*line) as process:
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(60) == 0
    assert "part0/params" in read_arrays(tmp_path / "w.npz")


def test_an_ascii_terminal_shows_escapes(data, monkeypatch):
    named = data.rename(data.parent / "d\u00e4ta.npz")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert command_line.main(["fit", str(named), "--beta", "2"]) == 0
    assert rb"d\xe4ta.npz" in out.buffer.getvalue()


@pytest.mark.parametrize(
    "words_of_start",
    [["python", "-W", "error", "-m", "cvxjax"], ["python", "/usr/bin/cvxjax"]],
)
def test_only_the_command_line_looks_after_ctrl_c_when_it_starts(
    monkeypatch, words_of_start
):
    handler = signal.getsignal(signal.SIGINT)
    for words in (["python", "script.py"], ["python", "-m", "cvxjax.other"]):
        monkeypatch.setattr(sys, "orig_argv", words)
        early_interrupts.watch_start()
        assert signal.getsignal(signal.SIGINT) is handler
    monkeypatch.setattr(sys, "orig_argv", words_of_start)
    monkeypatch.setattr(sys, "argv", [words_of_start[-1]])
    early_interrupts.watch_start()
    try:
        assert signal.getsignal(signal.SIGINT) is early_interrupts._leave
        with early_interrupts.interruptible(), pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is early_interrupts._leave
    finally:
        signal.signal(signal.SIGINT, handler)
