"""The page that shows every figure of a folder with its claims and command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cvxjax.saving.files import atomic


def write_gallery(out: Path) -> Path:
    """(Re)writes `out`/README.md from every data/*.json: pictures, claims, commands."""
    paths = sorted(out.glob("data/*.json"), key=lambda path: path.stem)
    records = [json.loads(path.read_text()) for path in paths]
    sections = [_section(record) for record in records if "claims" in record]
    text = "\n".join(["# Figures", "", "Written by the experiments.", "", *sections])
    path = out / "README.md"
    with atomic(path) as file:
        file.write(text.encode())
    return path


def _section(record: Mapping[str, Any]) -> str:
    rows = [
        f"| {_cell(claim['claim'])} | {_cell(claim['measured'])} | {claim['verdict']} |"
        for claim in record["claims"]
    ]
    device = f"{record['devices']} x {record['device']}"
    commit = (record["commit"] or "no commit")[:10]
    dirty = " with uncommitted changes" if record["dirty"] else ""
    resumed = " (resumed)" if record["resumed"] else ""
    again = record.get("redrawn")
    redrawn = (
        f"; drawn by {(again['commit'] or 'no commit')[:10]}, {again['date_utc'][:10]}"
        if again
        else ""
    )
    smoke = (
        "Smoke settings: verdicts are not judged.\n\n" if record.get("smoke") else ""
    )
    return f"""## {record["title"]}

[![{record["name"]}]({record["name"]}.png)]({record["name"]}.pdf)

| claim | measured | verdict |
|---|---|---|
{chr(10).join(rows)}

`{record["command"]}`

{smoke}{record["run_seconds"]:.1f} s{resumed} on {device}
({record["cores"]} cores), {record["dtype"]}, {record["date_utc"][:10]},
{commit}{dirty}{redrawn}; [arrays](data/{record["name"]}.npz),
[provenance](data/{record["name"]}.json).
"""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
