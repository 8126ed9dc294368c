"""Flags, progress, style and the command line, on a tiny experiment."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

from experiments import __main__ as command_line
from experiments._frame import launch, style
from tests.experiments.tiny_experiment import WHOLE, files_in


def config_from(module: Any, *flags: str) -> Any:
    values = launch.define_flags(module.Config)
    values(["program", *flags])
    return launch.read_config(module.Config, values)


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
    assert launch.command_of(module, config) == f"{command} --full --num=60"
    assert launch.command_of(module, Config(seed=2)) == f"{command} --seed=2"
    with pytest.raises(ValueError, match="not both"):
        config_from(module, "--full", "--smoke")
    shown = launch.help_text(module)
    assert "--full" in shown and "weight decay" in shown  # of the inherited fields


def test_two_experiments_define_their_flags_apart(module):
    launch.define_flags(module.Config)
    launch.define_flags(module.Config)


def test_a_field_without_a_flag_type_is_named():
    @dataclasses.dataclass(frozen=True)
    class Config:
        table: dict = dataclasses.field(default_factory=dict)

    with pytest.raises(TypeError, match="table"):
        launch.define_flags(Config)


@pytest.mark.parametrize(
    "flag", ["--num=x", "--widths=1,a", "--kind=elu", "--nmu=3", "stray"]
)
def test_wrong_flags_exit_with_one_line(module, capsys, flag):
    with pytest.raises(SystemExit) as stop:
        launch.main(module, [flag])
    assert stop.value.code == 2
    assert "See --help" in capsys.readouterr().err


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
