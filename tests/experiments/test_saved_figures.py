"""What is committed in figures/data: its claims are those of the code, and it draws."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from experiments._frame import record, style

FOLDER = Path(record.ROOT) / "figures" / "data"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


@pytest.mark.parametrize("name", NAMES)
def test_claims_and_pictures_of_saved_arrays(name, tmp_path):
    module = importlib.import_module(f"experiments.{name}")
    arrays = record.read_arrays(FOLDER / f"{name}.npz")
    saved = json.loads((FOLDER / f"{name}.json").read_text())["claims"]
    made = [
        {"claim": c.claim, "measured": c.measured, "verdict": c.verdict.value}
        for c in module.claims(arrays)
    ]
    assert made == saved
    with style.applied():
        figure = module.plot(arrays)
        figure.savefig(tmp_path / "figure.png", dpi=20)
        plt.close(figure)
    assert (tmp_path / "figure.png").stat().st_size > 1000
