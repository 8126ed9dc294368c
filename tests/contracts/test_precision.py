"""Float32 in, float32 out, at its own default tolerance; and with x64 switched off."""

import os
import subprocess
import sys

import numpy as np
import pytest

import cvxjax as cj
from tests import instances

NAMES = [
    ("two_layer/squared", "Admm"),
    ("two_layer/hinge", "Admm"),
    ("two_layer/interpolation", "Admm"),
    ("two_layer/gated/squared", "Fista"),
]


@pytest.mark.parametrize("name, solver", NAMES)
def test_float32(name, solver):
    program = instances.PROGRAMS[name](dtype=np.float32)
    optimum = instances.reference_of(name).optimum(program)
    # Where the loss is a constraint, rounding may end just above the default, or not,
    # by the processor.
    tol = 1e-4 if program.loss.constraint is None else 3e-4
    chosen = getattr(cj.solvers, solver)()
    solution = cj.solve(program, chosen if tol == 1e-4 else chosen.replace(tol=tol))
    assert solution.status == cj.Status.CONVERGED
    for leaf in (solution.params, solution.dual, solution.objective, solution.gap):
        assert leaf.dtype == np.float32
    variables = program.recover(solution.params)
    assert variables["params"]["first"]["kernel"].dtype == np.float32
    assert solution.gap <= tol

    certificate = cj.certify(program, solution)
    assert type(certificate.primal) is type(certificate.dual) is float
    assert certificate.gap <= tol
    assert certificate.cone_violation <= 1e-6
    keep = program.loss.constraint is not None
    params = np.asarray(solution.params, np.float64)
    fixed = program.judge().repair(params, keep_predictions=keep)
    assert instances.reference_of(name).violation(program, fixed) <= 1e-15
    assert certificate.dual <= optimum + 1e-8
    assert certificate.primal >= optimum - 1e-8


SCRIPT = """
import jax, numpy as np
import cvxjax as cj

assert not jax.config.jax_enable_x64
rng = np.random.default_rng(0)
X, y = rng.standard_normal((8, 2)), rng.standard_normal(8)
patterns = cj.arrangements.enumerate_patterns(X)
assert patterns.masks.shape == (16, 8)
program = cj.programs.make_two_layer(X, y, patterns, beta=0.1)
solution = cj.solve(program).check()
assert solution.params.dtype == solution.gap.dtype == np.float32
certificate = cj.certify(program, solution)
assert certificate.gap <= 1e-4, certificate
network = program.network()
z = network.apply(program.recover(solution.params), program.X)
assert z.dtype == np.float32
np.testing.assert_allclose(z, program.forward(solution.params), atol=1e-5)
print(repr(certificate.primal))
"""


def test_with_x64_off():
    environment = os.environ | {"JAX_ENABLE_X64": "0"}
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stderr
    optimum = instances.optimum_of("two_layer/squared")
    assert abs(float(result.stdout) - optimum) <= 1e-4 * optimum
