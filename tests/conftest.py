"""Float64, no silent broadcasting, and keys; warnings are errors by pyproject.toml.

Thousands of small programs are compiled, in a fourth of the time without optimisation.
With XLA_FLAGS set, if only to nothing, they are compiled as it says.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault(
    "XLA_FLAGS",
    "--xla_backend_optimization_level=0 --xla_cpu_use_fusion_emitters=false "
    "--xla_cpu_parallel_codegen_split_count=1",
)

import jax
import pytest

from tests import instances

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keeps a file's tests in one worker, which then makes what they share once.

    Contracts are many, and those of one program share its solutions.
    """
    for item in items:
        group = item.nodeid.partition("::")[0]
        if item.path.parent.name == "contracts":
            group = _program_name(item) or group
        item.add_marker(pytest.mark.xdist_group(group))


def _program_name(item: pytest.Item) -> str | None:
    """Of the first parameter that is a program's name, or a pair of it and a solver."""
    parameters = getattr(item, "callspec", None)
    for value in parameters.params.values() if parameters else ():
        name = value[0] if isinstance(value, tuple) else value
        if isinstance(name, str) and name in instances.PROGRAMS:
            return name
    return None


@pytest.fixture
def key() -> jax.Array:
    return jax.random.key(0)


_MAPS = Path("/proc/self/maps")  # Linux; a process may have 65,530
_MOST_MAPS = 25_000
_tests = itertools.count()


@pytest.fixture(autouse=True)
def bounded_compilations() -> Iterator[None]:
    """Forgets compiled code before a worker has more of it than it may map."""
    yield
    if next(_tests) % 25 == 0 and _MAPS.exists():
        with _MAPS.open("rb") as maps:
            count = sum(1 for _ in maps)
        if count > _MOST_MAPS:
            jax.clear_caches()
