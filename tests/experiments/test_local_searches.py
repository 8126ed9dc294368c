"""Local searches: their records, and a problem whose optimum is known."""

from __future__ import annotations

import jax
import numpy as np
import pytest

import cvxjax as cj
from experiments._peers import local_searches


@pytest.fixture(scope="module")
def problem():
    """Samples on one line, a convex problem: X = x e_1 with x > 0, y = x."""
    x = np.linspace(0.5, 1.5, 12)
    return np.stack([x, 0 * x], axis=1), x


@pytest.mark.parametrize("kind", ["adam", "lbfgs", "sgd"])
def test_every_search_ends_at_a_known_optimum(problem, kind):
    X, y = problem
    key, network, beta = jax.random.key(0), cj.networks.TwoLayer(8), 0.5
    more = {"beta": beta, "starts": 3, "steps": 1500}
    if kind == "adam":
        search = local_searches.adam(key, network, problem, rate=0.03, **more)
    elif kind == "lbfgs":
        search = local_searches.lbfgs(key, network, problem, **more)
    else:
        search = local_searches.sgd(
            key, network, problem, rate=0.1, batch_size=12, **more
        )
    size = max(0.0, 1 - beta / (y @ y))  # min 1/2 (1 - w)^2 y^T y + beta w
    optimum = (1 - size) ** 2 / 2 * (y @ y) + beta * size
    assert np.min(search.last) == pytest.approx(optimum, rel=1e-4)
    assert np.all(search.last >= optimum * (1 - 1e-9))
    assert (
        search.objective.shape == search.seconds.shape == (3, 100 + (kind != "lbfgs"))
    )
    assert np.all(np.diff(search.seconds) >= 0)
    value = cj.networks.weight_decay_objective(network, search.best, X, y, beta=beta)
    assert float(value) == pytest.approx(np.min(search.last), rel=1e-6)


def test_all_searches_start_from_the_same_weights(problem):
    key, network = jax.random.key(1), cj.networks.TwoLayer(4)
    more = {"beta": 0.1, "starts": 2, "steps": 3}
    first = local_searches.adam(key, network, problem, rate=0.01, **more)
    second = local_searches.lbfgs(key, network, problem, **more)
    np.testing.assert_allclose(first.objective[:, 0], second.objective[:, 0], rtol=1e-6)


def test_a_run_that_diverges_is_the_worst():
    values = np.asarray([[3.0, np.nan], [3.0, 2.0]])
    one = local_searches.Search("one", None, values, 0 * values, ["a", "b"])
    other = local_searches.Search(
        "other", None, 0 * values + 2.5, 0 * values, ["c", "d"]
    )
    assert one.best == "b"
    assert local_searches.lowest([other, one]) is one
