"""Run twice at once by test_sharding.py: each process reads its own rows alone.

    python tests/in_two_processes.py FOLDER

reads rows_K.npz and writes answer_K.json, where K is the number of the process.
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path

os.environ["XLA_FLAGS"] = (
    "--xla_force_host_platform_device_count=1 --xla_backend_optimization_level=0 "
    "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"
)

import jax
import numpy as np
from jax.sharding import PartitionSpec

import cvxjax as cj
from cvxjax.arrangements.patterns import Patterns
from cvxjax.data.batches import Batches
from cvxjax.devices.processes import start_processes
from cvxjax.devices.sharding import gather, global_array, join, make_mesh, place

warnings.simplefilter("error")
jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")


objective = jax.jit(lambda program, w: program.objective(w))


def main(folder: Path) -> None:
    start_processes()
    start_processes()
    own = jax.process_index()
    with np.load(folder / f"rows_{own}.npz") as rows:
        X, y, gates = rows["X"], rows["y"], rows["gates"]
    masks = (X @ gates.T >= 0).T
    patterns = Patterns(masks=masks, gates=gates, scope=cj.Scope.SAMPLED)
    mine = cj.programs.make_two_layer(X, y, patterns, beta=2, gated=True)
    mesh = make_mesh(samples=2)
    joined = join(mine, mesh)
    whole = gather(joined)
    loaded = []
    with Batches(
        whole.X,
        whole.y,
        batch_size=4,
        seed=0,
        depth=1,
        prepare=lambda x: loaded.append(len(x)) or x,
        sharding=joined.y.sharding,
    ) as batches:
        labels = [gather(next(batches)[1]).tolist() for _ in range(4)]
    solution = cj.solve(joined, cj.solvers.Fista(tol=1e-9))
    solved = gather(solution).check()
    by_patterns = place(whole, make_mesh(samples=1))
    padded = np.pad(solved.params, ((0, 0), (0, 1), (0, 0)))
    answer = {
        "processes": jax.process_count(),
        "held": joined.X.addressable_data(0).tolist(),
        "params": solved.params.tolist(),
        "gap": cj.certify(whole, solved).gap,
        "by patterns": float(objective(by_patterns, padded)),
        "held patterns": len(by_patterns.masks.addressable_data(0)),
        "labels": labels,
        "loaded": sorted(set(loaded)),
        "numbers": gather(
            global_array(np.full(2, own), mesh, PartitionSpec("samples"))
        ).tolist(),
    }
    (folder / f"answer_{own}.json").write_text(json.dumps(answer))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
