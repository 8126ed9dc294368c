"""`python -m cvxjax`: values against the library, exit codes, one-line errors."""

from __future__ import annotations

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import cvxjax as cj
from cvxjax import __main__ as command_line
from cvxjax.command_line import commands
from cvxjax.command_line.reading import InputError
from cvxjax.saving.files import read_arrays, write_arrays

ROOT = Path(__file__).resolve().parents[2]
TOL = 1e-3


@pytest.fixture(autouse=True)
def leave_jax_alone(monkeypatch):
    monkeypatch.setattr(command_line, "configure_jax", lambda **_: None)


def draw(n=12):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 1))
    return X, np.maximum(X[:, 0], 0) + 0.1 * rng.normal(size=n)


def with_ones(X):
    return np.column_stack([X, np.ones(len(X))])


def program_of(X, y, beta, **options):
    patterns = cj.arrangements.enumerate_patterns(X)
    return cj.programs.make_two_layer(X, y, patterns, beta=beta, **options)


def run(line, capsys, code=0):
    """Rows of the output by name, and stderr."""
    capsys.readouterr()
    got = command_line.main([str(word) for word in line])
    out, err = capsys.readouterr()
    assert got == code, err
    return {row[:15].strip(): row[16:] for row in out.splitlines()}, err


def first_number(text):
    return float(re.search(r"-?\d[\d.e+-]*", text.replace(",", ""))[0])


