"""Flags, progress, style and the command line, on a tiny experiment."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from experiments import __main__ as command_line
from experiments._frame import launch, options, style
from tests.experiments.tiny_experiment import WHOLE, files_in


def config_from(module: Any, *flags: str) -> Any:
    values = options.define_flags(module.Config)
    values(["program", *flags])
    return options.read_config(module.Config, values)


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
    assert options.command_of("fake_line", config) == f"{command} --full --num=60"
    assert options.command_of("fake_line", Config(seed=2)) == f"{command} --seed=2"
    with pytest.raises(ValueError, match="not both"):
        config_from(module, "--full", "--smoke")
    shown = options.help_text(module)
    assert "--full" in shown and "weight decay" in shown  # of the inherited fields


def test_two_experiments_define_their_flags_apart(module):
    options.define_flags(module.Config)
    options.define_flags(module.Config)


def test_a_field_without_a_flag_type_is_named():
    @dataclasses.dataclass(frozen=True)
    class Config:
        table: dict = dataclasses.field(default_factory=dict)

    with pytest.raises(TypeError, match="table"):
        options.define_flags(Config)


def test_help_shows_the_docstring_and_every_field(module, capsys):
    with pytest.raises(SystemExit) as stop:
        launch.main(module, ["--help"])
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


def test_progress_prints_lines_outside_a_terminal(capsys, monkeypatch):
    monkeypatch.setattr(launch, "_SECONDS_BETWEEN_LINES", 0.0)
    assert list(launch.progress([5, 6], "seeds")) == [5, 6]
    assert "seeds: 1 of 2" in capsys.readouterr().err


def test_style_changes_nothing_outside(module):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    with style.applied():
        assert mpl.rcParams["axes.grid"] is True
    module.plot({"lines": np.zeros((1, 2))})
    assert dict(mpl.rcParams) == before


def test_list_names_title_and_minutes(module, capsys):
    assert command_line.main(["list"]) == 0
    assert capsys.readouterr().out.split() == "fake_line 0.5 min A line falls.".split()


def test_run_prints_one_table_for_all(module, tmp_path, capsys, monkeypatch):
    (command_line.FOLDER / "bench_speed.py").write_text("raise RuntimeError\n")
    out = tmp_path / "out"
    assert command_line.main(["run", "--all", "--smoke", f"--out={out}"]) == 0
    assert files_in(out) == WHOLE
    shown = capsys.readouterr().out
    assert "to -1" in shown and launch.UNJUDGED in shown
    assert "not judged" in shown and "reproduced" not in shown


def test_run_hands_flags_to_the_experiment(module, tmp_path):
    words = ["fake_line", "--smoke", "--num", "3", "--widths=4,5", f"--out={tmp_path}"]
    assert command_line.main(["run", *words]) == 0
    known = json.loads((tmp_path / "data" / "fake_line.json").read_text())
    assert known["config"]["num"] == 3 and known["config"]["widths"] == [4, 5]
    assert (
        command_line.main(["run", "--smoke", "--out", str(tmp_path), "fake_line"]) == 0
    )


def test_run_help_is_that_of_the_experiment(module, capsys):
    assert command_line.main(["run", "fake_line", "--help"]) == 0
    assert "--beta=0.001" in capsys.readouterr().out
    assert command_line.main(["--help"]) == command_line.main(["run", "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.count("Exit codes: 0 done") == 2 and module.calls == []


def test_a_failing_experiment_does_not_stop_the_others(module, tmp_path, capsys):
    (command_line.FOLDER / "absent.py").write_text("")
    names = ["absent", "fake_line"]
    assert command_line.main(["run", *names, "--smoke", f"--out={tmp_path}"]) == 1
    shown = capsys.readouterr().out
    assert "failed" in shown
    assert "fake_line: it [falls]" in shown
