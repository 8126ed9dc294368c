"""A family whose parameters are a tree of arrays, and sequences of programs.

The family: gated ReLU neurons beside a linear part, both by their own weights,

    minimise  L(X a + sum_i D_i X w_i, y) + beta (||a|| + sum_i ||w_i||).
"""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import cvxpy as cp
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from numpy.testing import assert_allclose

import cvxjax as cj
from cvxjax.forms.objective import RegularisedProgram
from cvxjax.judges.judge import GaugeJudge
from cvxjax.record import Record
from cvxjax.stages import solve_stages
from cvxjax.terms.regularisers import GroupNorm, group_norms
from tests import instances


class SumOfNorms(Record):
    """||a|| + sum_i ||w_i||."""

    norm: ClassVar[str] = "sum of norms"
    degree: ClassVar[int] = 1

    def norms(self, w: Any) -> jax.Array:
        return jnp.append(group_norms(w["gated"]), group_norms(w["skip"]))

    def dual_norms(self, q: Any) -> jax.Array:
        return self.norms(q)

    def prox(self, w: Any, threshold: Any) -> Any:
        return jax.tree.map(lambda x: GroupNorm().prox(x, threshold), w)


class SkipNetwork(nn.Module):
    """f(X) = X a + sum_i 1[X g_i > 0] X w_i."""

    gates: Any  # [P, d]

    @nn.compact
    def __call__(self, X: jax.Array) -> jax.Array:
        zeros, (P, d) = nn.initializers.zeros, self.gates.shape
        a = self.param("skip", zeros, (d,), X.dtype)
        w = self.param("gated", zeros, (P, d), X.dtype)
        return X @ a + jnp.sum((X @ self.gates.T > 0) * (X @ w.T), axis=1)


@dataclasses.dataclass(frozen=True)
class SkipJudge(GaugeJudge):
    """The program in NumPy."""

    X: np.ndarray
    masks: np.ndarray

    @property
    def reach(self) -> np.ndarray:
        return np.linalg.norm(self.X, axis=1)

    @property
    def terms(self) -> int:
        return 2 * self.X.size

    def predict(self, params: Any) -> np.ndarray:
        gated = np.where(self.masks, params["gated"] @ self.X.T, 0)
        return self.X @ params["skip"] + gated.sum(axis=0)

    def penalty(self, params: Any) -> float:
        sizes = np.linalg.norm(params["gated"], axis=1)
        return float(np.linalg.norm(params["skip"]) + sizes.sum())

    def polar_bound(self, v: np.ndarray, multipliers: Any) -> float:
        pulled = np.vstack([v, np.where(self.masks, v, 0)]) @ self.X
        return float(np.linalg.norm(pulled, axis=1).max()) + self.hidden(v)


class SkipProgram(RegularisedProgram):
    """The program above; parameters are {"skip": [d], "gated": [P, d]}."""

    masks: jax.Array
    gates: jax.Array

    def zeros(self) -> Any:
        like = jnp.zeros_like(self.gates)
        return {"skip": like[0], "gated": like}

    @property
    def block_size(self) -> int:
        return self.X.shape[1]

    @property
    def has_units(self) -> bool:
        return True

    def in_data_units(self, unit: float) -> Any:
        return self.replace(X=self.X / unit, scope=self.scope)

    def forward(self, w: Any) -> jax.Array:
        gated = jnp.where(self.masks, w["gated"] @ self.X.T, 0)
        return self.X @ w["skip"] + jnp.sum(gated, axis=0)

    def adjoint(self, r: jax.Array) -> Any:
        gated = jnp.where(self.masks, r[None], 0) @ self.X
        return {"skip": self.X.T @ r, "gated": gated}

    def judge(self) -> SkipJudge:
        return SkipJudge(np.asarray(self.X, np.float64), np.asarray(self.masks))

    def network(self) -> SkipNetwork:
        return SkipNetwork(self.gates)

    def recover(self, w: Any) -> Any:
        return {"params": self.checked(w)}


def make_skip(X: Any, y: Any, *, beta: float, loss: str = "squared", dtype=None) -> Any:
    X, y = jnp.asarray(X, dtype), jnp.asarray(y, dtype)
    gates = jax.random.normal(jax.random.key(0), (5, X.shape[1]), X.dtype)
    return SkipProgram(
        X=X,
        y=y,
        beta=jnp.asarray(beta, X.dtype),
        loss=getattr(cj.losses, loss)(),
        regulariser=SumOfNorms(),
        cones=None,
        scope=cj.Scope.SAMPLED,
        masks=gates @ X.T > 0,
        gates=gates,
    )


