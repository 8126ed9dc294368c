"""The tiny experiment, where the runner finds it."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from experiments import __main__ as command_line
from experiments._frame import launch, style
from tests.experiments.tiny_experiment import SOURCE


@pytest.fixture(scope="module")
def arrays(request):
    """Of a run of the file's experiment, with its smoke settings."""
    experiment = request.module.experiment
    return experiment.run(experiment.Config.smoke())


@pytest.fixture
def module(tmp_path, monkeypatch):
    path = tmp_path / "source" / "fake_line.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("experiments.fake_line", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "experiments.fake_line", made)
    monkeypatch.setattr(launch, "prepare", lambda: None)
    monkeypatch.setitem(style.STYLE, "savefig.dpi", 30)
    monkeypatch.setattr(command_line, "FOLDER", path.parent)
    spec.loader.exec_module(made)
    return made
