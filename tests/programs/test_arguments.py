"""What `make_two_layer` refuses, in words that say what arrived."""

import jax.numpy as jnp
import numpy as np
import pytest

import cvxjax as cj
from tests import instances

X, Y = instances.draw_data(8, 2)
SIGNS = np.sign(Y)


def make(X=X, y=Y, patterns=None, beta=0.1, **options):
    patterns = cj.arrangements.enumerate_patterns(X) if patterns is None else patterns
    return cj.programs.make_two_layer(X, y, patterns, beta=beta, **options)


def patterns():
    return cj.arrangements.enumerate_patterns(X)


def spoilt(array, value):
    array = array.copy()
    array.flat[0] = value
    return array


@pytest.mark.parametrize(
    "data, message",
    [
        (spoilt(X, np.nan), r"want X of finite float64; got 1 infinite or NaN"),
        (spoilt(X, np.inf), r"want X of finite float64; got 1 infinite or NaN"),
        (X[0], r"want X \[n, d\] with n, d >= 1; got shape \(2,\)"),
        (X[None], r"want X \[n, d\] with n, d >= 1; got shape \(1, 8, 2\)"),
        (X[:0], r"want X \[n, d\] with n, d >= 1; got shape \(0, 2\)"),
        (X[:, :0], r"want X \[n, d\] with n, d >= 1; got shape \(8, 0\)"),
        (X + 0j, "want X of real numbers; got dtype complex128"),
        (X.astype(str), "want X of real numbers; got dtype <U"),
        (X.astype(object), "want X of real numbers; got dtype object"),
        ([[1.0, 2.0], [3.0]], "want X, an array of real numbers"),
    ],
)
def test_bad_data(data, message):
    with pytest.raises(ValueError, match=message):
        make(data, patterns=patterns())


@pytest.mark.parametrize(
    "labels, message",
    [
        (spoilt(Y, np.nan), "want finite y; got NaN or infinity"),
        (spoilt(Y, -np.inf), "want finite y; got NaN or infinity"),
        (Y[:7], r"want X \[n, d\], y \[n\]; got \(8, 2\), \(7,\)"),
        (Y[:, None] + [[0, 0]], r"want X \[n, d\], y \[n\]; got \(8, 2\), \(8, 2\)"),
        (Y[0], r"want X \[n, d\], y \[n\]; got \(8, 2\), \(\)"),
        (Y[:0], r"want X \[n, d\], y \[n\]; got \(8, 2\), \(0,\)"),
        (Y + 0j, "want real numbers for y; got dtype complex128"),
        (Y.astype(str), "want real numbers for y; got dtype <U"),
        ([None] * 8, "want real numbers for y; got dtype object"),
    ],
)
def test_bad_labels(labels, message):
    with pytest.raises(ValueError, match=message):
        make(y=labels)


@pytest.mark.parametrize("loss", instances.SIGN_LABELS)
@pytest.mark.parametrize("labels", [(SIGNS + 1) / 2, 2 * SIGNS, Y])
def test_labels_outside_the_losss_set(loss, labels):
    with pytest.raises(ValueError, match=rf"{loss} loss wants labels -1 and \+1; got"):
        make(y=labels, loss=getattr(cj.losses, loss)())


@pytest.mark.parametrize("loss", instances.REAL_LABELS)
def test_real_labels_are_taken_by_the_others(loss):
    program = make(y=Y, loss=getattr(cj.losses, loss)())
    np.testing.assert_array_equal(program.y, Y)


@pytest.mark.parametrize(
    "beta, message",
    [
        (0, "want a finite beta > 0; got 0"),
        (-0.1, "want a finite beta > 0; got -0.1"),
        (np.nan, "want a finite beta > 0; got nan"),
        (np.inf, "want a finite beta > 0; got inf"),
        ("0.1", "want a number for beta; got '0.1'"),
        (None, "want a number for beta; got None"),
        (1j, "want a number for beta; got 1j"),
        ([0.1], r"want a number for beta; got \[0.1\]"),
        (True, "want a number for beta; got True"),
    ],
)
def test_bad_beta(beta, message):
    with pytest.raises(ValueError, match=message):
        make(beta=beta)


def test_beta_is_named():
    with pytest.raises(TypeError):
        cj.programs.make_two_layer(X, Y, patterns(), 0.1)


@pytest.mark.parametrize("beta", [1, np.float32(0.5), jnp.asarray(0.5), np.array(0.5)])
def test_every_kind_of_number_is_a_beta(beta):
    program = make(beta=beta)
    assert program.beta.dtype == np.float64
    assert float(program.beta) == float(beta)


@pytest.mark.parametrize("loss", ["square", cj.losses.squared, 1])
def test_what_is_no_loss(loss):
    with pytest.raises(ValueError, match="want a loss of cvxjax.losses; got"):
        make(loss=loss)


def test_no_patterns():
    none = patterns().replace(masks=jnp.zeros((0, 8), bool), gates=jnp.zeros((0, 2)))
    with pytest.raises(ValueError, match=r"want at least one pattern, masks \[P, 8\]"):
        make(patterns=none)


@pytest.mark.parametrize("gated", [False, True])
@pytest.mark.parametrize("shape", [(7, 2), (8, 3)])
def test_patterns_of_data_of_another_shape(shape, gated):
    other = cj.arrangements.enumerate_patterns(instances.draw_data(*shape)[0])
    with pytest.raises(
        ValueError, match=r"want patterns of this X \[8, 2\]; got masks"
    ):
        make(patterns=other, gated=gated)


@pytest.mark.parametrize("gated", [False, True])
def test_patterns_of_other_data_of_the_same_shape(gated):
    other = cj.arrangements.enumerate_patterns(instances.draw_data(8, 2, seed=1)[0])
    with pytest.raises(ValueError, match=r"want gates with masks = \(X gates >= 0\)"):
        make(patterns=other, gated=gated)


@pytest.mark.parametrize("gated", [False, True])
def test_patterns_with_gates_that_are_not_finite(gated):
    bad = patterns().replace(gates=patterns().gates.at[0, 0].set(jnp.nan))
    with pytest.raises(ValueError, match="gates"):
        make(patterns=bad, gated=gated)


@pytest.mark.parametrize("other", [np.ones((16, 8), bool), "all"])
def test_what_is_no_record_of_patterns(other):
    with pytest.raises(ValueError, match="patterns"):
        cj.programs.make_two_layer(X, Y, other, beta=0.1)
