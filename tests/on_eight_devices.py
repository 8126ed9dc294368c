"""Run by test_sharding.py: solves on meshes of eight emulated devices, prints JSON."""

from __future__ import annotations

import json
import os
import warnings

os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0 "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

import cvxjax as cj
from cvxjax.data.batches import Batches
from cvxjax.devices.communication import communicated_bytes
from cvxjax.devices.sharding import gather, make_mesh, place
from cvxjax.solvers.minibatches.minibatch import GateModel
from cvxjax.solvers.minibatches.spread import (
    compile_move,
    compile_sums,
    spread_iterate,
    spread_model,
)
from cvxjax.terms.regularisers import GroupNorm

TOL = 1e-10
RUNS = [
    ("gated", cj.solvers.Fista(tol=TOL), (None, (1, 8), (4, 2))),
    ("vector", cj.solvers.Fista(tol=TOL), ((4, 2),)),
    ("relu", cj.solvers.Admm(tol=TOL), ((2, 4),)),
]


def make_program(kind: str):
    """n = 16, which every mesh divides, and P = 13, which none does."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((16, 3)), rng.standard_normal(16)
    patterns = cj.arrangements.sample_patterns(jax.random.key(0), X, num=13)
    if kind == "vector":
        Y = rng.standard_normal((16, 2))
        return cj.programs.make_vector_output(X, Y, patterns, beta=2, gated=True)
    gated = kind == "gated"
    return cj.programs.make_two_layer(X, y, patterns, beta=1, gated=gated)


def solve(kind, solver, shape):
    program = plain = make_program(kind)
    if shape is not None:
        program = place(program, make_mesh(*shape))
    solution = cj.solve(program, solver).check()
    whole = gather(solution)
    P = len(plain.masks)
    multipliers = whole.multipliers
    if multipliers is not None:
        multipliers = multipliers[:, :P]
    short = whole.replace(params=whole.params[:, :P], multipliers=multipliers)
    placed, original = cj.certify(gather(program), whole), cj.certify(plain, short)
    parts = {shard.index[1].start for shard in solution.params.addressable_shards}
    return {
        "kind": kind,
        "mesh": shape,
        "parts": len(parts),
        "patterns": whole.params.shape[1],
        "added": float(np.abs(whole.params[:, P:]).sum()),
        "primal": original.primal,
        "gaps": [placed.gap, original.gap],
        "violation": original.cone_violation,
        "iterations": int(whole.iterations),
    }


def sent_bytes():
    """What predictions send over patterns, and gradients over samples."""
    program = make_program("gated")
    by_patterns, by_rows = (place(program, make_mesh(k)) for k in (1, 8))
    w = jnp.zeros(by_patterns.shape)
    forward = jax.jit(lambda program, w: program.forward(w)).lower(by_patterns, w)
    adjoint = jax.jit(lambda program: program.adjoint(program.y)).lower(by_rows)
    return [communicated_bytes(x.compile()) for x in (forward, adjoint)]


def steps(mesh_shape, each):
    """Five minibatch steps, what one sends, and what 16 rows then say.

    Args:
      mesh_shape: (samples, patterns).
      each: patterns for each device along `patterns`; 0: 8 in all.
    """
    samples, parts = mesh_shape
    mesh = make_mesh(*mesh_shape, jax.devices()[: samples * parts])
    rng = np.random.default_rng(0)
    X, Y = rng.standard_normal((16, 3)), np.eye(2)[rng.integers(0, 2, 16)]
    gates = rng.standard_normal((8, 3))
    gates = np.tile(gates[:each], (parts, 1)) if each else gates
    model = GateModel(
        gates=jnp.asarray(gates),
        beta=0.1,
        loss=cj.losses.squared(),
        regulariser=GroupNorm(),
        cone_weight=0.1,
        num_samples=16,
    )
    solver = cj.solvers.Stochastic()
    model = spread_model(model, mesh)
    iterate = spread_iterate(solver, (2, len(gates), 2, 3), X.dtype, mesh)
    move = compile_move(solver, model, iterate, mesh)
    sent = communicated_bytes(move.lower(model, iterate, X, Y, 0.1).compile())
    for _ in range(5):
        iterate, _ = move(model, iterate, X, Y, 0.1)
    sums, penalty = compile_sums(model, mesh)(model, iterate.w, X, Y)
    return {
        "mesh": mesh_shape,
        "sent": sent,
        "w": gather(iterate.w).ravel().tolist(),
        "sums": [float(x) for x in (*sums, penalty)],
        "shard": list(iterate.w.addressable_shards[0].data.shape),
    }


def batches():
    """Rows that are loaded, and where they lie, on a mesh of two by four."""
    loaded = []
    sharding = NamedSharding(make_mesh(samples=2), PartitionSpec("samples"))
    rows = np.arange(8.0)
    with Batches(
        rows[:, None],
        rows,
        batch_size=4,
        seed=0,
        depth=1,
        prepare=lambda x: loaded.append(len(x)) or x,
        sharding=sharding,
    ) as ahead:
        x, y = next(ahead)
    shards = [shard.data.tolist() for shard in y.addressable_shards]
    return {"loaded": loaded[:2], "shards": shards, "x": x[:, 0].tolist()}


if __name__ == "__main__":
    warnings.simplefilter("error")
    jax.config.update("jax_enable_x64", True)
    jax.config.update("jax_numpy_rank_promotion", "raise")
    runs = [solve(kind, solver, mesh) for kind, solver, most in RUNS for mesh in most]
    whole = place(make_program("gated"), make_mesh(1, 3, jax.devices()[:3]))
    uneven = place(make_program("gated"), make_mesh(3, 1, jax.devices()[:3]))
    print(
        json.dumps(
            {
                "runs": runs,
                "sent": sent_bytes(),
                "steps": [steps(shape, 0) for shape in ((1, 1), (2, 4), (4, 2))],
                "weak": [steps((1, parts), 2) for parts in (1, 8)],
                "batches": batches(),
                "specs": [list(x.sharding.spec) for x in (whole.masks, uneven.X)],
            }
        )
    )
