"""Float64, no silent broadcasting, and keys; warnings are errors by pyproject.toml.

Thousands of small programs are compiled, in a fourth of the time without optimisation.
With XLA_FLAGS set, if only to nothing, they are compiled as it says.
"""

from __future__ import annotations

import collections
import itertools
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1",
)
# What one worker, or a process that tests start, has compiled, the others read: for
# this run alone, and whatever other cache there is.
if "PYTEST_XDIST_WORKER" not in os.environ:
    _compiled = tempfile.TemporaryDirectory(
        prefix="compiled-", ignore_cleanup_errors=True
    )
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled.name
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"

import jax
import pytest
from xdist.scheduler import LoadScopeScheduling

from tests import instances

# Jobs that a shell runs in the background ignore Ctrl-C, and so would what tests start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--full", action="store_true", help="also what the short suite leaves out"
    )


def pytest_configure(config: pytest.Config) -> None:
    config.option.loadscopereorder = False
    config.addinivalue_line("markers", "full: only with --full (scripts/test --full)")


_FEWER = Path(__file__).with_name("short_suite.txt")


def _left_out(items: list[pytest.Item]) -> set[str]:
    """What the short suite does without: marked `full`, slow runs, further cases."""
    lines = (line.split() for line in _FEWER.read_text().splitlines())
    most = {line[1]: int(line[0]) for line in lines if line and line[0] != "#"}
    out, seen = set(), collections.Counter()
    for item in items:
        function = item.nodeid.partition("[")[0]
        seen[function] += 1
        # Experiments' own runs: their claims and pictures are tested on saved arrays.
        run = function.startswith("tests/experiments/") and "arrays" in _fixtures(item)
        further = seen[function] > most.get(function, len(items))
        if run or further or item.get_closest_marker("full"):
            out.add(item.nodeid)
    return out


def _fixtures(item: Any) -> list[str]:
    return getattr(item, "fixturenames", [])


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    items.sort(key=lambda item: not item.nodeid.startswith(_LONG))
    if config.getoption("--full"):
        return
    out = _left_out(items)
    config.hook.pytest_deselected(items=[i for i in items if i.nodeid in out])
    items[:] = [item for item in items if item.nodeid not in out]


_LONG = tuple(
    "tests/" + place
    for place in "devices cases contracts test_interruptions command_line/test_early "
    "experiments/test_saved solvers programs".split()
)
"""What takes long comes first, so that no worker is left with it at the end."""


class _Scheduler(LoadScopeScheduling):
    """Keeps a file's tests in one worker, which then makes what they share once.

    Contracts are many, and those of one program share its solutions.
    """

    def _split_scope(self, nodeid: str) -> str:
        file, _, test = nodeid.partition("::")
        names = test.partition("[")[2].removesuffix("]").split("-")
        known = (name for name in names if name in instances.PROGRAMS)
        return next(known, file) if file.startswith("tests/contracts/") else file


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> _Scheduler:
    return _Scheduler(config, log)


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


_MAPS = Path("/proc/self/maps")  # Linux; a process may have 65,530
_MOST_MAPS = 10_000
_tests = itertools.count()


@pytest.fixture(autouse=True)
def bounded_compilations() -> Iterator[None]:
    """Forgets compiled code before it fills memory, or all that a worker may map."""
    yield
    if next(_tests) % 25 == 0 and _MAPS.exists():
        with _MAPS.open("rb") as maps:
            count = sum(1 for _ in maps)
        if count > _MOST_MAPS:
            jax.clear_caches()
