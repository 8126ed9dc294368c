"""Every public name has an entry, every page and record can be read, all code runs."""

from __future__ import annotations

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(p for p in DOCS.rglob("*.md") if "_build" not in p.parts)
TEXTS = {str(p.relative_to(DOCS)): p.read_text(encoding="utf-8") for p in PAGES}
FENCE = re.compile(r"^(`{3,}|:{3,})(.*)$")
ENTRY = re.compile(r"^\.\. auto(?:class|function|data|exception):: ([\w.]+)$", re.M)
LINK = re.compile(r"\]\(([^)#\s]+\.md)(?:#[\w-]+)?\)")
FIGURE = re.compile(r"\]\(#([a-z0-9_]+)\)")
PICTURE = re.compile(r"^```\{image\} (\S+)$", re.M)
LANGUAGES = {"python", "bash", "text"}


def extension(name):
    folder = str(DOCS / "_ext")
    sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    finally:
        sys.path.remove(folder)


run, public, gallery = map(extension, ("run", "public", "gallery"))


def fenced(text):
    """Blocks between fences, with what stands after the opening one."""
    blocks, opened = [], None
    for line in text.splitlines():
        found = FENCE.match(line)
        if opened is None and found:
            opened = (found[1], found[2].strip(), [])
        elif opened is not None and found and line.strip() == opened[0]:
            blocks.append((opened[1], "\n".join(opened[2])))
            opened = None
        elif opened is not None:
            opened[2].append(line)
    assert opened is None, "a fence is not closed"
    return blocks


def entries(texts):
    return {name for text in texts.values() for name in ENTRY.findall(text)}


def test_every_public_name_has_an_entry():
    api = {name: text for name, text in TEXTS.items() if name.startswith("api/")}
    missing = public.canonical_names() - entries(api)
    assert not missing
    assert public.reached() - {"cvxjax.data"} <= public.MODULES


def test_a_missing_entry_is_found():
    assert "cvxjax.solve" in public.canonical_names() - entries({"api/x.md": ""})


def test_entries_are_things_that_exist():
    for name in entries(TEXTS):
        assert public.thing_of(name) is not None, name


@pytest.mark.parametrize("name", TEXTS)
def test_a_page_can_be_read(name):
    text = TEXTS[name]
    assert re.search(r"^# \S", text, re.M), "no title"
    for info, block in fenced(text):
        if info == "python" or info == "{code-block} python":
            ast.parse(block)
        elif not info.startswith("{"):
            assert info in LANGUAGES, info
    has_code = bool(run.blocks_of(text))
    assert (run.how(text) is not None) == has_code, "want `run:` and python blocks"
    for link in LINK.findall(text):
        assert (DOCS / name).parent.joinpath(link).resolve().is_file(), link
    for picture in PICTURE.findall(text):
        assert (DOCS / name).parent.joinpath(picture).resolve().is_file(), picture
    assert set(FIGURE.findall(text)) <= {r["name"] for r in RECORDS}


def test_every_page_is_in_a_table_of_contents():
    listed = {"index.md"}
    for name, text in TEXTS.items():
        for info, block in fenced(text):
            if info == "{toctree}":
                pages = [x for x in block.splitlines() if x and not x.startswith(":")]
                listed |= {str(Path(name).parent / page) + ".md" for page in pages}
    assert listed == set(TEXTS)


RECORDS = gallery.records(ROOT / "figures")


def test_every_figure_has_a_sentence():
    own = {r["name"] for r in RECORDS if not gallery.is_stand_in(r)}
    assert set(gallery.SENTENCES) == own
    assert {r["name"] for r in RECORDS if gallery.is_stand_in(r)}
    assert all(gallery.sentence_of(record) for record in RECORDS)
    drawn = {p.stem for p in (ROOT / "figures").glob("*.png")}
    assert drawn == {record["name"] for record in RECORDS}
    total = sum(len(record["claims"]) for record in RECORDS)
    assert sum(gallery.counts(RECORDS).values()) == total


def test_scripts_and_commands_exist():
    for name, text in TEXTS.items():
        for script in re.findall(r"\./(scripts/\w+)", text):
            assert (ROOT / script).is_file(), (name, script)
        for module in re.findall(r"python -m experiments\.([a-z]\w+)", text):
            assert (ROOT / "experiments" / f"{module}.py").is_file(), (name, module)


QUICK = [name for name, text in TEXTS.items() if run.how(text) == "true"]
SLOW = [name for name, text in TEXTS.items() if run.how(text) == "slow"]


@pytest.mark.parametrize("name", QUICK)
def test_code_runs(name, capsys):
    names = {"__name__": "page"}
    for k, block in enumerate(run.blocks_of(TEXTS[name])):
        exec(compile(block, f"{name}, block {k + 1}", "exec"), names)
    assert capsys.readouterr().out


@pytest.mark.full
@pytest.mark.parametrize("name", SLOW)
def test_tutorials_run(name, tmp_path):
    outputs = run.outputs_of(run.blocks_of(TEXTS[name]), tmp_path / "page", ROOT)
    assert any(text for text, _ in outputs)
