"""The same problem in other units has the same status, gap and iterations.

Labels: y and beta (and Huber's delta) times s scale the objective by s^2; beta stays
where the loss has the units of y, or none. Data: X times s takes beta times s, or s^2
for predictions that are quadratic in X; with normalisation none.
"""

from __future__ import annotations

import functools

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.arrangements import Patterns
from tests import instances

SCALES = (2.0**-40, 2.0**40)  # 1e-12 and 1e12; products with them are exact

LABELS = {  # of a loss: powers of s in beta and in the objective
    "squared": (1, 2),
    "huber": (1, 2),
    "interpolation": (0, 1),
    "pinball": (0, 1),
}


def labels_scaled(name, s):
    """The program of s y, and by what its objective is scaled."""
    program = instances.program_of(name)
    of_beta, of_objective = LABELS[loss_of(name)]
    loss = program.loss
    if loss.name == "huber":
        loss = loss.replace(delta=s * loss.delta)
    scaled = program.replace(y=s * program.y, beta=s**of_beta * program.beta, loss=loss)
    return scaled, s**of_objective


def data_scaled(name, s):
    """The program of s X, and by what its objective is scaled."""
    program, stem = instances.program_of(name), name.split("/")[0]
    y, beta, loss = np.asarray(program.y), float(program.beta), program.loss
    X = s * np.asarray(program.inputs)
    patterns = None
    if hasattr(program, "masks") and hasattr(program, "gates"):
        patterns = Patterns(
            masks=program.masks, gates=program.gates, scope=program.scope
        )
    by = s if loss.constraint is None else 1.0  # then the value is the penalty's alone
    match stem:
        case "two_layer":
            gated = program.cones is None
            make = functools.partial(cj.programs.make_two_layer, X, y, patterns)
            made = make(beta=by * beta, loss=loss, gated=gated)
        case "vector_output":
            gated = program.cones is None
            make = functools.partial(cj.programs.make_vector_output, X, y)
            made = make(beta=by * beta, loss=loss, gated=gated)
        case "convolutional":
            make = functools.partial(cj.programs.make_convolutional, X, y)
            made = make(beta=by * beta, kind=program.kind)
        case "batch_norm":
            options = {"centre": program.centre, "shift": program.shift}
            order = name.split("/")[1]
            make = functools.partial(cj.programs.make_batch_norm, X, y, order=order)
            made = make(beta=beta, **options)
        case "quantized":
            made = cj.programs.make_quantized(X, y, beta=s**2 * beta, loss=loss)
        case "polynomial":
            make = functools.partial(cj.programs.make_polynomial, X, y, loss=loss)
            made = make(beta=s**2 * beta, coefficients=program.coefficients)
        case _:
            raise ValueError(f"want how {stem} scales with its data")
    return made, 1.0 if loss.constraint is None else 1 / s


def loss_of(name):
    tags = [tag.removeprefix(instances.WEIGHTED) for tag in name.split("/")]
    known = (*instances.REAL_LABELS, *instances.SIGN_LABELS, "softmax")
    return next((tag for tag in tags if tag in known), "squared")


def homogeneous_in_data(name):
    return not name.startswith("polynomial") or name == "polynomial/quadratic"


PAIRS = [
    (name, labels_scaled) for name in instances.PROGRAMS if loss_of(name) in LABELS
]
PAIRS += [
    (name, data_scaled) for name in instances.PROGRAMS if homogeneous_in_data(name)
]


@functools.cache
def solved(name):
    program = instances.program_of(name)
    solution = cj.solve(program)
    return solution, cj.certify(program, solution)


def tolerance(solution):
    return 1e-4 if solution.params.dtype == jnp.float32 else 1e-8


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize(("name", "scaled"), PAIRS)
def test_other_units(name, scaled, scale):
    program, factor = scaled(name, scale)
    before, certified = solved(name)
    after = cj.solve(program)
    certificate = cj.certify(program, after)
    tol = tolerance(before)

    assert cj.Status(int(after.status)) is cj.Status(int(before.status))
    steps = int(before.iterations)
    assert abs(int(after.iterations) - steps) <= max(2, steps // 10)
    assert_allclose(after.gap, before.gap, rtol=0, atol=tol)
    assert_allclose(certificate.gap, certified.gap, rtol=0, atol=tol)
    assert certificate.scope is certified.scope
    assert_allclose(certificate.primal, factor * certified.primal, rtol=10 * tol)
    assert_allclose(certificate.dual, factor * certified.dual, rtol=10 * tol)
