"""What is wrong with flags, folders and data is one line before any work."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from cvxjax.data import download
from experiments import __main__ as command_line
from experiments._frame import inputs, launch
from experiments._frame.options import Wrong

WRONG = {
    "--num=x": "--num=x: invalid literal",
    "--widths=1,a": "--widths=1,a: invalid literal",
    "--kind=elu": "relu|gelu",
    "--nmu=3": "Unknown command line flag 'nmu'",
    "stray": "flags only, got stray",
    "--num=-1": "--num: want no number below 0, got -1",
    "--beta=nan": "--beta: want no number below 0, got nan",
    "--smoke --redraw": "--smoke or --redraw, not both",
    "--redraw --out=absent": "nothing was saved as absent/data/fake_line.json",
    "--out=": "want a folder, got nothing",
    "--out=file": "file is a file",
    "--out=file/below": "cannot write to file/below",
    "--out=/dev/null/x": "cannot write to /dev/null/x",
}
READERS = {
    "batch_norm_cifar": "--data=cifar10",
    "bench_global": "",
    "bench_solvers": "",
    "cifar100_convex_sgd": "",
    "cifar10_convex_sgd": "",
    "cifar_cnn_binary": "--data=cifar10",
    "ecg_prediction": "--data=both",
    "fashion_mnist_convex": "",
    "polynomial_cnn": "--data=fashion_mnist",
    "quantized_breast_cancer": "--data=ljubljana",
}


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(download.ENVIRONMENT, raising=False)
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    return tmp_path


def one_line(capsys):
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.count("\n") == 1
    return shown.err


def entries(folder):
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize("words", WRONG)
def test_wrong_flags_exit_with_one_line(module, capsys, here, words):
    before = entries(here)
    with pytest.raises(SystemExit) as stop:
        launch.main(module, words.split())
    assert stop.value.code == 2
    line = one_line(capsys)
    assert WRONG[words] in line and line.endswith("(see --help)\n")
    if words != "stray":
        assert command_line.main(["run", "fake_line", *words.split()]) == 2
        assert WRONG[words] in one_line(capsys)
    assert module.calls == [] and entries(here) - before <= {"source"}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ("run fake_lien", "unknown experiment: fake_lien; did you mean fake_line?\n"),
        ("run", "want a NAME or --all; see: python -m experiments list\n"),
        ("rnu fake_line", "want list or run NAME..., got rnu fake_line\n"),
        ("", "want list or run NAME..., got nothing\n"),
    ],
)
def test_wrong_commands_are_one_line(module, capsys, words, line):
    assert command_line.main(words.split()) == 2
    assert one_line(capsys) == line


def test_a_flag_that_one_of_several_lacks_stops_all(module, capsys, here):
    other = command_line.FOLDER / "spiral_vector_output.py"
    other.write_text("")  # its name; the module is the real one
    words = ["fake_line", "spiral_vector_output", "--kind=gelu"]
    assert command_line.main(["run", *words]) == 2
    assert one_line(capsys).startswith("spiral_vector_output: Unknown command line")
    assert module.calls == []


@pytest.mark.parametrize("name", READERS)
def test_data_that_are_missing_are_named(name, capsys, here):
    experiment = importlib.import_module(f"experiments.{name}")
    for folder, reason in (
        ("absent", "absent does not exist"),
        ("file", "file is no folder"),
        ("empty", "in the data folder empty"),
    ):
        words = [*READERS[name].split(), f"--data_dir={folder}"]
        with pytest.raises(SystemExit) as stop:
            launch.main(experiment, words)
        assert stop.value.code == 2
        line = one_line(capsys)
        assert line.startswith("--data_dir: ") and reason in line
    assert entries(here) == {"file", "empty"}


def test_every_experiment_that_has_a_folder_of_data_is_tried():
    folder = Path(command_line.FOLDER)
    have = {p.stem for p in folder.glob("[!_]*.py") if "def reads(" in p.read_text()}
    assert have == set(READERS)


def test_files_of_a_set_are_found_in_every_layout(here):
    def make(*names: str) -> None:
        for name in names:
            (here / name).parent.mkdir(parents=True, exist_ok=True)
            (here / name).write_text("")

    def check(name: str) -> None:
        assert inputs.check_data((name,), str(here), bundled="") == ""

    make("cifar10/cifar-10-binary.tar.gz", "ecg/ecg.dat", "uci/iris.tsv.gz")
    make("cifar-100-binary/train.bin")
    for name in ("cifar10", "mitbih", "iris"):
        check(name)
    with pytest.raises(Wrong, match="no test.bin in the data folder"):
        check("cifar100")
    make("cifar-100-binary/test.bin")
    check("cifar100")


def test_without_a_folder_tables_are_refused_and_images_downloaded(here, monkeypatch):
    assert inputs.check_data(("cifar10",), None, bundled="") == ""
    with pytest.raises(Wrong, match=r"no folder for iris.tsv.gz: give --data_dir or"):
        inputs.check_data(("cifar10", "iris"), "", bundled="")
    monkeypatch.setenv(download.ENVIRONMENT, "absent")
    with pytest.raises(Wrong, match="CVXJAX_DATA: absent does not exist"):
        inputs.check_data(("cifar10",), None, bundled="")
    assert inputs.check_data((), None, bundled="") == ""  # what is not read


def test_a_folder_that_is_not_read_is_said(here):
    remark = inputs.check_data((), "empty", bundled="--data=digits")
    assert remark == "--data_dir is not read: --data=digits comes without files"


def test_a_download_that_fails_is_one_line(module, capsys, here, monkeypatch):
    def run(config):
        raise OSError("could not download it")

    monkeypatch.setattr(module, "run", run)
    with pytest.raises(SystemExit) as stop:
        launch.main(module, [])
    assert stop.value.code == 1
    assert capsys.readouterr().err.endswith("\nfake_line: could not download it\n")
