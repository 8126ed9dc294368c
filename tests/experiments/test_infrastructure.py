"""The experiment runner, on a tiny experiment written here."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import __main__ as command_line
from experiments import _launch, _record, _style

SOURCE = '''"""A line falls.

More about the line.
"""

import dataclasses
from typing import Literal

import numpy as np

from experiments import _launch, _style
from experiments._record import Claim, Verdict, resumable

MINUTES = 0.5
calls = []


@dataclasses.dataclass(frozen=True)
class Config:
    """Settings.

    num: how many points
    """

    num: int = 5
    beta: float = 1e-3  # weight decay
    widths: tuple[int, ...] = (1, 2)
    rates: tuple[float, ...] = (0.1,)
    label: str = "a # b"
    data: str | None = None
    gated: bool = False
    kind: Literal["relu", "gelu"] = "relu"
    seed: int = dataclasses.field(default=0, metadata={"help": "of everything"})

    @classmethod
    def smoke(cls):
        return cls(num=2, widths=(1,))


def run(config):
    parts = resumable("fake_line", config)

    def compute(width):
        calls.append(width)
        if width == 13:
            raise RuntimeError("the power failed")
        return {"line": -width * np.arange(config.num)}

    lines = [
        parts.part(f"width={width}", lambda: compute(width))["line"]
        for width in _launch.progress(config.widths, "widths")
    ]
    return {"lines": np.stack(lines), "compile_seconds": np.array(0.25)}


def plot(arrays):
    figure, axes = _style.figure()
    axes.plot(arrays["lines"].T)
    axes.set_axis_off()
    _style.caption(figure, "certified gap 1e-9, exhaustive")
    return figure


def claims(arrays):
    low = arrays["lines"].min()
    return [Claim("it [falls] | far", f"to {low}", Verdict.CORRECTED)]
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    path = tmp_path / "source" / "fake_line.py"
    path.parent.mkdir()
    path.write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("experiments.fake_line", path)
    assert spec is not None and spec.loader is not None
    made = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "experiments.fake_line", made)
    monkeypatch.setattr(_launch, "prepare", lambda: None)
    monkeypatch.setitem(_style.STYLE, "savefig.dpi", 30)
    monkeypatch.setattr(command_line, "FOLDER", path.parent)
    spec.loader.exec_module(made)
    return made


def config_from(module: Any, *flags: str) -> Any:
    values = _launch.define_flags(module.Config)
    values(["program", *flags])
    return _launch.read_config(module.Config, values)


def files_in(folder: Path) -> set[str]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix() for path in found}


WHOLE = {
    "fake_line.png",
    "fake_line.pdf",
    "data/fake_line.npz",
    "data/fake_line.json",
    "README.md",
}


def test_flags_of_every_type(module):
    config = config_from(
        module,
        "--num=7",
        "--beta=1e-2",
        "--widths=3,4",
        "--rates=1,2.5",
        "--label=x",
        "--data=cifar",
        "--gated",
        "--kind=gelu",
        "--seed=9",
    )
    assert config == module.Config(
        num=7,
        beta=1e-2,
        widths=(3, 4),
        rates=(1.0, 2.5),
        label="x",
        data="cifar",
        gated=True,
        kind="gelu",
        seed=9,
    )
    assert isinstance(config.rates[0], float)


def test_no_flags_give_the_defaults(module):
    assert config_from(module) == module.Config()


def test_flags_override_smoke(module):
    config = config_from(module, "--smoke", "--widths=5")
    assert config == dataclasses.replace(module.Config.smoke(), widths=(5,))


def test_full_settings_are_a_flag(module, monkeypatch):
    class Config(module.Config):
        @classmethod
        def full(cls):
            return cls(num=50, seed=1, label="x")

    monkeypatch.setattr(module, "Config", Config)
    config = config_from(module, "--full", "--num=60")
    assert config == Config(num=60, seed=1, label="x")
    command = "python -m experiments.fake_line"
    assert _launch.command_of(module, config) == f"{command} --full --num=60"
    assert _launch.command_of(module, Config(seed=2)) == f"{command} --seed=2"
    with pytest.raises(ValueError, match="not both"):
        config_from(module, "--full", "--smoke")
    shown = _launch.help_text(module)
    assert "--full" in shown and "weight decay" in shown  # of the inherited fields


def test_two_experiments_define_their_flags_apart(module):
    _launch.define_flags(module.Config)
    _launch.define_flags(module.Config)


def test_a_field_without_a_flag_type_is_named():
    @dataclasses.dataclass(frozen=True)
    class Config:
        table: dict = dataclasses.field(default_factory=dict)

    with pytest.raises(TypeError, match="table"):
        _launch.define_flags(Config)


@pytest.mark.parametrize(
    "flag", ["--num=x", "--widths=1,a", "--kind=elu", "--nmu=3", "stray"]
)
def test_wrong_flags_exit_with_one_line(module, capsys, flag):
    with pytest.raises(SystemExit) as stop:
        _launch.main(module, [flag])
    assert stop.value.code == 2
    assert "See --help" in capsys.readouterr().err


def test_help_shows_the_docstring_and_every_field(module, capsys):
    with pytest.raises(SystemExit) as stop:
        _launch.main(module, ["--help"])
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for text in [
        "More about the line.",
        "--beta=0.001",
        "weight decay",
        "how many points",
        "--widths=1,2",
        "of everything",
        "--smoke",
    ]:
        assert text in shown
    assert "no help available" not in shown


def test_a_run_writes_everything_and_prints_the_claims(module, tmp_path, capsys):
    out = tmp_path / "figures"
    _launch.main("experiments.fake_line", [f"--out={out}", "--widths=2,3"])
    assert files_in(out) == WHOLE
    shown = capsys.readouterr().out
    assert "it [falls] | far" in shown
    assert "reproduced with correction" in shown
    assert str(out / "fake_line.png") in shown
    arrays = _record.read_arrays(out / "data" / "fake_line.npz")
    np.testing.assert_array_equal(arrays["lines"][1], -3 * np.arange(5))


def test_of_several_processes_the_first_writes_and_prints(
    module, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr("jax.process_index", lambda: 1)
    out = tmp_path / "out"
    result = _launch.execute(module, module.Config(), out)
    _launch.show([result])
    assert result.paths == [] and capsys.readouterr() == ("", "")
    assert all(name.startswith(".partial/") for name in files_in(out))


def test_smoke_leaves_the_figures_alone(module, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    _launch.main(module, ["--smoke"])
    assert not (tmp_path / "figures").exists()
    (made,) = (tmp_path / "temporary").iterdir()
    assert files_in(made) == WHOLE
    assert str(made) in capsys.readouterr().out
    _launch.main(module, [])
    assert files_in(tmp_path / "figures") == WHOLE


def test_provenance(module, tmp_path):
    config = module.Config(
        widths=(2,), data=str(tmp_path / "images.npz"), beta=float("inf")
    )
    _launch.execute(module, config, tmp_path / "out")
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
        _launch.execute(module, module.Config(), tmp_path / folder)
    for name in ("fake_line.png", "fake_line.pdf", "data/fake_line.npz"):
        one, two = (tmp_path / folder / name for folder in ("one", "two"))
        assert one.read_bytes() == two.read_bytes(), name


def test_a_crash_while_drawing_leaves_no_picture(module, tmp_path, monkeypatch):
    def savefig(self, file, **options):
        file.write(b"half a picture")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", savefig)
    with pytest.raises(OSError, match="disk full"):
        _launch.execute(module, module.Config(), tmp_path / "figures")
    left = files_in(tmp_path / "figures")
    left = {name for name in left if not name.startswith(".partial/")}
    assert left == {"data/fake_line.npz"}


def test_a_crash_keeps_the_file_of_the_run_before(tmp_path):
    path = tmp_path / "a.npz"
    _record.write_arrays(path, {"a": np.arange(3)})
    with pytest.raises(KeyboardInterrupt), _record.atomic(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    np.testing.assert_array_equal(_record.read_arrays(path)["a"], np.arange(3))
    assert files_in(tmp_path) == {"a.npz"}


def test_a_killed_process_leaves_nothing_under_the_final_name(tmp_path):
    path = tmp_path / "a.npz"
    script = (
        "import os, pathlib, sys\n"
        "from experiments._record import atomic\n"
        "with atomic(pathlib.Path(sys.argv[1])) as file:\n"
        "    file.write(b'half')\n"
        "    file.flush()\n"
        "    os._exit(9)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(path)], cwd=_record.ROOT)
    assert done.returncode == 9
    assert not path.exists()
    assert all(name.endswith(".part") for name in files_in(tmp_path))


def test_objects_are_refused(tmp_path):
    with pytest.raises(TypeError, match="curve"):
        _record.write_arrays(tmp_path / "a.npz", {"curve": np.array([None])})
    assert files_in(tmp_path) == set()


def test_an_interrupted_run_goes_on(module, tmp_path):
    config = module.Config(widths=(1, 2, 13))
    with pytest.raises(RuntimeError, match="power"):
        _launch.execute(module, config, tmp_path)
    module.calls.clear()
    with pytest.raises(RuntimeError, match="power"):
        _launch.execute(module, config, tmp_path)
    assert module.calls == [13]


def test_finished_parts_serve_once_and_are_cleared(module, tmp_path):
    config = module.Config()
    with _record.parts_in(tmp_path):
        _record.resumable("fake_line", config).put("width=1", {"line": np.full(5, 4)})
    _launch.execute(module, config, tmp_path)
    assert module.calls == [2]
    record = json.loads((tmp_path / "data" / "fake_line.json").read_text())
    assert record["resumed"] is True
    assert not (tmp_path / ".partial").exists()


def test_parts_belong_to_one_config_and_need_a_launcher(module, tmp_path):
    with _record.parts_in(tmp_path):
        _record.resumable("fake_line", module.Config()).put("a", {"x": np.ones(2)})
        assert _record.resumable("fake_line", module.Config(seed=1)).get("a") is None
        assert _record.resumable("fake_line", module.Config()).get("a") is not None
        with pytest.raises(ValueError, match="key"):
            _record.resumable("fake_line", module.Config()).put("../a", {})
    outside = _record.resumable("fake_line", module.Config())
    outside.put("a", {"x": np.ones(2)})
    assert outside.get("a") is None


def test_the_gallery_shows_every_record(module, tmp_path):
    _launch.execute(module, module.Config(), tmp_path)
    record = json.loads((tmp_path / "data" / "fake_line.json").read_text())
    record |= {"name": "another", "title": "Another title.", "commit": "0123456789abc"}
    (tmp_path / "data" / "another.json").write_text(json.dumps(record))
    text = _record.write_gallery(tmp_path).read_text()
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
    monkeypatch.setattr(_record, "ROOT", tmp_path.resolve())
    git("init", "-q")
    assert _record.git_state() == nowhere
    (tmp_path / "a.py").write_text("a = 1\n")
    git("add", ".")
    git("commit", "-q", "-m", "a")
    state = _record.git_state()
    assert len(state["commit"]) == 40
    assert state["dirty"] is False
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "a.png").write_text("")
    assert _record.git_state()["dirty"] is False
    (tmp_path / "b.py").write_text("b = 1\n")
    assert _record.git_state()["dirty"] is True
    monkeypatch.setattr(_record, "ROOT", (tmp_path / "figures").resolve())
    assert _record.git_state() == nowhere


def test_progress_prints_lines_outside_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(_launch, "_SECONDS_BETWEEN_LINES", 0.0)
    assert list(_launch.progress([5, 6], "seeds")) == [5, 6]
    assert "seeds: 1 of 2" in capsys.readouterr().err


def test_style_changes_nothing_outside(module):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with _style.applied():
        assert mpl.rcParams["axes.grid"] is True
    module.plot({"lines": np.zeros((1, 2))})
    assert dict(mpl.rcParams) == before


def test_list_names_title_and_minutes(module, capsys):
    assert command_line.main(["list"]) == 0
    assert capsys.readouterr().out.split() == "fake_line 0.5 min A line falls.".split()


def test_an_unknown_name_is_one_line_and_an_error(module, capsys):
    assert command_line.main(["run", "fake_lien"]) == 2
    assert capsys.readouterr().err == (
        "unknown experiment: fake_lien; did you mean fake_line?\n"
    )
    assert command_line.main(["run"]) == 2


def test_run_prints_one_table_for_all(module, tmp_path, capsys, monkeypatch):
    (command_line.FOLDER / "bench_speed.py").write_text("raise RuntimeError\n")
    out = tmp_path / "out"
    assert command_line.main(["run", "--all", "--smoke", f"--out={out}"]) == 0
    assert files_in(out) == WHOLE
    assert "to -1" in capsys.readouterr().out


def test_a_failing_experiment_does_not_stop_the_others(module, tmp_path, capsys):
    (command_line.FOLDER / "absent.py").write_text("")
    names = ["absent", "fake_line"]
    assert command_line.main(["run", *names, "--smoke", f"--out={tmp_path}"]) == 1
    shown = capsys.readouterr().out
    assert "failed" in shown
    assert "fake_line: it [falls]" in shown


def test_configure_jax_switches_on_float64_and_the_cache(tmp_path):
    script = """
import sys
import jax
from cvxjax.runtime import cache_folder, configure_jax
def cache():
    return jax.config.jax_compilation_cache_dir
assert jax.numpy.zeros(1).dtype == "float32" and cache() is None
configure_jax()
assert jax.numpy.zeros(1).dtype == "float64"
assert cache() == str(cache_folder() / "jax")
jax.config.update("jax_compilation_cache_dir", sys.argv[1])
configure_jax()
assert cache() == sys.argv[1]
"""
    dropped = ("JAX_ENABLE_X64", "JAX_COMPILATION_CACHE_DIR")
    environment = {k: v for k, v in os.environ.items() if k not in dropped}
    subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "own")],
        cwd=_record.ROOT,
        env=environment | {"XDG_CACHE_HOME": str(tmp_path)},
        check=True,
    )
