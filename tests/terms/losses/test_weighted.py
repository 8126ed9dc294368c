"""Weights of samples: what they scale, and what is refused."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cvxjax.interfaces import Loss
from cvxjax.terms import losses
from tests.loss_references import close, every, sample, sample_dual


@every
def test_weights_count_samples(reference):
    """Weights that are integers repeat samples."""
    counts = np.array([1, 3, 2, 1])
    loss = losses.weighted(reference.loss, counts)
    assert isinstance(loss, Loss)
    z, y = sample(reference, 4)
    z = reference.loss.prox(z, y, 1.0)
    again = reference.loss.value(np.repeat(z, counts), np.repeat(y, counts))
    close(loss.value(z, y), again)
    close(loss.gradient(z, y), counts * reference.loss.gradient(z, y))
    u = sample_dual(reference, y)
    spread = reference.loss.conjugate(np.repeat(u, counts), np.repeat(y, counts))
    close(loss.conjugate(counts * u, y), spread)


@every
def test_prox_is_optimal_and_clipping_projects(reference):
    weights = np.array([1e-3, 0.5, 4.0, 80.0])
    loss = losses.weighted(reference.loss, weights)
    x, y = sample(reference, 4)
    z = loss.prox(x, y, 0.7)
    u = (x - z) / 0.7  # a subgradient at z
    gap = loss.value(z, y) + loss.conjugate(loss.clip_dual(u, y), y) - u @ z
    assert abs(gap) < 1e-12 * (1 + np.sum(np.abs(u * z)))
    low, high = loss.box(y)
    far = 1e3 * x
    close(loss.clip_dual(far, y), np.clip(far, low, high))
    moved = jax.jit(lambda w, x: losses.weighted(reference.loss, w).prox(x, y, 0.7))
    close(moved(weights, jnp.asarray(x)), z)


def test_weights_go_along_the_first_axis():
    loss = losses.weighted(losses.huber(0.7), [1.0, 2.0])
    z, y = np.array([[0.1, 3.0], [-2.0, 0.4]]), np.zeros((2, 2))
    rows = [losses.huber(0.7).value(z[s], y[s]) for s in range(2)]
    close(loss.value(z, y), rows[0] + 2 * rows[1])
    close(loss.gradient(z, y)[1], 2 * losses.huber(0.7).gradient(z, y)[1])


def test_what_a_weighted_loss_says_of_itself():
    loss = losses.weighted(losses.squared(), [1.0, 2.5])
    assert (loss.name, loss.quadratic, loss.constraint) == (
        "weighted squared",
        False,
        None,
    )
    assert float(loss.smoothness) == 2.5
    assert losses.weighted(losses.hinge(), [1.0]).smoothness is None
    assert losses.weighted(losses.hard_margin(), [1.0]).constraint == "margin"


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 0.0, 0.0], "got 0 for 2 of 3 samples .leave those out"),
        ([1.0, -1.0], "want finite weights > 0"),
        ([1.0, np.nan], "want finite weights > 0"),
        (2.0, r"want weights \[n\], real; got float64 \[\]"),
        (["a"], r"want weights \[n\], real"),
    ],
)
def test_weights_that_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        losses.weighted(losses.squared(), weights)


def test_other_refusals():
    for bad in ("hinge", losses.hinge, losses.Hinge):
        with pytest.raises(ValueError, match="want a loss of cvxjax.losses; got"):
            losses.weighted(bad, [1.0])
    loss = losses.weighted(losses.hinge(), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"2 weights, one a sample; .* \(3,\)"):
        loss.check_labels(np.ones(3))
    with pytest.raises(ValueError, match="labels -1 and"):
        loss.check_labels(np.array([0.0, 1.0]))
