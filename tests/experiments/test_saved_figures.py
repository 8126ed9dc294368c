"""What is committed in figures/data: its claims are those of the code, and it draws."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

import matplotlib.pyplot as plt
import pytest

from experiments._frame import launch, record, style

FOLDER = Path(record.ROOT) / "figures" / "data"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))


def saved(name):
    """The experiment, its arrays and its record; its data follow a hyphen."""
    module = name.partition("-")[0]
    arrays = record.read_arrays(FOLDER / f"{name}.npz")
    known = json.loads((FOLDER / f"{name}.json").read_text())
    return importlib.import_module(f"experiments.{module}"), arrays, known


@pytest.mark.parametrize("name", NAMES)
def test_claims_of_saved_arrays(name):
    module, arrays, known = saved(name)
    made = [
        {"claim": c.claim, "measured": c.measured, "verdict": c.verdict.value}
        for c in module.claims(arrays)
    ]
    assert made == known["claims"]


@pytest.mark.parametrize("name", NAMES)
def test_pictures_of_saved_arrays(name, tmp_path):
    module, arrays, known = saved(name)
    instead = getattr(module, "STAND_INS", {}).get(known["config"].get("data"))
    assert (instead is not None) == ("-" in name)
    with style.applied():
        figure = launch.draw(module, arrays, instead)
        figure.savefig(tmp_path / "figure.png", dpi=20)
        plt.close(figure)
    assert (tmp_path / "figure.png").stat().st_size > 1000
