"""What runs write, also when they are interrupted, on a tiny experiment."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments._frame import launch, record
from tests.experiments.tiny_experiment import WHOLE, files_in


def test_a_run_writes_everything_and_prints_the_claims(module, tmp_path, capsys):
    out = tmp_path / "figures"
    launch.main("experiments.fake_line", [f"--out={out}", "--widths=2,3"])
    assert files_in(out) == WHOLE
    shown = capsys.readouterr().out
    assert "it [falls] | far" in shown
    assert "reproduced with correction" in shown
    assert str(out / "fake_line.png") in shown
    arrays = record.read_arrays(out / "data" / "fake_line.npz")
    np.testing.assert_array_equal(arrays["lines"][1], -3 * np.arange(5))


def test_of_several_processes_the_first_writes_and_prints(
    module, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    out = tmp_path / "out"
    result = launch.execute(module, module.Config(), out)
    launch.show([result])
    assert result.paths == [] and capsys.readouterr() == ("", "")
    assert all(name.startswith(".partial/") for name in files_in(out))


def test_smoke_leaves_the_figures_alone(module, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    launch.main(module, ["--smoke"])
    assert not (tmp_path / "figures").exists()
    (made,) = (tmp_path / "temporary").iterdir()
    assert files_in(made) == WHOLE
    assert str(made) in capsys.readouterr().out
    launch.main(module, [])
    assert files_in(tmp_path / "figures") == WHOLE


def test_provenance(module, tmp_path):
    config = module.Config(
        widths=(2,), data=str(tmp_path / "images.npz"), beta=float("inf")
    )
    launch.execute(module, config, tmp_path / "out")
    text = (tmp_path / "out" / "data" / "fake_line.json").read_text()
    record = json.loads(text)
    assert record["command"] == (
        "python -m experiments.fake_line --beta=inf --widths=2 --data=images.npz"
    )
    assert record["config"]["widths"] == [2]
    assert record["title"] == "A line falls."
    assert record["seed"] == 0
    assert record["dtype"] in ("float64", "float32")
    assert record["compile_seconds"] == 0.25
    assert record["resumed"] is False
    assert record["claims"] == [
        {
            "claim": "it [falls] | far",
            "measured": "to -8",
            "verdict": "reproduced with correction",
        }
    ]
    assert {"commit", "dirty", "date_utc", "run_seconds", "device", "platform"} <= (
        record.keys()
    )
    assert {"cores", "python", "versions"} <= record.keys()
    assert record["versions"].keys() >= {"jax", "flax", "optax", "numpy"}
    for secret in [str(tmp_path), str(Path.home()) + "/", os.uname().nodename]:
        assert len(secret) < 4 or secret not in text


def test_the_same_run_gives_the_same_bytes(module, tmp_path):
    for folder in ("one", "two"):
        launch.execute(module, module.Config(), tmp_path / folder)
    for name in ("fake_line.png", "fake_line.pdf", "data/fake_line.npz"):
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), name


def test_a_crash_while_drawing_leaves_no_picture(module, tmp_path, monkeypatch):
    def savefig(self, file, **options):
        file.write(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    with pytest.raises(OSError, match="disk full"):
        launch.execute(module, module.Config(), tmp_path / "figures")
    left = files_in(tmp_path / "figures")
    left = {name for name in left if not name.startswith(".partial/")}
    assert left == {"data/fake_line.npz"}


def test_a_crash_keeps_the_file_of_the_run_before(tmp_path):
    path = tmp_path / "a.npz"
    record.write_arrays(path, {"a": np.arange(3)})
    with pytest.raises(KeyboardInterrupt), record.atomic(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    np.testing.assert_array_equal(record.read_arrays(path)["a"], np.arange(3))
    assert files_in(tmp_path) == {"a.npz"}


def test_a_killed_process_leaves_nothing_under_the_final_name(tmp_path):
    path = tmp_path / "a.npz"
    script = (
        "import os, pathlib, sys\n"
        "from experiments._frame.record import atomic\n"
        "with atomic(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'half')\n"
        "    file.flush()\n"
        "    os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=record.ROOT)
    assert done.returncode == 9
    assert not path.exists()
    assert all(name.endswith(".part") for name in files_in(tmp_path))


def test_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match="curve"):
        record.write_arrays(tmp_path / "a.npz", {"curve": np.array([None])})
    assert files_in(tmp_path) == set()


def test_an_interrupted_run_goes_on(module, tmp_path):
    config = module.Config(widths=(1, 2, 13))
    with pytest.raises(RuntimeError, match="power"):
        launch.execute(module, config, tmp_path)
    module.calls.clear()
    with pytest.raises(RuntimeError, match="power"):
        launch.execute(module, config, tmp_path)
    assert module.calls == [13]


def test_finished_parts_serve_once_and_are_cleared(module, tmp_path):
    config = module.Config()
    with record.parts_in(tmp_path):
        record.resumable("fake_line", config).put("width=1", {"line": np.full(5, 4)})
    launch.execute(module, config, tmp_path)
    assert module.calls == [2]
    saved = json.loads((tmp_path / "data" / "fake_line.json").read_text())
    assert saved["resumed"] is True
    assert not (tmp_path / ".partial").exists()


def test_parts_belong_to_one_config_and_need_a_launcher(module, tmp_path):
    with record.parts_in(tmp_path):
        record.resumable("fake_line", module.Config()).put("a", {"x": np.ones(2)})
        assert record.resumable("fake_line", module.Config(seed=1)).get("a") is None
        assert record.resumable("fake_line", module.Config()).get("a") is not None
        with pytest.raises(ValueError, match="key"):
            record.resumable("fake_line", module.Config()).put("../a", {})
    outside = record.resumable("fake_line", module.Config())
    outside.put("a", {"x": np.ones(2)})
    assert outside.get("a") is None


def test_the_gallery_shows_every_record(module, tmp_path):
    launch.execute(module, module.Config(), tmp_path)
    saved = json.loads((tmp_path / "data" / "fake_line.json").read_text())
    saved |= {"name": "another", "title": "Another title.", "commit": "0123456789abc"}
    (tmp_path / "data" / "another.json").write_text(json.dumps(saved))
    text = record.write_gallery(tmp_path).read_text()
    assert text.index("## Another title.") < text.index("## A line falls.")
    assert "| it [falls] \\| far | to -8 | reproduced with correction |" in text
    assert "[![fake_line](fake_line.png)](fake_line.pdf)" in text
    assert "`python -m experiments.fake_line`" in text
    assert "0123456789" in text


@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_git_state(tmp_path, monkeypatch):
    def git(*arguments: str) -> None:
        name = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
        subprocess.run(["git", *name, *arguments], cwd=tmp_path, check=True)

    nowhere = {"commit": None, "dirty": None}
    monkeypatch.setattr(record, "ROOT", tmp_path.resolve())
    git("init", "-q")
    assert record.git_state() == nowhere
    (tmp_path / "a.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-q", "-m", "a")
    state = record.git_state()
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_text("")
    assert record.git_state()["dirty"] is False
    (tmp_path / "b.py").write_text("b = 1\n")
    assert record.git_state()["dirty"] is True
    monkeypatch.setattr(record, "ROOT", (tmp_path / "figures").resolve())
    assert record.git_state() == nowhere
