"""Start-up of several processes that run one JAX program."""

from __future__ import annotations

import os

import jax

COORDINATOR = "CVXJAX_COORDINATOR"
NUM_PROCESSES = "CVXJAX_NUM_PROCESSES"
PROCESS_ID = "CVXJAX_PROCESS_ID"

_DETECT = "auto"
_TPU_HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")


def start_processes(
    coordinator: str | None = None,
    num_processes: int | None = None,
    process_id: int | None = None,
) -> None:
    """Joins the processes of this run; must come before JAX touches a device.

    Every process of the run calls it; `jax.devices()` then lists the devices of all. A
    second call does nothing, and neither does a call in a run of one process. Arguments
    that are not given are read from CVXJAX_COORDINATOR, CVXJAX_NUM_PROCESSES and
    CVXJAX_PROCESS_ID; if these are not set either, SLURM steps of several tasks and TPU
    pods under Kubernetes are recognised. It waits up to 5 minutes for the others.

    Args:
      coordinator: host:port of process 0; or "auto", without the other arguments, for
        JAX to find all three, as on a TPU pod.
      num_processes: >= 1.
      process_id: 0 to num_processes - 1.

    Raises:
      ValueError: if only some of the three are given, or they do not fit.
    """
    if jax.distributed.is_initialized():
        return
    address = coordinator or os.environ.get(COORDINATOR) or None
    count = _number(num_processes, NUM_PROCESSES)
    place = _number(process_id, PROCESS_ID)
    given = {"coordinator": address, "num_processes": count, "process_id": place}
    present = {name: value for name, value in given.items() if value is not None}
    if present == {"coordinator": _DETECT} or (not present and _in_cluster()):
        jax.distributed.initialize()
        return
    if not present:
        return
    if address is None or count is None or place is None or address == _DETECT:
        raise ValueError(
            f"want coordinator, num_processes and process_id, or none; got {present}"
        )
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isdecimal() and 0 <= place < count):
        raise ValueError(
            "want coordinator, host:port, and 0 <= process_id < num_processes; "
            f"got {present}"
        )
    if count > 1:
        jax.distributed.initialize(address, count, place)


def _number(given: int | None, variable: str) -> int | None:
    """The argument, else the environment variable; None if neither is given."""
    text = os.environ.get(variable)
    if given is not None or not text:
        return given
    if not text.isdecimal():
        raise ValueError(f"want {variable}, an integer >= 0; got {text!r}")
    return int(text)


def _in_cluster() -> bool:
    """Whether this process is one of several of a SLURM step or of a TPU pod.

    Not by SLURM_NTASKS, which the shell of a batch script has as well.
    """
    hosts = next((os.environ[x] for x in _TPU_HOSTS if x in os.environ), "")
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1 or "," in hosts
