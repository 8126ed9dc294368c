"""Douglas-Rachford splitting over pairs of PSD matrices whose difference predicts.

    minimise  L(f) + beta <C, Z+ + Z->,  f = A (Z+ - Z-),
    <E_j, Z+ + Z-> = 0,  <N_k, Z+ - Z-> = 0,  Z+, Z- >= 0.

One step projects on the cones, by a batch of small eigendecompositions, the other
solves the rest exactly: the sum of both matrices is shifted along C, and their
difference D solves (A* A + rho/2 I) D = A* y + rho/2 D' for the squared loss, by one
product with an inverse of the size of D, whatever the number of samples; other losses
split f and take their own proximal step. Anderson acceleration on top.

It takes every loss, float32 and GPUs. `SemidefiniteInteriorPoint` is faster for the
losses and sizes that it takes, in float64.

Source: Eckstein & Bertsekas (1992) for the splitting; Wen, Goldfarb & Yin (2010) and
O'Donoghue, Chu, Parikh & Boyd (2016) for its use on semidefinite programs.
"""

from __future__ import annotations

from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from cvxjax.algebra import linalg
from cvxjax.algebra.symmetric import along, positive_part, smat, svec
from cvxjax.forms.contracts import Pairs
from cvxjax.record import Record, static
from cvxjax.solvers.pairs.nearby_matrices import (
    dual_slacks,
    feasible_dual,
    ridge_fit,
    size_refusal,
)
from cvxjax.solvers.progress import Progress
from cvxjax.solvers.refusals import Takes
from cvxjax.solvers.splitting import (
    Acceleration,
    Splitting,
    balance_factor,
    balancing_is_due,
    over,
)
from cvxjax.solvers.starts import Start

Array = jax.Array

_MAX_NUMBERS = 6_000  # svec of all windows: the size of the linear system


class SemidefiniteState(Record):
    """The point that both steps reflect, and the matrices of the second step."""

    P: Array  # [2, B, q, q]; its positive part is feasible but for the equations
    p: Any  # as y; its proximal point are the predictions; None if L is quadratic
    rho: Array  # [], penalty of Z = Z'
    rho_z: Array  # [], penalty of f = A (Z+ - Z-)
    gram: Array  # [N, N], between svecs of differences that meet the equations
    inverse: Array  # [N, N], (rho_z gram + rho / 2 I)^{-1}
    acceleration: Acceleration | None
    progress: Progress


