"""Settings of this process: JAX's configuration, BLAS threads, compiled code.

Importing this changes nothing.
"""

from __future__ import annotations

import collections
import contextlib
import functools
import math
import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
from threadpoolctl import ThreadpoolController

_MAPS = Path("/proc/self/maps")  # on Linux
_MOST_MAPS = Path("/proc/sys/vm/max_map_count")
_COUNTING = 10.0  # seconds between two counts of a process's mappings


def cache_folder() -> Path:
    """The user's cache folder for cvxjax, for downloads and compiled programs."""
    import pooch  # here, because importing it takes a while

    return Path(pooch.os_cache("cvxjax"))


def configure_jax(*, float64: bool = True, cache: bool = True) -> None:
    """Switches on float64 and JAX's persistent compilation cache, for this process.

    With the cache, a second run starts without compiling. Its folder is
    `cache_folder() / "jax"`, unless JAX_COMPILATION_CACHE_DIR names another. It stays
    off if JAX_ENABLE_COMPILATION_CACHE=0, or if the folder cannot be made.

    Args:
      float64: whether 64-bit floats are the default.
      cache: whether to keep compiled programs on disk.
    """
    jax.config.update("jax_enable_x64", float64)
    if not cache:
        return
    known = jax.config.jax_compilation_cache_dir  # pyright: ignore
    if known is None:
        folder = cache_folder() / "jax"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            return
        jax.config.update("jax_compilation_cache_dir", str(folder))
    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.1)
    if "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES" not in os.environ:
        jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


@contextlib.contextmanager
def share_cores() -> Iterator[None]:
    """Limits BLAS and LAPACK to half of the cores, within the block.

    XLA's threads keep spinning for a while after a product: on two cores, a Cholesky
    factorisation of 2 ms waited 20 ms for a core.

    Blocks may be nested, and may run in several threads at once. The original limits
    come back at the end of every thread's outermost block, because a limit is only
    sure to be lifted by the thread that set it.
    """
    cores = os.cpu_count() or 1
    thread, most = threading.get_ident(), max(1, cores // 2)
    with _process.lock:
        if thread not in _process.blocks:
            limit = _controller().limit(limits=most, user_api="blas")
            if not _process.blocks:
                _process.limit = limit
        _process.blocks[thread] += 1
    try:
        yield
    finally:
        with _process.lock:
            _process.blocks[thread] -= 1
            if _process.blocks[thread] == 0:
                del _process.blocks[thread]
                _process.limit.restore_original_limits()


class _Process:
    """State that `share_cores` and `forget_old_programs` keep for this process."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.blocks = collections.Counter[int]()  # open blocks of each thread
        self.limit: Any = None  # set by the first block, with the original limits
        self.counted = -math.inf  # the time at which mappings were last counted


_process = _Process()


def forget_old_programs() -> None:
    """Clears JAX's caches of compiled code if memory mappings run short.

    Each compiled program takes a few mappings of memory, of which Linux allows a
    process about 65,000; a process that solves hundreds of shapes would die of that.
    Beyond half of them all compiled code is dropped, to be compiled again on demand.
    Mappings are counted every ten seconds at most.
    """
    now = time.monotonic()
    if now < _process.counted + _COUNTING or not _MAPS.exists():
        return
    with _MAPS.open("rb") as maps:
        count = sum(1 for _ in maps)
    _process.counted = now
    if count > int(_MOST_MAPS.read_text()) // 2:
        jax.clear_caches()


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
