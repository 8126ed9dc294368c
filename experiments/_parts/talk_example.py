"""The talk's three points, and the program with the constraints that it prints."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np

import cvxjax as cj
from cvxjax.forms.blocks import BlockProgram
from cvxjax.terms.cones import make_row_cones

POINTS = np.array([[2.0, 2.0], [3.0, 3.0], [1.0, 0.0]])
LABELS = np.array([-0.259, 1.056, -2.251])  # not in the talk; they show the effect


def active_rows_only(program: cj.programs.TwoLayerProgram) -> BlockProgram:
    """The same program with D_i X u >= 0 as the only constraints."""
    masks, X = np.asarray(program.masks), np.asarray(program.X)
    features = np.where(masks[..., None], X, 0)
    cones, kept = make_row_cones(features, np.asarray(program.gates))
    return BlockProgram(
        X=program.X,
        y=program.y,
        beta=program.beta,
        loss=program.loss,
        regulariser=program.regulariser,
        features=jnp.asarray(features[kept]),
        cones=cones,
        signs=program.signs,
        scope=program.scope,
    )
