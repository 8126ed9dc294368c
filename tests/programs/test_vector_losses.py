"""Networks with several outputs on other losses than the squared one."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.solvers.choice import default_solver
from tests import instances
from tests.vector_references import angular_optimum, gated_optimum

CLASSES = np.array([0, 1, 2, 0, 1, 2])


def draw(d=2, seed=0):
    return np.random.default_rng(seed).standard_normal((6, d))


def make(X, Y=CLASSES, beta=0.1, loss=None, **options):
    loss = cj.losses.softmax() if loss is None else loss
    return cj.programs.make_vector_output(X, Y, beta=beta, loss=loss, **options)


@pytest.mark.parametrize("name", ["softmax", "weighted softmax", "weighted squared"])
def test_relu_is_the_group_lasso_over_angles(name):
    loss = instances.loss_of(name, 6)
    program = make(draw(), np.eye(3)[CLASSES], loss=loss)
    assert isinstance(default_solver(program), cj.solvers.FrankWolfe)
    solution = cj.solve(program).check()
    certificate = cj.certify(program, solution)
    assert certificate.gap <= 1e-6
    assert certificate.scope is cj.Scope.EXHAUSTIVE
    want = angular_optimum(program)
    assert certificate.dual <= want
    assert_allclose(certificate.primal, want, rtol=2e-6)
    variables = program.recover(solution.params)
    z = np.asarray(program.network().apply(variables, program.X))
    decay = float(program.network().penalty(variables["params"]))
    value = loss.value(z, np.asarray(program.y)) + 0.1 * decay
    assert_allclose(value, certificate.primal, rtol=1e-9)


def test_gated_softmax_by_cvxpy():
    program = make(draw(3, seed=1), gated=True)
    want = gated_optimum(program)
    for solver in (None, cj.solvers.Fista(tol=1e-8)):
        solution = cj.solve(program, solver).check()
        assert_allclose(solution.objective, want, rtol=1e-6)
        assert cj.certify(program, solution).gap <= 1e-7


def test_gated_programs_take_losses_that_are_not_smooth():
    X, Y = draw(), np.where(np.eye(3)[CLASSES] > 0, 1.0, -1.0)
    program = make(X, Y, loss=cj.losses.hinge(), gated=True)
    solution = cj.solve(program, cj.solvers.Admm(tol=1e-6)).check()
    assert_allclose(solution.objective, gated_optimum(program), rtol=1e-5)


def test_a_scaled_dual_vector_is_feasible_and_bounds():
    """Any minus gradient of softmax times t <= 1 stays in the conjugate's domain."""
    program, rng = make(draw()), np.random.default_rng(3)
    solution = cj.solve(program).check()
    optimum = float(solution.objective)
    for scale in (1e-3, 1.0, 1e3):
        z = scale * rng.standard_normal((6, 3))
        dual = -program.loss.gradient(z, np.asarray(program.y))
        certificate = cj.certify(program, solution.replace(dual=dual))
        assert np.isfinite(certificate.dual)
        assert certificate.dual <= optimum * (1 + 1e-9)
    wild = cj.certify(program, solution.replace(dual=1e3 * rng.standard_normal((6, 3))))
    assert np.isfinite(wild.dual) and wild.dual <= optimum * (1 + 1e-9)


def test_classes_are_made_one_hot():
    X = draw()
    for classes in (CLASSES, CLASSES.astype(float), CLASSES.astype(np.uint8)):
        assert_allclose(make(X, classes).y, np.eye(3)[CLASSES])
    weighted = cj.losses.weighted(cj.losses.softmax(), np.ones(6))
    assert make(X, CLASSES, loss=weighted).y.shape == (6, 3)
    assert make(X, np.eye(4)[CLASSES]).y.shape == (6, 4)


def test_refusals():
    X, signs = draw(), np.sign(draw(3))
    with pytest.raises(
        ValueError, match="want a smooth loss for several outputs .*hin"
    ):
        make(X, signs, loss=cj.losses.hinge())
    with pytest.raises(ValueError, match="no constraint; got interpolation"):
        make(X, signs, loss=cj.losses.interpolation(), gated=True)
    with pytest.raises(ValueError, match="want one-hot|wants one-hot"):
        make(X, signs)
    with pytest.raises(ValueError, match="want classes .* got -1"):
        make(X, signs[:, 0])
    with pytest.raises(ValueError, match="want a loss of .* not called"):
        make(X, loss=cj.losses.Softmax)
    with pytest.raises(ValueError, match="5 weights, one a sample"):
        make(X, loss=cj.losses.weighted(cj.losses.softmax(), np.ones(5)))
    with pytest.raises(ValueError, match="its loss is softmax .* takes squared"):
        cj.solve(make(X), cj.solvers.CopositiveRelaxation())
    for construct in (cj.programs.make_two_layer, cj.programs.make_polynomial):
        with pytest.raises(ValueError, match="of one output; got softmax"):
            given = [X, CLASSES]
            if construct is cj.programs.make_two_layer:
                given.append(cj.arrangements.enumerate_patterns(X))
            construct(*given, beta=0.1, loss=cj.losses.softmax())
