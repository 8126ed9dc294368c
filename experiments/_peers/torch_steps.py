"""Steps of SGD on the convex program in PyTorch: the published formulation, and ours.

    python -m experiments._peers.torch_steps GIVEN.npz TAKEN.npz

Minimises, by autograd and torch.optim.SGD with momentum, batch by batch,

    (1/b) (1/2 ||sum_i D_i X (V_i - W_i) - Y||^2 + beta sum (||v_ik|| + ||w_ik||)
           + rho sum_{i,j} [(-(2 D_ij - 1) x_j^T sum_k v_ik)_+ + the same of w]).

"published" keeps weights [P, d, c] and multiplies every pattern's block with the batch,
as the authors' script does; "one product" keeps [P, c, d] and multiplies all of them at
once, as cvxjax does. Imports NumPy and torch only.

Source: the script of the stochastic experiments of Pilanci & Ergen (ICML 2020).
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import torch  # pyright: ignore[reportMissingImports]


def main() -> None:
    """Reads arrays and settings, takes the steps, writes weights and seconds."""
    with np.load(sys.argv[1], allow_pickle=False) as stored:
        given = {name: stored[name] for name in stored.files}
    torch.set_num_threads(int(given["threads"]))
    published = bool(given["published"])
    gates = torch.from_numpy(given["gates"])
    P, d = gates.shape
    c = given["Y"].shape[2]
    shape = (P, d, c) if published else (P, c, d)
    v, w = (torch.zeros(shape, requires_grad=True) for _ in range(2))
    optimizer = torch.optim.SGD(
        [v, w], lr=float(given["rate"]), momentum=float(given["momentum"])
    )
    beta, rho = float(given["beta"]), float(given["rho"])
    seconds = []
    batches = [torch.from_numpy(given[name]) for name in ("X", "Y")]
    for x, y in zip(*batches, strict=True):
        start = time.perf_counter()
        optimizer.zero_grad()
        masks = (x @ gates.T >= 0).float()  # [b, P]
        objective = _published if published else _one_product
        objective(v, w, x, y, masks, beta, rho).backward()
        optimizer.step()
        seconds.append(time.perf_counter() - start)
    weights = np.stack([part.detach().numpy() for part in (v, w)])
    weights = np.swapaxes(weights, 2, 3) if published else weights
    np.savez(
        Path(sys.argv[2]),
        weights=weights,
        seconds=seconds,
        peak=_peak(d),
        version=torch.__version__,
    )


def _published(v, w, x, y, masks, beta, rho):
    """The estimate above for weights [P, d, c]."""
    active = masks.T[:, :, None]  # [P, b, 1]
    fit = torch.sum(active * torch.matmul(x, v - w), dim=0)
    total = 0.5 * torch.sum((fit - y) ** 2)
    total = total + beta * (v.norm(dim=1).sum() + w.norm(dim=1).sum())
    for part in (v, w):
        z = torch.matmul(x, part.sum(dim=2, keepdim=True))
        total = total + rho * torch.relu(z - 2 * active * z).sum()
    return total / len(x)


def _one_product(v, w, x, y, masks, beta, rho):
    """The same for weights [P, c, d]."""
    P, c, d = v.shape
    active = masks.T[:, None]  # [P, 1, b]
    z = ((v - w).reshape(P * c, d) @ x.T).reshape(P, c, len(x))
    fit = torch.sum(active * z, dim=0).T
    total = 0.5 * torch.sum((fit - y) ** 2)
    total = total + beta * (v.norm(dim=2).sum() + w.norm(dim=2).sum())
    for part in (v, w):
        z = part.sum(dim=1) @ x.T
        total = total + rho * torch.relu(z - 2 * masks.T * z).sum()
    return total / len(x)


def _peak(order: int) -> float:
    """FLOP/s of a square product in torch, the best of four."""
    a = torch.randn(order, order)
    best = np.inf
    for _ in range(4):
        start = time.perf_counter()
        torch.matmul(a, a)
        best = min(best, time.perf_counter() - start)
    return 2 * order**3 / best


if __name__ == "__main__":
    main()
