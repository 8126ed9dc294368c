"""Turns the library's docstrings into reStructuredText.

They are plain text: formulas with `*`, `|` and trailing `_`, names between single
backticks, Google's sections, and indented blocks that are shown as they stand. Records
have their fields explained in comments after them, which are listed too.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import re
import textwrap
from typing import Any

SECTION = re.compile(r"^(Args|Returns|Raises|Attributes|Yields|Fields):\s*(.*)$")
ENTRY = re.compile(r"^(\*{0,2}\w[\w., *\[\]]*?): (.*)$")
ITEM = re.compile(r"^(\*|-|\d+\.) ")
FIELD = re.compile(r"^    (\w+): ([^#=]+?)(?: = ([^#]+?))?(?:  # (.*))?$")
TITLES = {"Args": "Arguments"}


def escaped(text: str) -> str:
    """Text in which nothing is markup but names between backticks."""
    parts = text.replace("``", "`").split("`")
    if len(parts) % 2 == 0:
        parts = [text.replace("`", "'")]
    for k, part in enumerate(parts):
        if k % 2:
            parts[k] = f"\\ ``{part}``\\ "
        else:
            part = re.sub(r"([\\*|])", r"\\\1", part)
            parts[k] = re.sub(r"_(?=\W|$)", r"\\_", part)
    return "".join(parts)


def indent_of(line: str) -> int:
    """How many spaces a line begins with."""
    return len(line) - len(line.lstrip())


def body(lines: list[str]) -> list[str]:
    """Paragraphs, lists, and indented blocks, which become literal."""
    out: list[str] = []
    k = 0
    while k < len(lines):
        line = lines[k]
        if not line.strip():
            out.append("")
            k += 1
        elif indent_of(line):
            end = k
            while end < len(lines) and (
                not lines[end].strip() or indent_of(lines[end])
            ):
                end += 1
            block = textwrap.dedent("\n".join(lines[k:end])).rstrip().splitlines()
            out += ["", ".. code-block:: none", ""]
            out += [f"   {text}".rstrip() for text in block] + [""]
            k = end
        elif ITEM.match(line):
            mark, rest = line.split(" ", 1)
            out += ["", f"{mark} {escaped(rest)}"]
            k += 1
            while k < len(lines) and lines[k].strip() and indent_of(lines[k]):
                out.append("  " + escaped(lines[k].strip()))
                k += 1
        else:
            out.append(escaped(line))
            k += 1
    return out


def entries(lines: list[str]) -> list[str]:
    """A definition list of the lines `name: text` of a section."""
    text = textwrap.dedent("\n".join(lines)).splitlines()
    out: list[str] = []
    for line in text:
        found = None if line.startswith(" ") else ENTRY.match(line)
        if found:
            name = escaped(found[1])
            out += ["", f"**{name}**", f"   {escaped(found[2])}"]
        elif line.strip():
            out.append(("   " if out else "") + escaped(line.strip()))
    return [*out, ""]


def sections(lines: list[str]) -> list[str]:
    """The whole docstring."""
    out: list[str] = []
    k = 0
    while k < len(lines):
        found = SECTION.match(lines[k])
        if not found:
            end = k
            while end < len(lines) and not SECTION.match(lines[end]):
                end += 1
            out += body(lines[k:end])
            k = end
            continue
        end = k + 1
        while end < len(lines) and (not lines[end].strip() or indent_of(lines[end])):
            end += 1
        name, first = found[1], found[2]
        inside = ([f"  {first}"] if first else []) + lines[k + 1 : end]
        out += ["", f".. rubric:: {TITLES.get(name, name)}", ""]
        if name in ("Returns", "Yields"):
            out += body(textwrap.dedent("\n".join(inside)).splitlines())
        else:
            out += entries(inside)
        out.append("")
        k = end
    return out


def fields(kind: type) -> list[str]:
    """The fields that a record declares itself, each as `name: comment`."""
    source = textwrap.dedent(inspect.getsource(kind)).splitlines()
    known = [f.name for f in dataclasses.fields(kind)]  # type: ignore[arg-type]
    out: list[str] = []
    for line in source:
        if line.startswith("    def ") or line.startswith("    @"):
            break
        found = FIELD.match(line)
        if found and found[1] in known and not found[1].startswith("_"):
            comment = found[4] or f"{found[2]}"
            if found[3] and not found[3].startswith("static()"):
                default = re.sub(r"static\(default=(.*)\)$", r"\1", found[3])
                comment += f"; default `{default}`"
            out.append(f"  {found[1]}: {comment}")
    return out


def process(
    app: Any, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    """Rewrites the docstring that autodoc found, in place."""
    shown = sections(lines)
    is_enum = inspect.isclass(thing) and issubclass(thing, enum.Enum)
    if inspect.isclass(thing) and dataclasses.is_dataclass(thing) and not is_enum:
        named = {word for line in lines for word in re.findall(r"^ +(\w+):", line)}
        found = [line for line in fields(thing) if line.split(":")[0][2:] not in named]
        if found:
            shown += ["", ".. rubric:: Fields", "", *entries(found)]
    lines[:] = shown


def skip(
    app: Any, what: str, name: str, thing: Any, skipped: bool, options: Any
) -> bool | None:
    """Leaves out what scikit-learn gives to every estimator."""
    module = str(getattr(thing, "__module__", ""))
    return True if module.startswith("sklearn") or name.endswith("_request") else None


def setup(app: Any) -> dict[str, Any]:
    """Sphinx calls it first."""
    app.connect("autodoc-process-docstring", process)
    app.connect("autodoc-skip-member", skip)
    return {"parallel_read_safe": True, "version": "1"}
