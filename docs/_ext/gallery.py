"""The directive `{gallery}`: every figure with its claims, from figures/ and its data.

Nothing is written by hand: pictures, titles, claims, measurements, verdicts and
commands are those that experiments saved.
"""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

from docutils import nodes
from sentences import SENTENCES
from sphinx.util.docutils import SphinxDirective

VERDICTS = {
    "reproduced": "reproduced",
    "reproduced with correction": "corrected",
    "not reproduced": "failed",
    "cannot be checked": "unknown",
}
"""The verdicts, and the classes of their cells."""


def records(figures: Path) -> list[dict[str, Any]]:
    """What experiments saved beside their figures, by name."""
    files = sorted((figures / "data").glob("*.json"))
    found = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    for record in found:
        for claim in record["claims"]:
            if claim["verdict"] not in VERDICTS:
                raise ValueError(f"{record['name']}: verdict {claim['verdict']!r}")
        if not (figures / f"{record['name']}.png").is_file():
            raise ValueError(f"{record['name']}: no picture")
    return found


def counts(found: list[dict[str, Any]]) -> dict[str, int]:
    """How often each verdict was given, in the order of `VERDICTS`."""
    given = collections.Counter(
        claim["verdict"] for record in found for claim in record["claims"]
    )
    return {verdict: given[verdict] for verdict in VERDICTS}


def is_stand_in(record: dict[str, Any]) -> bool:
    """Whether a figure shows other data in place of its source's."""
    return "-" in record["name"]


def sentence_of(record: dict[str, Any]) -> str:
    """What a figure shows; of one on stand-in data, that of the other and the data."""
    name, _, data = record["name"].partition("-")
    return SENTENCES[name] + (f" Here on stand-in data: {data}." if data else "")


class Gallery(SphinxDirective):
    """A count of verdicts, and a section for every figure."""

    def run(self) -> list[nodes.Node]:
        figures = Path(self.env.srcdir).parent / "figures"
        found = records(figures)
        for record in found:
            self.env.note_dependency(str(figures / "data" / f"{record['name']}.json"))
        own = [record for record in found if not is_stand_in(record)]
        total, others = sum(counts(own).values()), len(found) - len(own)
        summary = nodes.paragraph(
            text=f"There are {len(own)} figures with {total} claims, and {others} more "
            "on stand-in data, which are not counted:"
        )
        table = _table(
            ["verdict", "claims"],
            [[verdict, str(count)] for verdict, count in counts(own).items()],
            "verdict-counts",
        )
        return [summary, table, *(self._section(record) for record in found)]

    def _section(self, record: dict[str, Any]) -> nodes.section:
        name, title = record["name"], record["title"].rstrip(".")
        section = nodes.section(ids=[name.replace("_", "-")], names=[name])
        self.state.document.note_explicit_target(section)
        section += nodes.title(text=title)
        section += nodes.paragraph(text=sentence_of(record))
        image = nodes.image(uri=f"../figures/{name}.png", alt=sentence_of(record))
        whole = f"_images/{name}.png"  # where Sphinx copies it, at its full size
        section += nodes.reference("", "", image, refuri=whole, internal=True)
        claims = [[c["claim"], c["measured"], c["verdict"]] for c in record["claims"]]
        section += _table(["claim", "measured", "verdict"], claims, "claims")
        command = nodes.literal_block(record["command"], record["command"])
        command["language"] = "none"
        section += nodes.paragraph(text=_provenance(record))
        section += command
        return section


def _provenance(record: dict[str, Any]) -> str:
    day, commit = record["date_utc"][:10], record["commit"][:10]
    seconds = record["run_seconds"]
    return (
        f"Measured on {day} at commit {commit}, {record['dtype']}, on "
        f"{record['device']} with {record['cores']} cores, in {seconds:.0f} s. "
        "This command draws it again:"
    )


def _table(head: list[str], rows: list[list[str]], kind: str) -> nodes.Node:
    table = nodes.table(classes=[kind])
    group = nodes.tgroup(cols=len(head))
    table += group
    group += [nodes.colspec(colwidth=1) for _ in head]
    group += nodes.thead("", _row(head))
    group += nodes.tbody("", *(_row(row) for row in rows))
    return table


def _row(cells: list[str]) -> nodes.row:
    made = nodes.row()
    for cell in cells:
        entry = nodes.entry("", nodes.paragraph(text=cell))
        if cell in VERDICTS:
            entry["classes"].append(VERDICTS[cell])
        made += entry
    return made


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls it first."""
    app.add_directive("gallery", Gallery)
    return {"parallel_read_safe": True, "version": "1"}
