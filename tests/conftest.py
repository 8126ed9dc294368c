"""Float64, no silent broadcasting, and keys; warnings are errors by pyproject.toml."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import jax
import pytest

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


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
