"""Process-wide set-up: JAX's for launchers, threads for solvers.

Importing this changes nothing.
"""

from __future__ import annotations

import contextlib
import functools
import os
from pathlib import Path

import jax
import pooch
from threadpoolctl import ThreadpoolController


def cache_folder() -> Path:
    """The user's cache folder for cvxjax: downloads and compiled programs."""
    return Path(pooch.os_cache("cvxjax"))


def configure_jax(*, float64: bool = True, cache: bool = True) -> None:
    """Switches on float64 and JAX's persistent compilation cache, for this process.

    The cache makes a second run start without compiling. It lies in
    `cache_folder() / "jax"`, unless JAX_COMPILATION_CACHE_DIR names another place;
    JAX_ENABLE_COMPILATION_CACHE=0 leaves it off. Where the folder cannot be made, the
    cache stays off.

    Args:
      float64: default to 64-bit floats.
      cache: keep compiled programs on disk.
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


def share_cores() -> contextlib.AbstractContextManager:
    """Leaves LAPACK half of the cores, within the block.

    XLA's own threads keep spinning for a while after a product. On two cores a
    Cholesky factorisation after it waited 20 ms for a core of 2 ms of work.
    """
    cores = os.cpu_count() or 1
    return _controller().limit(limits=max(1, cores // 2), user_api="blas")


@functools.cache
def _controller() -> ThreadpoolController:
    return ThreadpoolController()
