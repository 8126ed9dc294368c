"""Cases in processes that may hang or die, which then counts as the case's failure."""

from __future__ import annotations

import multiprocessing
import multiprocessing.connection
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MAPS = Path("/proc/self/maps")
_MOST_MAPS = 20_000  # of the 65,530 that a process may have
_GRACE = 3  # limits after which a process is ended


def run(
    seed: int, *, count: int, seconds: float, limit: float, workers: int
) -> Iterator[Any]:
    """Outcomes as they come, until `count` cases or that many seconds."""
    end = time.monotonic() + seconds
    context = multiprocessing.get_context("spawn")
    crews = {}
    for index in range(workers):
        crew = _Crew(context, seed, index, workers, limit)
        crew.start(0)
        crews[index] = crew
    done = 0
    try:
        while crews and done < count and time.monotonic() < end:
            pipes = {crew.pipe: crew for crew in crews.values()}
            for pipe in multiprocessing.connection.wait(list(pipes), timeout=1):
                outcome = pipes[pipe].read()
                if outcome is not None:
                    done += 1
                    yield outcome
            for crew in crews.values():
                outcome = crew.look()
                if outcome is not None:
                    done += 1
                    yield outcome
    finally:
        for crew in crews.values():
            crew.stop()


class _Crew:
    """One process and the case that it is at."""

    def __init__(
        self, context: Any, seed: int, index: int, workers: int, limit: float
    ) -> None:
        self._context, self._limit = context, limit
        self._arguments = seed, index, workers, limit
        self._seed = seed

    def start(self, first: int) -> None:
        self.pipe, child = self._context.Pipe(duplex=False)
        self._process = self._context.Process(
            target=_work, args=(child, first, *self._arguments), daemon=True
        )
        self._process.start()
        child.close()
        self._at, self._since, self._broken = first, time.monotonic(), False

    def read(self) -> Any:
        """An outcome, if one has come."""
        try:
            number, outcome = self.pipe.recv()
        except (EOFError, OSError):
            self._broken = True
            return None
        self._at, self._since = number, time.monotonic()
        return outcome

    def look(self) -> Any:
        """What a process that hangs or has ended leaves: a failure of its case."""
        hangs = time.monotonic() - self._since > _GRACE * self._limit + 60
        if not hangs and not self._broken:
            return None
        self.stop()
        at, code = self._at, self._process.exitcode
        self.start(at + 1)
        from tests.fuzz.draw import draw
        from tests.fuzz.oracles import Outcome

        outcome = Outcome(draw(self._seed, at))
        what = "no answer" if hangs else f"the process ended with {code}"
        outcome.add("hang" if hangs else "crash", "", what)
        return outcome

    def stop(self) -> None:
        self._process.kill()
        self._process.join()
        self.pipe.close()


def _work(
    pipe: Any, first: int, seed: int, index: int, workers: int, limit: float
) -> None:
    """Cases of this worker's families, from number `first`, each sent twice."""
    set_up()
    import jax

    from tests.fuzz import draw
    from tests.fuzz.oracles import examine

    number = first
    while True:
        if draw.place_of(seed, number) % workers != index:
            number = (number // draw.BLOCK + 1) * draw.BLOCK
            continue
        pipe.send((number, None))
        case = draw.draw(seed, number)
        pipe.send((number, examine(case, limit=limit, with_reference=number % 5 == 0)))
        number += 1
        if number % draw.BLOCK == 0 and _maps() > _MOST_MAPS:
            jax.clear_caches()


def set_up() -> None:
    """Quick compilation, as in the tests, float64 and JAX's cache of compiled programs.

    Before anything is compiled. JAX_COMPILATION_CACHE_DIR names the cache's place.
    """
    os.environ.setdefault(
        "XLA_FLAGS",
        "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
        "--xla_cpu_parallel_codegen_split_count=1",
    )
    from cvxjax.devices.runtime import configure_jax

    configure_jax()


def _maps() -> int:
    return _MAPS.read_bytes().count(b"\n") if _MAPS.exists() else 0