class Semidefinite(Splitting):
    """Over-relaxed splitting with balanced penalties; stops on the duality gap.

    Args:
      tol: relative duality gap; default 1e-8 in float64, 1e-4 in float32.
      max_iters: static.
      check_every: steps between gap evaluations, static.
      rho: first penalty, in units of beta over the size of a ridge fit.
      relaxation: in [1, 2).
      memory: of Anderson acceleration, static; 0: none.
      cycle: steps between two accelerations, static.
    """

    memory: int = static(default=5)
    cycle: int = static(default=50)
    takes: ClassVar[Takes] = Takes(form=Pairs)

    def limits(self, program: Any) -> str | None:
        return size_refusal(program, _MAX_NUMBERS)

    def init(self, program: Any, w: Array) -> SemidefiniteState:
        gram = program.gram(jnp.ones(len(program.X), w.dtype))
        gram = self._free(program, self._free(program, gram).T)
        fit, _ = ridge_fit(program, gram)
        size = jnp.sqrt(jnp.sum(fit**2) / len(fit))
        unit = program.beta / jnp.where(size > 0, size, 1)
        quadratic = program.loss.quadratic
        rho = jnp.asarray(self.rho, w.dtype) * unit
        one = jnp.asarray(1.0, w.dtype)
        state = SemidefiniteState(
            P=w,
            p=None if quadratic else program.forward(w),
            rho=rho,
            rho_z=one,
            gram=gram,
            inverse=_inverse(gram, one, rho),
            acceleration=None,
            progress=Progress.start(self, program, w),
        )
        return self._restarted(program, state)

    def adopt(
        self, program: Any, state: SemidefiniteState, start: Start
    ) -> SemidefiniteState:
        """Uses the dual of a similar program's solution, and penalties by its sizes."""
        if start.dual is None:
            return state
        w, v = start.params, feasible_dual(program, start.dual)
        S, _, _ = dual_slacks(program, w, v)
        size = lambda x: jnp.sqrt(jnp.sum(x**2))  # noqa: E731
        ratio = lambda a, b, c: jnp.where((a > 0) & (b > 0), over(a, b), c)  # noqa: E731
        rho = ratio(size(S), size(w), state.rho)
        state = state.replace(rho=rho, P=w - S / rho)
        if state.p is not None:
            f = program.forward(w)
            rho_z = ratio(size(v), size(f), state.rho_z)
            state = state.replace(rho_z=rho_z, p=f - v / rho_z)
        inverse = _inverse(state.gram, state.rho_z, state.rho)
        return self._restarted(program, state.replace(inverse=inverse))

    def _plain_step(self, program: Any, state: SemidefiniteState) -> SemidefiniteState:
        return self._half_steps(program, state)[0]

    def _half_steps(
        self, program: Any, state: SemidefiniteState
    ) -> tuple[SemidefiniteState, Array, Array]:
        """The next state, Z+ - Z- of the linear step [c, N], Z of the first one."""
        Z = positive_part(state.P)
        mirror, z = 2 * Z - state.P, None
        cost = jnp.asarray(program.regulariser.cost(program.order), Z.dtype)
        total = mirror[0] + mirror[1]
        total = total - along(2 * program.beta / state.rho * cost, total)
        total = self._untied(total, program.regulariser.ties(program.order)[0])
        apart = self._flat(program, mirror[0] - mirror[1])
        target = program.y
        if state.p is not None:
            z = program.loss.prox(state.p, program.y, 1 / state.rho_z)
            target = 2 * z - state.p
        right = state.rho_z * program.pull(target) + state.rho / 2 * apart
        right = self._free(program, right.T)
        difference = linalg.dot(state.inverse, right).T
        apart = smat(difference.reshape(program.shape[1], -1))
        linear = jnp.stack([total + apart, total - apart]) / 2
        a = self.relaxation
        after = state.replace(P=state.P + a * (linear - Z))
        if z is not None:
            after = after.replace(p=state.p + a * (program.fit(difference) - z))
        return after, difference, Z

    def check(self, program: Any, state: SemidefiniteState) -> SemidefiniteState:
        loss, y = program.loss, program.y
        after, difference, Z = self._half_steps(program, state)
        candidates = []
        if loss.smoothness is not None:
            candidates.append(-loss.gradient(program.fit(difference), y))
        if state.p is not None:
            z = loss.prox(state.p, y, 1 / state.rho_z)
            candidates.append(-state.rho_z * (state.p - z))
        progress = state.progress.update(
            self,
            program,
            program.regulariser.inside(Z),
            candidates,
            None,
            finite_of=after.P,  # a NaN in state.P, Anderson may have taken back
        )
        state = state.replace(progress=progress)
        due = balancing_is_due(progress.iteration // self.check_every)
        return self._balanced_if(due, program, state)

    def _balance(self, program: Any, state: SemidefiniteState) -> SemidefiniteState:
        """Multiplies each penalty by the root of its relative residuals' ratio."""
        after, difference, Z = self._half_steps(program, state)
        linear = (after.P - state.P) / self.relaxation + Z
        new = positive_part(after.P)
        size = lambda x: jnp.sqrt(jnp.sum(x**2))  # noqa: E731
        primal = over(size(linear - Z), jnp.maximum(size(linear), size(Z)))
        dual = over(size(new - Z), size(after.P - new))
        factor = balance_factor(primal, dual)
        state = state.replace(rho=state.rho * factor, P=Z + (state.P - Z) / factor)
        if state.p is not None:
            rho_z, loss = state.rho_z, program.loss
            prox = lambda p: loss.prox(p, program.y, 1 / rho_z)  # noqa: E731
            fit, z, ahead = program.fit(difference), prox(state.p), prox(after.p)
            primal = over(size(fit - z), jnp.maximum(size(fit), size(z)))
            dual = over(size(ahead - z), size(after.p - ahead))
            factor = balance_factor(primal, dual)
            state = state.replace(
                rho_z=state.rho_z * factor, p=z + (state.p - z) / factor
            )
        return state.replace(inverse=_inverse(state.gram, state.rho_z, state.rho))

    def _pack(self, program: Any, state: SemidefiniteState) -> Array:
        """P and p, which determine the state, in the metric of the splitting."""
        parts = [state.P.ravel()]
        if state.p is not None:
            parts.append(jnp.sqrt(state.rho_z / state.rho) * state.p.ravel())
        return jnp.concatenate(parts)

    def _unpack(
        self, program: Any, state: SemidefiniteState, point: Array
    ) -> SemidefiniteState:
        size = state.P.size
        state = state.replace(P=point[:size].reshape(state.P.shape))
        if state.p is None:
            return state
        p = point[size:] / jnp.sqrt(state.rho_z / state.rho)
        return state.replace(p=p.reshape(state.p.shape))

    def _flat(self, program: Any, blocks: Array) -> Array:
        """`svec` of [B, q, q] by output, [c, N]."""
        return svec(blocks).reshape(program.outputs, -1)

    def _untied(self, blocks: Array, ties: Any) -> Array:
        """Blocks [B, q, q] projected on <E_j, .> = 0."""
        ties = jnp.asarray(ties, blocks.dtype)
        sizes = jnp.einsum("bij,kij->bk", blocks, ties, precision="highest")
        return blocks - jnp.einsum("bk,kij->bij", sizes, ties, precision="highest")

    def _free(self, program: Any, columns: Array) -> Array:
        """Columns [N, m] of svecs of differences, projected on their equations."""
        ties = svec(jnp.asarray(program.regulariser.ties(program.order)[1]))
        ties = ties.astype(columns.dtype)
        parts = columns.reshape(program.windows, -1, columns.shape[1])
        sizes = jnp.einsum("kd,wdm->wkm", ties, parts, precision="highest")
        parts = parts - jnp.einsum("kd,wkm->wdm", ties, sizes, precision="highest")
        return parts.reshape(columns.shape)


def _inverse(gram: Array, rho_z: Array, rho: Array) -> Array:
    """(rho_z gram + rho / 2 I)^{-1}."""
    eye = jnp.eye(len(gram), dtype=gram.dtype)
    factor = jnp.linalg.cholesky(rho_z * gram + rho / 2 * eye)
    return jax.scipy.linalg.cho_solve((factor, True), eye)
