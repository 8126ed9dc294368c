"""What runs write, also when they are interrupted, on a tiny experiment."""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments._frame import gallery, launch, options, record, style
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


def test_smoke_settings_are_not_judged(module, tmp_path, capsys):
    launch.main(module, ["--smoke", f"--out={tmp_path}"])
    known = json.loads((tmp_path / "data" / "fake_line.json").read_text())
    assert known["smoke"] and known["claims"][0]["verdict"] == "not judged"
    shown = capsys.readouterr().out + (tmp_path / "README.md").read_text()
    assert shown.count(launch.UNJUDGED) == 2 and "reproduced" not in shown


def test_an_interrupted_smoke_run_goes_on_as_it_says(
    module, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    progress = launch.progress

    def once(steps, label):
        yield next(progress(steps, label))
        raise KeyboardInterrupt

    monkeypatch.setattr(launch, "progress", once)
    with pytest.raises(SystemExit) as stop:
        launch.main(module, ["--smoke", "--widths=1,2"])
    assert stop.value.code == 130
    line = capsys.readouterr().err.splitlines()[-1]
    told = re.fullmatch(
        r"Interrupted; the same command with (--out=\S+) goes on from 1 finished "
        r"parts\.",
        line,
    )
    assert told is not None
    monkeypatch.setattr(launch, "progress", progress)
    launch.main(module, ["--smoke", "--widths=1,2", told[1]])
    assert module.calls == [1, 2]


def test_nothing_is_promised_when_nothing_is_finished(module, monkeypatch, capsys):
    def stopped(config):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "run", stopped)
    with pytest.raises(SystemExit) as stop:
        launch.main(module, ["--smoke"])
    assert stop.value.code == 130
    assert "nothing is kept" in capsys.readouterr().err.splitlines()[-1]


def test_stand_in_data_have_files_and_a_title_of_their_own(module, tmp_path):
    module.STAND_INS = {"toy": "a toy, in place of the talk's data"}
    launch.main(module, ["--data=talk", f"--out={tmp_path}"])
    launch.main(module, ["--data=toy", f"--out={tmp_path}"])
    page = (tmp_path / "README.md").read_text()
    assert "## A line falls.\n" in page
    assert "## A line falls. Here on stand-in data: a toy, in place of" in page
    assert (tmp_path / "fake_line.png").read_bytes() != (
        tmp_path / "fake_line-toy.png"
    ).read_bytes()


def test_what_is_saved_is_drawn_once_more(module, tmp_path, monkeypatch):
    launch.main(module, ["--widths=2", f"--out={tmp_path}"])
    paths = record.paths_of(tmp_path, "fake_line")
    before = [path.read_bytes() for path in paths]
    claims = module.claims
    monkeypatch.setattr(module, "claims", lambda arrays: 2 * claims(arrays))
    monkeypatch.setattr(module, "plot", lambda arrays: style.figure()[0])
    module.calls.clear()
    launch.main(module, ["--redraw", f"--out={tmp_path}"])
    assert module.calls == []
    after = [path.read_bytes() for path in paths]
    assert [a == b for a, b in zip(after, before, strict=True)] == [
        False,
        False,
        True,
        False,
    ]
    old, new = json.loads(before[3]), json.loads(after[3])
    changed = {name for name in new if new[name] != old.get(name)}
    assert changed == {"claims", "redrawn"} and new["claims"] == 2 * old["claims"]
    assert "; drawn by " in (tmp_path / "README.md").read_text()


def test_the_folder_of_data_is_not_recorded(tmp_path):
    @dataclasses.dataclass(frozen=True)
    class Config:
        data_dir: str = ""

    config = Config(data_dir="../somewhere/else")
    assert options.command_of("a", config) == "python -m experiments.a --data_dir=DIR"
    known = record.make_provenance(
        "a", config, [], title="", command="", git={}, run_seconds=0.0
    )
    assert known["config"] == {"data_dir": "DIR"}


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
    text = gallery.write_gallery(tmp_path).read_text()
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
