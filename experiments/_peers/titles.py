"""What the problems of the benchmark are, in words: their names are keys of files."""

from __future__ import annotations

import numpy as np

from experiments._peers.scores import Rows

SUITES = {
    "problem1": "planted network",
    "gated": "planted network",
    "grid": "planted networks of several sizes",
    "uci": "UCI tables",
    "tiny": "tiny networks",
}
"""What the problems of a suite are."""


def title(arrays: Rows, case: int) -> str:
    """A problem's network, n, d, number of patterns, and beta.

    Problems of the suites grid and uci have beta as a share of the one from which on
    zero is optimal, which ends their names; others have it in the name, or it is 1.
    """
    name, suite = str(arrays["cases"][case]), str(arrays["suites"][case])
    n, d, num_patterns = (int(number) for number in arrays["sizes"][case])
    kind = "gated ReLU" if suite == "gated" or name.endswith("-gated") else "ReLU"
    size = f"n = {n}, d = {d}, {num_patterns} patterns"
    head, _, last = name.rpartition("-")
    if suite == "grid" and head:
        return f"{kind}, {size}, beta = {last} of the largest"
    if suite == "uci" and head:
        return f"{kind}, table {head}, {size}, beta = {last} of the largest"
    if suite == "tiny":
        return f"{kind}, {size}"
    beta = name.rpartition("beta=")[2] if "beta=" in name else "1"
    return f"{kind}, {size}, beta = {beta}"


def suite_title(arrays: Rows, suite: str) -> str:
    """How many problems a suite has, and of what."""
    return f"{np.sum(arrays['suites'] == suite)} problems of {SUITES[suite]}"
