"""What devices send each other, of programs that were compiled and of given text."""

from __future__ import annotations

import os
import subprocess
import sys
import types

from cvxjax.devices.communication import communicated_bytes

SCRIPT = """
import os
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=4"
import jax, jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec as P
from cvxjax.devices.communication import communicated_bytes

mesh = jax.make_mesh((4,), ("i",), axis_types=(jax.sharding.AxisType.Auto,))

def body(x):  # [2, 4] on each device, of float32
    total = lax.psum(x, "i")
    def again(_, s):
        return lax.psum(jnp.sin(s), "i")
    first = lax.fori_loop(0, 5, again, x[0])
    every = lax.all_gather(x, "i")
    turned = lax.ppermute(x[:1], "i", [(k, (k + 1) % 4) for k in range(4)])
    return total.sum() + first.sum() + every.sum() + turned

f = jax.shard_map(body, mesh=mesh, in_specs=P("i"), out_specs=P("i"), check_vma=False)
compiled = jax.jit(f).lower(jnp.ones((8, 4), jnp.float32)).compile()
sent = communicated_bytes(compiled)
assert sent == {
    "all-reduce": 4 * 8 + 4 * 4, "all-gather": 4 * 32, "collective-permute": 4 * 4
}, sent
alone = jax.jit(jnp.sin).lower(jnp.ones(3)).compile()
assert communicated_bytes(alone) == {}
"""


def test_of_a_compiled_program():
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT],
        env=os.environ | {"JAX_PLATFORMS": "cpu", "JAX_ENABLE_X64": "0"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr


TEXT = """
HloModule jit_f, entry_computation_layout={(f32[8,128]{1,0:T(8,128)})->f32[8,128]{1,0}}

%body (p: (s32[], f32[8])) -> (s32[], f32[8]) {
  %all-reduce.7 = f32[8]{0} all-reduce(%x), replica_groups={{0,1}}, to_apply=%add
}

%async_computation (q: f64[16]) -> f64[4] {
  ROOT %reduce-scatter.1 = f64[4]{0} reduce-scatter(%q), dimensions={0}
}

ENTRY %main (p0: f32[8,128]) -> f32[8,128] {
  %all-reduce-start.2 = f32[3]{0} all-reduce-start(%y), to_apply=%add
  %all-reduce-done.2 = f32[3]{0} all-reduce-done(%all-reduce-start.2)
  %ag-start = (bf16[1,4]{1,0:T(8,128)}, bf16[8,4]{1,0}) all-gather-start(%a)
  %ag-done = bf16[8,4]{1,0} all-gather-done(%ag-start)
  %many = ((f32[2]{0}, pred[3]{0}), (f32[4]{0}, pred[6]{0})) all-gather-start(%b, %c)
  %cp = (c64[5]{0}, c64[5]{0}, u32[]{:S(2)}, u32[]) collective-permute-start(%d)
  %both = (s8[7]{0}, /*index=1*/f32[]) all-to-all(%e, %f), op_name="all-to-all("
  %rs = ((f64[16]{0}), f64[4]{0}, u32[]) async-start(%q), calls=%async_computation
  ROOT %out = f32[8,128]{1,0} fusion(%all-reduce.7), kind=kLoop, calls=%all-reduce-like
}
"""


def test_of_text_with_starts_tuples_and_a_loop():
    compiled = types.SimpleNamespace(as_text=lambda: TEXT)
    assert communicated_bytes(compiled) == {
        "all-reduce": 32 + 12,
        "all-gather": 64 + 16 + 6,
        "collective-permute": 40,
        "all-to-all": 7 + 4,
        "reduce-scatter": 32,
    }
