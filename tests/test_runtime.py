"""Lean compilation: the same numbers, also where jaxlib does not know the option."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cvxjax import runtime


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
