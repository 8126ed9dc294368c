"""The README's examples run as printed, its files exist, and it is short."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_library_example_runs(capsys):
    _, example = blocks("python")
    assert len([line for line in example.splitlines() if line]) <= 15
    exec(compile(example, "README.md", "exec"), {})
    certificate, neurons, prediction = capsys.readouterr().out.splitlines()
    assert float(re.search("relative gap ([^ ]+)", certificate)[1]) <= 1e-8
    assert "(exhaustive: " in certificate
    assert re.fullmatch(r"[1-5] neurons", neurons)
    assert re.fullmatch(r"\[[\d.]+\]", prediction)


def test_the_example_of_a_table_runs(capsys):
    example, _ = blocks("python")
    assert len([line for line in example.splitlines() if line]) <= 10
    exec(compile(example, "README.md", "exec"), {})
    score, certificate = capsys.readouterr().out.splitlines()
    assert 0.2 < float(re.match(r"R\^2 ([\d.]+), \d+ neurons", score)[1]) < 0.5
    assert 0 < float(re.search("relative gap ([^ ]+)", certificate)[1]) < 0.5
    assert "over all networks" in certificate


def test_the_files_it_names_exist():
    links = [x for x in re.findall(r"\]\(([^)]+)\)", README) if "://" not in x]
    scripts = re.findall(r"\./(scripts/\w+)", README)
    assert len(scripts) >= 3
    assert len(links) >= 15
    for name in [*links, *scripts]:
        assert (ROOT / name).exists(), name


def test_it_is_short():
    assert len(README.splitlines()) <= 150
    assert README.count("![") == 1
