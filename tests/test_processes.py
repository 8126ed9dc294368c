"""How processes find each other: arguments, environment, clusters; and the launcher."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import jax
import pytest

from cvxjax import processes

LAUNCHER = Path(__file__).resolve().parent.parent / "scripts" / "launch_local"


@pytest.fixture
def joined(monkeypatch):
    """The arguments of every call that would have started JAX's processes."""
    for name in (*os.environ,):
        if name.startswith(("CVXJAX_COORD", "CVXJAX_NUM", "CVXJAX_PROC", "SLURM_")):
            monkeypatch.delenv(name)
    calls = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda *what: calls.append(what))
    return calls


def test_one_process_starts_nothing(joined):
    processes.start_processes()
    processes.start_processes("localhost:1234", 1, 0)
    assert joined == []


def test_arguments_come_before_the_environment(joined, monkeypatch):
    monkeypatch.setenv(processes.COORDINATOR, "there:1")
    monkeypatch.setenv(processes.NUM_PROCESSES, "3")
    monkeypatch.setenv(processes.PROCESS_ID, "2")
    processes.start_processes()
    processes.start_processes("here:2", 2, 0)
    assert joined == [("there:1", 3, 2), ("here:2", 2, 0)]


def test_what_is_running_is_left_alone(joined, monkeypatch):
    monkeypatch.setattr(jax.distributed, "is_initialized", lambda: True)
    processes.start_processes("here:2", 2, 0)
    assert joined == []


@pytest.mark.parametrize(
    ("variables", "several"),
    [
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "1"}, True),
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_NTASKS": "4"}, False),
        ({"SLURM_NTASKS": "4", "SLURM_PROCID": "0"}, False),
        ({"TPU_WORKER_HOSTNAMES": "host-0,host-1"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({processes.COORDINATOR: "auto"}, True),
        ({processes.COORDINATOR: ""}, False),
    ],
)
def test_clusters_are_recognised(variables, several, joined, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    processes.start_processes()
    assert joined == ([()] if several else [])


@pytest.mark.parametrize(
    "wrong",
    [
        ("here:1", 2, None),
        ("here:1", None, 0),
        (None, 2, 0),
        ("auto", 2, 0),
        ("here:1", 2, 2),
        ("here:1", 0, 0),
        ("here:1", 2, -1),
        ("here", 2, 0),
        (":1", 2, 0),
    ],
)
def test_half_of_it_is_refused(wrong, joined):
    with pytest.raises(ValueError, match="want coordinator"):
        processes.start_processes(*wrong)
    assert joined == []


def test_variables_are_numbers(joined, monkeypatch):
    monkeypatch.setenv(processes.NUM_PROCESSES, "two")
    with pytest.raises(ValueError, match="want CVXJAX_NUM_PROCESSES.*'two'"):
        processes.start_processes()


def launch(count, script):
    return subprocess.Popen(
        [LAUNCHER, str(count), "bash", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_launched_processes_know_their_place():
    script = (
        'echo "$CVXJAX_NUM_PROCESSES $CVXJAX_PROCESS_ID $JAX_LOCAL_DEVICE_IDS";'
        'echo "$CVXJAX_COORDINATOR" >&2; printf unended'
    )
    process = launch(3, script)
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    lines = out.replace("unended", "unended\n").splitlines()
    for k in range(3):
        assert {f"[{k}] 3 {k} {k}", f"[{k}] unended"} <= set(lines)
    addresses = {line.split()[1] for line in lines if "127.0.0.1:" in line}
    assert len(addresses) == 1


def test_one_that_fails_ends_the_others():
    process = launch(2, "((CVXJAX_PROCESS_ID)) && exit 7; exec sleep 60")
    _, said = process.communicate(timeout=20)
    assert process.returncode == 7
    assert "process 1 failed with exit code 7" in said


def test_a_signal_reaches_all_of_them():
    script = 'trap "echo saved; exit 3" TERM; echo up; while :; do sleep 0.05; done'
    process = launch(2, script)
    for _ in range(2):
        assert process.stdout.readline().endswith("up\n")
    process.send_signal(signal.SIGTERM)
    out, said = process.communicate(timeout=20)
    assert process.returncode == 3 and "failed" not in said
    assert {"[0] saved", "[1] saved"} <= set(out.splitlines())


@pytest.mark.parametrize("arguments", [[], ["2"], ["0", "true"], ["two", "true"]])
def test_wrong_usage_of_the_launcher(arguments):
    done = subprocess.run(
        [LAUNCHER, *arguments], capture_output=True, text=True, timeout=20
    )
    assert done.returncode == 2 and "usage" in done.stderr
