"""Process-wide set-up: JAX, threads and forgotten programs."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_info

from cvxjax.devices import runtime

ROOT = Path(__file__).parents[2]


def test_configure_jax_switches_on_float64_and_the_cache(tmp_path):
    script = """
import sys
import jax
from cvxjax.devices.runtime import cache_folder, configure_jax
def cache():
    return jax.config.jax_compilation_cache_dir
assert jax.numpy.zeros(1).dtype == "float32" and cache() is None
configure_jax()
assert jax.numpy.zeros(1).dtype == "float64"
assert cache() == str(cache_folder() / "jax")
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
configure_jax()
assert cache() == sys.argv[1]
"""
    dropped = ("JAX_ENABLE_X64", "JAX_COMPILATION_CACHE_DIR")
    environment = {k: v for k, v in os.environ.items() if k not in dropped}
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "own")],
        cwd=ROOT,
        env=environment | {"XDG_CACHE_HOME": str(tmp_path)},
        check=True,
    )


def blas_threads():
    return {x["num_threads"] for x in threadpool_info() if x["user_api"] == "blas"}


def test_shared_cores_come_back_after_nested_and_overlapping_blocks(monkeypatch):
    """CASES 3: entered twice, it left BLAS on one thread."""
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    before = blas_threads()
    with runtime.share_cores(), runtime.share_cores():
        assert blas_threads() == {1}
    assert blas_threads() == before
    first = runtime.share_cores()
    inside, leave = threading.Event(), threading.Event()

    def other():
        with runtime.share_cores():
            inside.set()
            leave.wait()

    thread = threading.Thread(target=other)
    with first:
        thread.start()
        inside.wait()
    assert blas_threads() == before
    leave.set()
    thread.join()
    assert blas_threads() == before


def test_compiled_programs_are_forgotten_before_mappings_run_out(monkeypatch, tmp_path):
    """CASES 2.9: a process that solves hundreds of shapes died in LLVM."""
    cleared = []
    monkeypatch.setattr(runtime._process, "counted", -np.inf)
    monkeypatch.setattr(runtime.jax, "clear_caches", lambda: cleared.append(1))
    for name, text in (("_MAPS", "a\n" * 51), ("_MOST_MAPS", "100\n")):
        (tmp_path / name).write_text(text)
        monkeypatch.setattr(runtime, name, tmp_path / name)
    for seconds, want in ((10.0, 1), (15.0, 1), (21.0, 2)):
        monkeypatch.setattr(runtime.time, "monotonic", lambda at=seconds: at)
        runtime.forget_old_programs()
        assert len(cleared) == want
    (tmp_path / "_MAPS").write_text("a\n" * 50)
    monkeypatch.setattr(runtime.time, "monotonic", lambda: 40.0)
    runtime.forget_old_programs()
    (tmp_path / "_MAPS").unlink()
    monkeypatch.setattr(runtime.time, "monotonic", lambda: 60.0)
    runtime.forget_old_programs()
    assert len(cleared) == 2