@pytest.fixture
def data(tmp_path):
    X, y = draw()
    np.savez(tmp_path / "data.npz", X=X, y=y)
    return tmp_path / "data.npz"


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A data file, its weights, and what solve printed."""
    folder = tmp_path_factory.mktemp("solved")
    X, y = draw()
    np.savez(folder / "data.npz", X=X, y=y)
    line = ["solve", folder / "data.npz", "--beta", "0.1", "--tol", TOL]
    line += ["--solver", "Admm", "--out", folder / "weights.npz"]
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as out:
        patch.setattr(command_line, "configure_jax", lambda **_: None)
        with contextlib.redirect_stdout(out):
            assert command_line.main([str(word) for word in line]) == 0
        return folder / "data.npz", folder / "weights.npz", out.getvalue()


def test_info_is_the_librarys(data, capsys):
    rows, _ = run(["info", data], capsys)
    X, y = draw()
    program = program_of(with_ones(X), y, 1.0)
    assert rows["samples n"] == "12" and rows["rank"] == "2"
    assert first_number(rows["directions"]) == 12
    assert first_number(rows["pattern bound"]) == len(program.masks) == 24
    assert first_number(rows["beta_max"]) == pytest.approx(program.beta_max(), 1e-7)
    assert rows["dtype"] == "float64" and f"jax {jax.__version__}" in rows["versions"]


def test_solve_is_the_librarys(solved):
    _, path, out = solved
    rows = {row[:15].strip(): row[16:] for row in out.splitlines()}
    X, y = draw()
    program = program_of(with_ones(X), y, 0.1)
    exact = cj.certify(program, cj.solve(program, cj.solvers.Admm(tol=1e-4)))
    assert "float64" in rows["problem"] and rows["patterns"] == "24, every one"
    assert rows["certified gap"].endswith(f"({str(cj.Scope.EXHAUSTIVE.value)}: "
        f"optimal among {cj.Scope.EXHAUSTIVE.networks})")  # fmt: skip
    assert exact.dual - TOL <= first_number(rows["lower bound"]) <= exact.primal
    assert exact.dual <= first_number(rows["objective"]) <= exact.primal + TOL
    assert first_number(rows["certified gap"]) <= TOL
    assert rows["weights"] == str(path)


def test_saved_weights_are_a_network_with_the_printed_objective(solved):
    _, path, out = solved
    rows = {row[:15].strip(): row[16:] for row in out.splitlines()}
    saved, (X, y) = read_arrays(path), draw()
    first, second = saved["first/kernel"], saved["second/kernel"]
    z = np.maximum(with_ones(X) @ first, 0) @ second[:, 0]
    objective = 0.5 * np.sum((z - y) ** 2)
    objective += 0.1 / 2 * (np.sum(first**2) + np.sum(second**2))
    assert first_number(rows["network"]) == pytest.approx(objective, 1e-8)
    assert first_number(rows["neurons"]) == first.shape[1] <= len(y)
    variables = {"params": {k: {"kernel": saved[f"{k}/kernel"]} for k in
                            ("first", "second")}}  # fmt: skip
    network = cj.networks.TwoLayer(num_neurons=None)
    np.testing.assert_allclose(network.apply(variables, with_ones(X)), z, rtol=1e-10)


def test_certify_says_what_solve_said(solved, capsys):
    data, path, out = solved
    rows, _ = run(["certify", data, path, "--tol", TOL], capsys)
    before = {row[:15].strip(): row[16:] for row in out.splitlines()}
    for name in ("objective", "lower bound", "certified gap", "cone violation"):
        assert rows[name] == before[name], name
    assert rows["network"] == before["network"]
    _, err = run(["certify", data, path, "--tol", 1e-12], capsys, 3)
    assert err.startswith("cvxjax: not certified: the gap is ")


@pytest.mark.parametrize(
    ("key", "row"), [("params", "certified gap"), ("second/kernel", "network")]
)
def test_a_worse_point_has_a_larger_gap(solved, capsys, tmp_path, key, row):
    data, path, _ = solved
    write_arrays(tmp_path / "worse.npz", arrays := read_arrays(path))
    before, _ = run(["certify", data, tmp_path / "worse.npz"], capsys)
    write_arrays(tmp_path / "worse.npz", arrays | {key: 1.2 * arrays[key]})
    after, _ = run(["certify", data, tmp_path / "worse.npz"], capsys)

    def gap(rows):
        return float(re.search(r"[\d.]+e[+-]\d+", rows[row])[0])

    assert gap(after) > 2 * gap(before)


def test_a_tampered_dual_proves_nothing_wrong(solved, capsys, tmp_path):
    data, path, _ = solved
    arrays = read_arrays(path)
    true = first_number(run(["certify", data, path], capsys)[0]["objective"])
    changed = {"dual": 3 * arrays["dual"], "multipliers": -arrays["multipliers"]}
    write_arrays(tmp_path / "w.npz", arrays | changed)
    rows, _ = run(["certify", data, tmp_path / "w.npz"], capsys)
    assert first_number(rows["lower bound"]) <= true


def test_every_pattern_is_believed_only_if_listed(solved, capsys, tmp_path):
    data, path, _ = solved
    arrays = read_arrays(path)
    blocks = np.linalg.norm(arrays["params"], axis=-1).sum(axis=0)
    keep = np.arange(len(blocks)) != np.argmin(blocks)
    for key in ("masks", "gates"):
        arrays[key] = arrays[key][keep]
    for key in ("params", "multipliers"):
        arrays[key] = arrays[key][:, keep]
    write_arrays(tmp_path / "fewer.npz", arrays)
    rows, _ = run(["certify", data, tmp_path / "fewer.npz"], capsys)
    assert cj.Scope.SAMPLED.networks in rows["certified gap"]


def test_a_file_claims_no_bound_over_all_networks(solved, capsys, tmp_path):
    """A weights file of few patterns that says "global bound" of itself."""
    data, path, _ = solved
    arrays = read_arrays(path) | {"scope": "global bound"}
    write_arrays(tmp_path / "claim.npz", arrays)
    rows, _ = run(["certify", data, tmp_path / "claim.npz"], capsys)
    assert "(sampled: " in rows["certified gap"]


def test_a_network_outside_the_given_patterns_is_called_so(solved, capsys, tmp_path):
    data, path, _ = solved
    arrays = read_arrays(path)
    arrays |= {"masks": arrays["masks"][:1], "gates": arrays["gates"][:1]}
    arrays |= {key: arrays[key][:, :1] for key in ("params", "multipliers")}
    write_arrays(tmp_path / "one.npz", arrays | {"scope": "sampled"})
    rows, _ = run(["certify", data, tmp_path / "one.npz"], capsys)
    assert "outside the given patterns" in rows["neurons"]


@pytest.mark.parametrize(
    "change",
    [
        {"masks": None},
        {"params": np.zeros((2, 3, 2))},
        {"dual": np.full(12, np.nan)},
        {"beta": np.float64(-1)},
        {"loss": "hinge"},
        {"loss": "unheard-of"},
        {"scope": "everything"},
        {"reading": "{"},
        {"reading": '{"no": 1}'},
        {"first/kernel": np.zeros((3, 1))},
        {"gates": np.ones((24, 2))},
        {"gates": np.ones((24, 2)), "gated": True},
    ],
    ids=str,
)
def test_corrupt_weights_are_refused(solved, capsys, tmp_path, change):
    data, path, _ = solved
    arrays = read_arrays(path) | change
    arrays = {key: value for key, value in arrays.items() if value is not None}
    write_arrays(tmp_path / "w.npz", arrays)
    rows, err = run(["certify", data, tmp_path / "w.npz"], capsys, 2)
    assert not rows and is_one_error(err)


def test_broken_and_foreign_files_are_refused(solved, capsys, tmp_path):
    data, path, _ = solved
    X, y = draw()
    for name, arrays in {
        "X.npz": {"X": X + 1e-9, "y": y},
        "y.npz": {"X": X, "y": -y},
        "n.npz": {"X": X[1:], "y": y[1:]},
    }.items():
        np.savez(tmp_path / name, **arrays)
        _, err = run(["certify", tmp_path / name, path], capsys, 2)
        assert is_one_error(err) and "belong to other data" in err
    whole = path.read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flip.npz").write_bytes(whole[:200] + b"?" + whole[201:])
    for name in ("cut.npz", "flip.npz", "none.npz", "X.npz"):
        _, err = run(["certify", data, tmp_path / name], capsys, 2)
        assert is_one_error(err)


def test_too_few_iterations_print_and_save_all_the_same(data, capsys, tmp_path):
    out = tmp_path / "folder" / "w.npz"
    line = ["solve", data, "--beta", 1e-3, "--gated", "--max_iters", 20]
    rows, err = run([*line, "--out", out], capsys, 3)
    assert "20 iterations: MAX_ITERATIONS" in rows["solver"]
    assert err.startswith("cvxjax: not converged: MAX_ITERATIONS")
    assert len(err.splitlines()) == 1
    again, _ = run(["certify", data, out], capsys)
    assert again["certified gap"] == rows["certified gap"]
    assert "gated ReLU" in again["problem"]


def test_labels_of_text_gated_and_sampled(tmp_path, capsys):
    X, y = draw()
    labels = np.where(y > np.median(y), "yes", "no")
    np.savez(tmp_path / "data.npz", X=X, y=labels)
    line = ["solve", tmp_path / "data.npz", "--loss", "logistic", "--positive", "yes"]
    line += ["--gated", "--beta", 0.1, "--patterns", 7, "--seed", 3, "--tol", 1e-4]
    rows, _ = run([*line, "--out", tmp_path / "w.npz"], capsys)
    X = with_ones(X)
    program = cj.programs.make_two_layer(
        X,
        np.where(labels == "yes", 1.0, -1.0),
        cj.arrangements.sample_patterns(jax.random.key(3), X, num=7),
        beta=0.1,
        loss=cj.losses.logistic(),
        gated=True,
    )
    certificate = cj.certify(program, cj.solve(program, cj.solvers.Fista(tol=1e-8)))
    found = first_number(rows["objective"])
    assert certificate.dual <= found * (1 + 1e-8)
    assert found == pytest.approx(certificate.primal, 1e-4)  # both to their gaps
    assert rows["patterns"].startswith("7 sampled with seed 3")
    assert "sampled" in rows["certified gap"]
    run(["certify", tmp_path / "data.npz", tmp_path / "w.npz", "--tol", 1e-4], capsys)


def test_pinball_keeps_its_quantile_in_the_file(data, tmp_path, capsys):
    line = ["solve", data, "--beta", 0.1, "--patterns", 7, "--gated", "--tol", 1e-4]
    out = tmp_path / "w.npz"
    line += ["--loss", "pinball", "--quantile", 0.8, "--out", out]
    rows, _ = run(line, capsys)
    again, _ = run(["certify", data, out, "--tol", 1e-4], capsys)
    assert "pinball loss" in again["problem"]
    assert again["certified gap"] == rows["certified gap"]
    for loss, quantile in (("pinball", 2), ("squared", 0.5)):
        line = ["solve", data, "--beta", 1, "--loss", loss, "--quantile", quantile]
        assert "want a" in run(line, capsys, 2)[1]


def test_path_is_a_table_of_the_librarys_path(data, capsys, tmp_path):
    line = ["path", data, "--gated", "--num_betas", 3, "--tol", 1e-5]
    capsys.readouterr()
    words = [str(word) for word in [*line, "--out", tmp_path / "path.npz"]]
    assert command_line.main(words) == 0
    table = [row.split() for row in capsys.readouterr().out.splitlines()[2:5]]
    X, y = draw()
    program = program_of(with_ones(X), y, 1.0, gated=True)
    betas = np.geomspace(program.beta_max(), program.beta_max() / 1000, 3)
    path = cj.solve_path(program, betas, cj.solvers.Admm(tol=1e-5))
    saved = read_arrays(tmp_path / "path.npz")
    np.testing.assert_allclose(saved["betas"], betas, rtol=1e-12)
    for beta, solution, objective, row in zip(
        betas, path, saved["objective"], table, strict=True
    ):
        assert float(row[0]) == pytest.approx(beta, 1e-5)
        assert float(row[1]) == pytest.approx(float(solution.objective), 1e-8)
        assert objective == pytest.approx(float(solution.objective), 1e-12)
        assert float(row[2]) <= 1e-5 and row[4] == "CONVERGED"
    assert int(table[0][3]) == 0  # at beta_max the zero network is optimal
    assert saved["params"].shape == (3, *program.shape)


def test_path_takes_betas_and_reports_those_not_reached(data, capsys):
    line = ["path", data, "--gated", "--betas", "1,0.001", "--max_iters", 20]
    _, err = run(line, capsys, 3)
    assert re.fullmatch(r"cvxjax: not certified: the gap at \d of 2 betas .*\n", err)


def test_single_precision(data, capsys, tmp_path):
    line = ["solve", data, "--beta", 0.1, "--gated", "--float32"]
    rows, _ = run([*line, "--out", tmp_path / "w.npz"], capsys)
    assert "float32" in rows["problem"]
    assert read_arrays(tmp_path / "w.npz")["first/kernel"].dtype == np.float32
    run(["certify", data, tmp_path / "w.npz", "--tol", 1e-3], capsys)


def is_one_error(err):
    return re.fullmatch(r"cvxjax: error: .+\n", err) is not None


def test_other_bad_files_are_one_line(tmp_path, capsys):
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe1,2\n")
    (tmp_path / "folder.csv").mkdir()
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    for name in ("cut.npz", "empty.npz", "binary.csv", "folder.csv", "array.npz",
                 "missing.csv", "missing.npz", "data.xlsx"):  # fmt: skip
        _, err = run(["info", tmp_path / name], capsys, 2)
        assert is_one_error(err) and name in err


@pytest.mark.parametrize(
    "line",
    [
        "",
        "frobnicate",
        "solve DATA",
        "solve DATA --beta 0",
        "solve DATA --beta -1",
        "solve DATA --beta nan",
        "solve DATA --beta one",
        "solve DATA --beta 1 --loss l2",
        "solve DATA --beta 1 --loss hinge",
        "solve DATA --beta 1 --los hinge",
        "solve DATA --beta 1 --tol 0",
        "solve DATA --beta 1 --max_iters 0",
        "solve DATA --beta 1 --patterns 0",
        "solve DATA --beta 1 --patterns -3",
        "solve DATA --beta 1 --patterns all",
        "solve DATA --beta 1 --seed -1",
        "solve DATA --beta 1 --label z",
        "solve DATA --beta 1 --positive 3",
        "solve DATA --beta 1 --out weights.txt",
        "solve DATA --beta 1 --out DATA/weights.npz",
        "solve DATA --beta 1 --solver Fista",
        "path DATA --betas 1,0",
        "path DATA --betas 1;2",
        "path DATA --betas 1 --num_betas 2",
        "path DATA --num_betas 0",
        "path DATA --loss interpolation",
        "certify DATA",
        "certify DATA DATA",
        "certify DATA DATA --tol nan",
    ],
)
def test_wrong_flags_are_one_line(data, capsys, line):
    words = line.replace("DATA", str(data)).split()
    _, err = run(words, capsys, 2)
    assert is_one_error(err) and "Traceback" not in err


def test_labels_0_and_1_get_a_hint(tmp_path, capsys):
    np.savez(tmp_path / "data.npz", X=draw()[0], y=np.arange(12) % 2)
    line = ["info", tmp_path / "data.npz", "--loss", "logistic"]
    _, err = run(line, capsys, 2)
    assert "want" in err and "-1 and +1" in err and "--positive LABEL" in err
    run([*line, "--positive", "1"], capsys)


def test_too_many_patterns_to_enumerate(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(60, 9))
    np.savez(tmp_path / "data.npz", X=X, y=X[:, 0])
    line = ["info", tmp_path / "data.npz", "--gated"]
    _, err = run([*line, "--patterns", "enumerate"], capsys, 2)
    assert is_one_error(err) and "--patterns NUMBER" in err
    rows, err = run(line, capsys)
    assert rows["patterns"].startswith("1,000 sampled") and not err


def test_notes_are_one_line_each(data, capsys):
    rows, err = run(["info", data, "--patterns", 500], capsys)
    assert rows["patterns"].startswith("24 sampled")
    assert re.fullmatch(r"cvxjax: note: found 24 distinct patterns .*\n", err)


def test_an_interrupt_is_one_line(data, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cj, "solve", interrupted)
    rows, err = run(["solve", data, "--beta", 1], capsys, 130)
    assert not rows and err == "cvxjax: interrupted\n"


def test_a_failed_write_keeps_the_results(data, capsys, monkeypatch):
    def full(*_, **__):
        raise InputError("disk full")

    monkeypatch.setattr(commands, "save_weights", full)
    line = ["solve", data, "--beta", 10, "--gated", "--out", data.parent / "w.npz"]
    rows, err = run(line, capsys, 2)
    assert "certified gap" in rows and err == "cvxjax: error: disk full\n"
    assert [path.name for path in data.parent.iterdir()] == ["data.npz"]


def test_the_module_runs_in_float64_and_importing_it_changes_nothing(data):
    script = (
        "import runpy, sys, jax, cvxjax.__main__\n"
        "assert not jax.config.jax_enable_x64\n"
        "del sys.modules['cvxjax.__main__']\n"
        "runpy.run_module('cvxjax', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "info", data, "--gated"],
        cwd=ROOT,
        env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
    assert re.search("dtype +float64\n", done.stdout)