def data():
    rng = np.random.default_rng(3)
    X = rng.standard_normal((12, 3))
    return X, np.maximum(X[:, 0], 0) - 0.5 * X[:, 1] + 0.1 * rng.standard_normal(12)


def optimum(program):
    X, masks = np.asarray(program.X, float), np.asarray(program.masks)
    parts = [X, *(np.where(mask[:, None], X, 0) for mask in masks)]
    blocks = [cp.Variable(X.shape[1]) for _ in parts]
    fit = sum(part @ block for part, block in zip(parts, blocks, strict=True))
    loss = cp.sum_squares(fit - np.asarray(program.y)) / 2
    norms = sum(cp.norm(block) for block in blocks)
    objective = loss + float(program.beta) * norms
    return cp.Problem(cp.Minimize(objective)).solve(solver=cp.CLARABEL)


def test_solved_certified_and_recovered():
    program = make_skip(*data(), beta=0.3)
    solution = cj.solve(program).check()
    assert set(solution.params) == {"skip", "gated"}
    certificate = cj.certify(program, solution)
    assert -1e-14 <= certificate.gap <= 2e-8
    assert_allclose(certificate.primal, optimum(program), rtol=1e-6)
    network = program.network().apply(program.recover(solution.params), program.X)
    assert_allclose(network, program.forward(solution.params), atol=1e-12)
    assert cj.solve(program, start=solution).check().iterations <= solution.iterations


@pytest.mark.parametrize("loss", ["huber", "squared_hinge"])
def test_other_losses(loss):
    X, y = data()
    program = make_skip(X, np.sign(y), beta=0.2, loss=loss)
    assert cj.certify(program, cj.solve(program).check()).gap <= 2e-8


def test_units_paths_limits_and_float32():
    program = make_skip(*data(), beta=0.3)
    path = cj.solve_path(program, program.beta_max() * np.array([1.0, 0.3]))
    assert not any(np.any(x) for x in jax.tree.leaves(path[0].params))
    assert all(solution.check() for solution in path)
    scaled = program.replace(y=1e-6 * program.y, beta=1e-6 * program.beta)
    for x, x_scaled in zip(
        jax.tree.leaves(cj.solve(program).params),
        jax.tree.leaves(cj.solve(scaled).check().params),
        strict=True,
    ):
        assert_allclose(x_scaled, 1e-6 * x, atol=1e-14)
    assert cj.solve(program, time_limit=0).status == cj.Status.TIME_LIMIT
    narrow = make_skip(*data(), beta=0.3, dtype=jnp.float32)
    solution = cj.solve(narrow).check()
    assert solution.dtype == np.float32
    assert cj.certify(narrow, solution).gap <= 2e-4


def test_what_does_not_fit_is_named():
    program = make_skip(*data(), beta=0.3)
    for name, case in instances.SOLVERS.items():
        if name != "Fista":
            with pytest.raises(ValueError, match="its parameters are not|it takes"):
                cj.solve(program, case.solver)
    with pytest.raises(ValueError, match=r"want start \{'gated': \[5, 3\], 'skip': "):
        cj.solve(program, start={"skip": np.zeros(3), "gated": np.zeros((4, 3))})
    other = make_skip(data()[0][:, :2], data()[1], beta=0.3)
    with pytest.raises(ValueError, match="want params"):
        cj.certify(program, cj.solve(other))


def test_a_sequence_of_programs_has_a_certificate_each():
    """What the first network misses is what the second is to fit, and so on."""
    X, y = data()
    whole = make_skip(X, y, beta=0.5)

    def left_over(solved):
        fit = sum(s.program.forward(s.solution.params) for s in solved)
        return whole.replace(y=whole.y - fit)

    solved = solve_stages([left_over] * 3, tol=1e-9)
    assert len(solved) == 3
    for stage in solved:
        assert stage.certificate.gap <= 2e-9
        assert_allclose(stage.certificate.primal, optimum(stage.program), rtol=1e-6)
    assert not np.allclose(solved[0].program.y, solved[1].program.y)


def test_a_sequence_ends_with_the_stage_that_was_stopped():
    whole = make_skip(*data(), beta=0.5)
    lines = []
    solved = solve_stages(
        [lambda _: whole] * 3, time_limit=0, report=lambda k, s: lines.append((k, s))
    )
    assert [s.solution.status for s in solved] == [cj.Status.TIME_LIMIT]
    assert lines == [(0, solved[0])]
    with pytest.raises(ValueError, match="want stages, one at least"):
        solve_stages([])
