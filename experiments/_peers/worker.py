"""Solves problems in this process, one after another, for a parent that measures.

    python -m experiments._peers.worker ADAPTER

The first line written says whether the adapter's packages are installed, and what
memory their imports take. Then every line read, {"problem": npz, "settings": {...},
"answer": npz}, is answered by one line: seconds, peak memory of the process so far, and
what failed. Times go from arrays in memory to arrays in memory: whatever a package
builds from them counts.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import sys
import time
import traceback
import types
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from experiments._peers.problem import Problem


def main() -> None:
    """Serves until its standard input ends."""
    # Packages print to standard output; the replies have it to themselves.
    replies = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    start = time.perf_counter()
    try:
        adapter = importlib.import_module(f"experiments._peers.{sys.argv[1]}")
    except ImportError as error:
        _reply(replies, {"missing": str(error)})
        return
    seconds = time.perf_counter() - start
    hello = {"versions": adapter.versions(), "import_seconds": seconds}
    _reply(replies, hello | {"idle_bytes": resident_bytes("VmRSS")})
    for line in sys.stdin:
        try:
            reply = _answer(adapter, json.loads(line))
        except Exception as error:
            traceback.print_exc()
            reply = {"failure": f"{type(error).__name__}: {error}"}
        _reply(replies, reply | {"peak_bytes": resident_bytes("VmHWM")})


def _answer(adapter: types.ModuleType, request: dict[str, Any]) -> dict[str, Any]:
    problem = Problem.read(Path(request["problem"]))
    start = time.perf_counter()
    answer = adapter.solve(problem, request["settings"])
    seconds = time.perf_counter() - start
    params = np.asarray(answer["params"], np.float64)
    if params.shape != problem.shape:
        raise ValueError(f"want params {list(problem.shape)}; got {list(params.shape)}")
    np.savez(Path(request["answer"]), **(answer | {"params": params}))
    return {"seconds": seconds}


def resident_bytes(field: str) -> int:
    """Resident size of this process, by Linux's name: VmRSS now, VmHWM at most so far.

    Elsewhere both are the peak of getrusage, which on Linux starts from the parent's.
    """
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text().splitlines():
            name, _, value = line.partition(":")
            if name == field:
                return 1024 * int(value.split()[0])  # KiB
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def _reply(replies: TextIO, reply: dict[str, Any]) -> None:
    replies.write(json.dumps(reply) + "\n")
    replies.flush()


if __name__ == "__main__":
    main()
