"""What the site's own extensions make of docstrings, code and records."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs" / "_ext"))
docstrings, gallery, run = map(
    importlib.import_module, ("docstrings", "gallery", "run")
)
sys.path.pop(0)


def test_docstrings_become_text_without_markup():
    text = docstrings.sections(
        [
            "L*(u) of |z| and `name`, best_ one.",
            "",
            "    minimise  ||w||_1",
            "",
            "Args:",
            "  X: [n, d], real;",
            "    more of it.",
            "",
            "Returns:",
            "  [n], a number.",
        ]
    )
    assert text[0] == r"L\*(u) of \|z\| and \ ``name``\ , best\_ one."
    assert ".. code-block:: none" in text
    assert "   minimise  ||w||_1" in text
    assert "**X**" in text
    assert "   [n, d], real;" in text
    assert "   more of it." in text
    assert ".. rubric:: Returns" in text


def test_fields_have_their_comments():
    from cvxjax import Certificate

    assert "  gap: of `relative_gap`" in docstrings.fields(Certificate)


def test_outputs_of_blocks_and_errors(tmp_path):
    from sphinx.errors import ExtensionError

    page = "---\nrun: true\n---\n\n```python\nx = 2\n```\n\n```python\nprint(x)\n```\n"
    assert run.how(page) == "true"
    assert run.how("# Title\n") is None
    blocks = run.blocks_of(page)
    outputs = run.outputs_of(blocks, tmp_path / "page", ROOT)
    assert outputs == [["", []], ["2\n", []]]
    assert run.outputs_of(blocks, tmp_path / "page", ROOT) == outputs
    with pytest.raises(ExtensionError, match="ZeroDivisionError"):
        run.outputs_of(["1 / 0"], tmp_path / "page", ROOT)


def test_a_wrong_record_is_refused(tmp_path):
    (tmp_path / "data").mkdir()
    claim = {"claim": "c", "measured": "m", "verdict": "reproduced"}
    record = {"name": "a", "claims": [claim]}
    path = tmp_path / "data" / "a.json"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="no picture"):
        gallery.records(tmp_path)
    (tmp_path / "a.png").touch()
    assert gallery.counts(gallery.records(tmp_path))["reproduced"] == 1
    claim["verdict"] = "true"
    path.write_text(json.dumps(record))
    with pytest.raises(ValueError, match="verdict"):
        gallery.records(tmp_path)
