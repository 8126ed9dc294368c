"""How processes find each other: by arguments, environment, clusters."""

from __future__ import annotations

import os

import jax
import pytest

from cvxjax.devices import processes


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
