"""Runs the Python of a page while the site is built, and shows what it printed.

A page whose front matter says `run: true` (or `run: slow`, which the short test suite
leaves out) has its fenced `python` blocks executed in order, in one process for the
page. Below each block stands its output, and a picture of every figure that it left
open. An exception fails the build. Outputs are kept, and shown again
while neither the page's code nor the library's has changed.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from sphinx.errors import ExtensionError

BLOCK = re.compile(r"^```python\n(.*?)^```\n", re.DOTALL | re.MULTILINE)
RUN = re.compile(r"\A---\n(?:.*\n)*?run: (true|slow)\n(?:.*\n)*?---\n")
PICTURES = Path("_build", "run")

RUNNER = """
import contextlib, io, json, sys
import matplotlib
matplotlib.use("svg")
blocks, stem, names, outputs = *json.load(sys.stdin), {"__name__": "__main__"}, []
for k, block in enumerate(blocks):
    text = io.StringIO()
    with contextlib.redirect_stdout(text):
        exec(compile(block, f"block {k + 1}", "exec"), names)
    pictures = []
    if "matplotlib.pyplot" in sys.modules:
        import matplotlib.pyplot as plt
        for number in plt.get_fignums():
            pictures.append(f"{stem}-{k}-{number}.svg")
            plt.figure(number).savefig(pictures[-1], bbox_inches="tight")
        plt.close("all")
    outputs.append([text.getvalue(), pictures])
print(json.dumps(outputs))
"""


def how(source: str) -> str | None:
    """What the front matter says: "true", "slow", or None."""
    found = RUN.match(source)
    return found and found[1]


def blocks_of(source: str) -> list[str]:
    """The Python of a page, block by block."""
    return BLOCK.findall(source)


@functools.cache
def library(root: Path) -> str:
    """A hash of the library's code: outputs of other code are not shown again."""
    total = hashlib.sha256(RUNNER.encode())
    for path in sorted((root / "cvxjax").rglob("*.py")):
        total.update(path.read_bytes())
    return total.hexdigest()


def outputs_of(blocks: list[str], stem: Path, root: Path) -> list[Any]:
    """What each block prints, and the files of its figures.

    Args:
      stem: where figures are saved, without the ends of their names.
      root: the repository, whose code is imported.

    Raises:
      ExtensionError: where a block raised; the message has the traceback.
    """
    stem.parent.mkdir(parents=True, exist_ok=True)
    kept = stem.with_suffix(".json")
    key = hashlib.sha256((library(root) + "\0".join(blocks)).encode()).hexdigest()
    if kept.is_file():
        known, outputs = json.loads(kept.read_text(encoding="utf-8"))
        if known == key and all(Path(p).is_file() for _, ps in outputs for p in ps):
            return outputs
    done = subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning:__main__", "-c", RUNNER],
        input=json.dumps([blocks, str(stem)]),
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=False,
    )
    if done.returncode:
        raise ExtensionError(f"{stem.name}: its code fails\n{done.stderr}")
    outputs = json.loads(done.stdout)
    kept.write_text(json.dumps([key, outputs]), encoding="utf-8")
    return outputs


def run_page(app: Any, name: str, content: list[str]) -> None:
    """Puts outputs below the blocks of a page, in its source."""
    source = content[0]
    if how(source) is None:
        return
    here = Path(app.srcdir)
    stem = here / PICTURES / name.replace("/", "-")
    outputs = iter(outputs_of(blocks_of(source), stem, here.parent))

    def with_output(found: re.Match[str]) -> str:
        text, pictures = next(outputs)
        parts = [found[0]]
        if text.strip():
            parts.append(
                f":::{{container}} output\n```text\n{text.rstrip()}\n```\n:::\n"
            )
        for picture in pictures:
            place = Path("/") / Path(picture).relative_to(here)
            parts.append(f"```{{image}} {place}\n:alt: What this code draws\n```\n")
        return "\n".join(parts)

    content[0] = BLOCK.sub(with_output, source)


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls it first."""
    app.connect("source-read", run_page)
    return {"parallel_read_safe": True, "version": "1"}
