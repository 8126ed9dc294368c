"""The parent's side: starts workers in their own environments, asks and ends them."""

from __future__ import annotations

import dataclasses
import json
import os
import selectors
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from experiments._peers.lines import Line
from experiments._peers.problem import Problem

ROOT = Path(__file__).resolve().parents[2]
ENVIRONMENTS = ROOT / ".bench"
_START_SECONDS = 120.0


@dataclasses.dataclass(frozen=True)
class Adapter:
    """A file of this folder, and the environment that it runs in."""

    module: str
    environment: str | None  # a folder of .bench; None: this interpreter's

    @property
    def python(self) -> Path:
        if self.environment is None:
            return Path(sys.executable)
        return ENVIRONMENTS / self.environment / "bin" / "python"


ADAPTERS = {
    "cvxjax": Adapter("cvxjax", None),
    "clarabel": Adapter("cvxpy", None),
    "scs": Adapter("cvxpy", None),
    "adelie": Adapter("adelie", "adelie"),
    "pyscnn": Adapter("pyscnn", "peers"),
}


class NotInstalled(Exception):  # noqa: N818 - no error: the peer is left out
    """The peer's environment, or a package in it, is missing."""


class Failed(Exception):  # noqa: N818 - an outcome that is measured
    """The peer raised, died or ran out of time on this problem."""


class TimedOut(Failed):
    """The peer ran out of time, and its worker was killed."""

    def __init__(self, limit: float) -> None:
        super().__init__(f"no answer in {limit:.3g} s")
        self.limit = limit


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What a worker returned for one request."""

    arrays: dict[str, np.ndarray]  # "params" [2, P, d], and what else the adapter gave
    seconds: float
    peak_bytes: int  # of the worker's process, so far


class Session:
    """One worker process; it stays warm between requests.

    `answers` counts them, and `idle_bytes` is its size before the first.

    Raises:
      NotInstalled: on entering, if the peer cannot be imported.
    """

    def __init__(
        self,
        peer: str,
        *,
        threads: int = 2,
        environment: Mapping[str, str] | None = None,
    ):
        self.adapter = ADAPTERS[peer]
        self.threads = threads
        self.extra = dict(environment or {})
        self.versions: dict[str, str] = {}
        self.import_seconds = float("nan")
        self.idle_bytes = 0
        self.answers = 0

    def __enter__(self) -> Session:
        python = self.adapter.python
        if not python.exists():
            raise NotInstalled(f"no environment {self.adapter.environment}")
        self.folder = tempfile.TemporaryDirectory(prefix="cvxjax-bench-")
        self.log = open(Path(self.folder.name) / "log.txt", "w+")
        self.process = subprocess.Popen(
            [python, "-m", "experiments._peers.worker", self.adapter.module],
            cwd=ROOT,
            env=_environment(self.threads) | self.extra,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        hello = self._read(_START_SECONDS)
        if "missing" in hello:
            self.__exit__()
            raise NotInstalled(hello["missing"])
        self.versions = hello["versions"]
        self.import_seconds = hello["import_seconds"]
        self.idle_bytes = hello["idle_bytes"]
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout, self.log):
            if pipe is not None:
                pipe.close()
        self.folder.cleanup()

    @property
    def alive(self) -> bool:
        """Whether it answers: not after a time-out or a crash."""
        return self.process.poll() is None

    def ask(
        self, problem: Problem, settings: Mapping[str, Any], *, limit: float
    ) -> Answer:
        """Has the worker solve `problem`.

        Args:
          problem: what to solve.
          settings: of the adapter.
          limit: seconds, after which the worker is killed.

        Raises:
          Failed: with the reason; after TimedOut the session answers no more.
        """
        if not self.alive:
            raise Failed("the worker has ended")
        given, taken = (
            Path(self.folder.name) / f"{name}.npz" for name in ("in", "out")
        )
        problem.write(given)
        request = {
            "problem": str(given),
            "settings": dict(settings),
            "answer": str(taken),
        }
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        reply = self._read(limit)
        if "failure" in reply:
            raise Failed(reply["failure"])
        with np.load(taken, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        self.answers += 1
        return Answer(
            arrays=arrays, seconds=reply["seconds"], peak_bytes=reply["peak_bytes"]
        )

    def _read(self, limit: float) -> dict[str, Any]:
        assert self.process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            if not selector.select(limit):
                self.process.kill()
                self.process.wait()
                raise TimedOut(limit)
        line = self.process.stdout.readline()
        if not line:
            raise Failed(f"the worker died: {self._last_words()}")
        return json.loads(line)

    def _last_words(self) -> str:
        self.log.flush()
        self.log.seek(0)
        lines = self.log.read().strip().splitlines()
        return lines[-1] if lines else "it said nothing"


class Workers:
    """Sessions that stay alive between problems; one that has ended is started again.

    Args:
      shared: one process for each peer, whose lines then share what it compiled; if
        not, one for each line, so that its peak of memory is its own.
      environment: variables of the processes.
    """

    def __init__(
        self, *, shared: bool, environment: Mapping[str, str] | None = None
    ) -> None:
        self.shared = shared
        self.environment = environment
        self.sessions: dict[str, Session] = {}

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        for session in self.sessions.values():
            session.__exit__()

    def of(self, line: Line) -> Session:
        """The session that answers for `line`.

        Raises:
          NotInstalled: if the peer cannot be imported.
        """
        key = line.peer if self.shared else line.name
        session = self.sessions.get(key)
        if session is None or not session.alive:
            new = Session(line.peer, environment=self.environment).__enter__()
            if session is not None:
                session.__exit__()
            session = self.sessions[key] = new
        return session


def _environment(threads: int) -> dict[str, str]:
    """This process's, with as many threads for every library."""
    names = ("OMP", "OPENBLAS", "MKL", "NUMEXPR", "RAYON")
    return dict(os.environ) | {f"{name}_NUM_THREADS": str(threads) for name in names}
