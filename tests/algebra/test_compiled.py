"""Lean compilation, also where jaxlib has no such option."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from cvxjax.algebra import compiled


@pytest.fixture
def fresh():
    """Asks jaxlib again before and after the test."""
    compiled._lean_is_known.cache_clear()
    yield
    compiled._lean_is_known.cache_clear()


@pytest.mark.parametrize("option", ["xla_cpu_use_fusion_emitters", "xla_no_such"])
def test_lean_functions_compute_the_same(fresh, monkeypatch, option):
    monkeypatch.setattr(compiled, "_LEAN", {option: False})
    lean = compiled.jit_leanly(lambda x, y: jnp.exp(x) * y, donate_argnums=0)
    x, y = np.linspace(0, 1, 5), np.arange(5.0)
    assert_allclose(lean(jnp.asarray(x), y), np.exp(x) * y, rtol=1e-14)
    assert compiled._lean_is_known() == (option != "xla_no_such")
