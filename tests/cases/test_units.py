"""The same problem in other units: the same verdict and the same relative gap.

From reports of runs that ended CONVERGED at several times the optimum because labels
were small: the gap was divided by max(1, |objective|).
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from cvxjax.bounds.multiples import scaled_dual
from cvxjax.judges.sign_cones import SignConeJudge
from cvxjax.verdicts import gap_floor


def with_small_labels(scale):
    x = np.linspace(-1, 1, 11).round(3)
    X = np.column_stack([x, np.ones(11)])
    patterns = cj.arrangements.enumerate_patterns(X)
    y = scale * np.abs(x)
    return cj.programs.make_two_layer(X, y, patterns, beta=1e-2 * scale)


@pytest.mark.parametrize("scale", [1e-12, 1e12])
def test_certificates_and_beta_max_have_no_units(scale):
    """Rough dual vectors and points, judged in two units; y and beta times s."""
    plain, other = with_small_labels(1.0), with_small_labels(scale)
    assert other.beta_max() / scale == pytest.approx(plain.beta_max(), rel=1e-12)
    rng = np.random.default_rng(0)
    params = np.abs(rng.standard_normal(plain.shape))
    found = cj.solve(plain)
    moved = found.replace(
        params=scale * (found.params + 1e-3 * params),
        dual=scale * 1.1 * found.dual,
        multipliers=None,
    )
    given = moved.replace(params=moved.params / scale, dual=moved.dual / scale)
    want, got = cj.certify(plain, given), cj.certify(other, moved)
    assert want.gap > 1e-4
    assert got.gap == pytest.approx(want.gap, rel=1e-9)
    assert got.dual / scale**2 == pytest.approx(want.dual, rel=1e-9)


def test_gap_floor_is_a_share_of_the_loss_of_no_network():
    y = np.asarray([3.0, 4.0])
    assert gap_floor(cj.losses.squared(), y) == pytest.approx(1e-4 * 12.5)
    assert gap_floor(cj.losses.interpolation(), y) == 0
    jitted = jax.jit(lambda y: gap_floor(cj.losses.hard_margin(), y, jnp))
    assert jitted(jnp.ones(2)) == 0


@pytest.mark.parametrize("size", [1e-200, 1e-160, 1e160])
def test_prices_neither_underflow_nor_overflow(size):
    """From a fuzzer: squares of |X| below 1e-162 are zero, and so was every price.

    With y = 1 and beta = 1e-250 the bound was 0.5, where 1e-50 is attained.
    """
    X = np.asarray([[size]])
    judge = SignConeJudge(
        X=X, masks=np.ones((1, 1), bool), signs=np.array([[1.0], [-1.0]]), interior=None
    )
    assert judge.polar_bound(np.ones(1), None) == pytest.approx(size, rel=1e-12)
    y, loss, beta = np.ones(1), cj.losses.squared(), 1e-50 * size
    bound, _ = scaled_dual(loss, y, y, beta, judge.polar_bound(y, None))
    assert bound == pytest.approx(1e-50, rel=1e-9)
    assert judge.penalty(np.full((2, 1, 1), size)) == pytest.approx(2 * size, rel=1e-12)


def test_interpolation_of_small_labels_is_exact():
    """A miss of the size of the labels is no interpolation, however small they are."""
    loss, y = cj.losses.interpolation(), 1e-12 * np.ones(3)
    assert loss.value(y, y) == 0
    assert loss.value(0 * y, y) == np.inf
    assert loss.value(y * (1 + 1e-6), y) == np.inf
