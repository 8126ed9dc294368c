"""A tiny experiment, as a file of its own, and what a run of it writes."""

from pathlib import Path

SOURCE = '''"""A line falls.

More about the line.
"""

import dataclasses
from typing import Literal

import numpy as np

from experiments._frame import launch, style
from experiments._frame.record import Claim, Verdict, resumable

MINUTES = 0.5
calls = []


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    num: how many points
    """

    num: int = 5
    beta: float = 1e-3  # weight decay
    widths: tuple[int, ...] = (1, 2)
    rates: tuple[float, ...] = (0.1,)
    label: str = "a # b"
    data: str | None = None
    gated: bool = False
    kind: Literal["relu", "gelu"] = "relu"
    seed: int = dataclasses.field(default=0, metadata={"help": "of everything"})

    @classmethod
    def smoke(cls):
        return cls(num=2, widths=(1,))


def run(config):
    parts = resumable("fake_line", config)

    def compute(width):
        calls.append(width)
        if width == 13:
            raise RuntimeError("the power failed")
        return {"line": -width * np.arange(config.num)}

    lines = [
        parts.part(f"width={width}", lambda: compute(width))["line"]
        for width in launch.progress(config.widths, "widths")
    ]
    return {"lines": np.stack(lines), "compile_seconds": np.array(0.25)}


def plot(arrays):
    figure, axes = style.figure()
    axes.plot(arrays["lines"].T)
    axes.set_axis_off()
    style.caption(figure, "certified gap 1e-9, exhaustive")
    return figure


def claims(arrays):
    low = arrays["lines"].min()
    return [Claim("it [falls] | far", f"to {low}", Verdict.CORRECTED)]
'''

WHOLE = {
    "fake_line.png",
    "fake_line.pdf",
    "data/fake_line.npz",
    "data/fake_line.json",
    "README.md",
}


def files_in(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}
