"""Process-wide set-up, and lean compilation, also where jaxlib has no such option."""

import os
import subprocess
import sys
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cvxjax import runtime

ROOT = Path(__file__).parents[1]


@pytest.fixture
def fresh():
    """Asks jaxlib again before and after the test."""
    runtime._lean_is_known.cache_clear()
    yield
    runtime._lean_is_known.cache_clear()


@pytest.mark.parametrize("option", ["xla_cpu_use_fusion_emitters", "xla_no_such"])
def test_lean_functions_compute_the_same(fresh, monkeypatch, option):
    monkeypatch.setattr(runtime, "_LEAN", {option: False})
    lean = runtime.jit_leanly(lambda x, y: jnp.exp(x) * y, donate_argnums=0)
    x, y = np.linspace(0, 1, 5), np.arange(5.0)
    assert_allclose(lean(jnp.asarray(x), y), np.exp(x) * y, rtol=1e-14)
    assert runtime._lean_is_known() == (option != "xla_no_such")


def test_configure_jax_switches_on_float64_and_the_cache(tmp_path):
    script = """
import sys
import jax
from cvxjax.runtime import cache_folder, configure_jax
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
