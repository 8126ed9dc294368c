"""`cvxjax`: values against the library, files, exit codes, one-line errors."""

from __future__ import annotations

import contextlib
import csv
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
from cvxjax.command_line import fit
from cvxjax.estimators import ReLUClassifier, ReLURegressor
from cvxjax.saving.files import read_arrays, write_arrays

ROOT = Path(__file__).resolve().parents[2]
TOL = 1e-4
PLAIN = ["--absolute_beta", "--nointercept", "--nostandardize"]  # the library's program


@pytest.fixture(autouse=True)
def leave_jax_alone(monkeypatch):
    monkeypatch.setattr(command_line, "configure_jax", lambda **_: None)


def draw(n=12):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, 1))
    return X, np.maximum(X[:, 0], 0) + 0.1 * rng.normal(size=n)


def save_csv(path, X, y, names=None):
    names = names or [*(f"v{j}" for j in range(X.shape[1])), "y"]
    lines = [",".join(names)]
    for row, label in zip(X, y, strict=True):
        lines.append(",".join([*(f"{v:.17g}" for v in row), str(label)]))
    path.write_text("\n".join(lines) + "\n")
    return path


def csv_of(path):
    return list(csv.reader(path.read_text().splitlines()))


def program_of(X, y, beta, **options):
    X = np.column_stack([X, np.ones(len(X))])
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


def is_one_error(err):
    return re.fullmatch(r"cvxjax: error: .+\n", err) is not None


@pytest.fixture
def data(tmp_path):
    X, y = draw()
    np.savez(tmp_path / "data.npz", X=X, y=y)
    return tmp_path / "data.npz"


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """A table, its network in a file, and what `fit` printed."""
    folder = tmp_path_factory.mktemp("solved")
    path = save_csv(folder / "data.csv", *draw())
    line = ["fit", path, "--beta", "0.1", "--tol", TOL, *PLAIN]
    line += ["--out", folder / "model.npz"]
    with pytest.MonkeyPatch.context() as patch, io.StringIO() as out:
        patch.setattr(command_line, "configure_jax", lambda **_: None)
        with contextlib.redirect_stdout(out):
            assert command_line.main([str(word) for word in line]) == 0
        return path, folder / "model.npz", out.getvalue()


def test_info_is_the_librarys(data, capsys):
    rows, _ = run(["info", data, *PLAIN], capsys)
    X, y = draw()
    program = program_of(X, y, 1.0)
    assert rows["samples n"] == "12" and rows["rank"].startswith("2 with")
    assert first_number(rows["directions"]) == 12
    assert first_number(rows["pattern bound"]) == len(program.masks) == 24
    assert first_number(rows["beta_max"]) == pytest.approx(program.beta_max(), 1e-5)
    assert f"jax {jax.__version__}" in rows["versions"]
    rows, _ = run(["info", data, "--loss", "pinball", "--quantile", 0.3], capsys)
    model = ReLURegressor(1.0, loss="pinball", quantile=0.3).fit(X, y)
    assert first_number(rows["beta_max"]) == pytest.approx(model.beta_max_[0], 1e-5)


def test_fit_is_the_librarys(solved):
    _, path, out = solved
    rows = {row[:15].strip(): row[16:] for row in out.splitlines()}
    program = program_of(*draw(), 0.1)
    exact = cj.certify(program, cj.solve(program))
    assert "float64" in rows["problem"]
    assert rows["certified gap"].endswith(f"({cj.Scope.EXHAUSTIVE.value}: "
        f"optimal among {cj.Scope.EXHAUSTIVE.networks})")  # fmt: skip
    assert exact.dual - TOL <= first_number(rows["lower bound"]) <= exact.primal
    assert exact.dual - 1e-9 <= first_number(rows["objective"]) <= exact.primal + TOL
    assert first_number(rows["certified gap"]) <= TOL
    assert rows["weights"] == str(path)


def test_the_saved_network_has_the_printed_objective(solved):
    _, path, out = solved
    rows = {row[:15].strip(): row[16:] for row in out.splitlines()}
    saved, (X, y) = read_arrays(path), draw()
    first, second = saved["first/kernel"], saved["second/kernel"]
    X = np.column_stack([X, np.ones(len(X))])
    z = np.maximum(X @ first, 0) @ second[:, 0]
    objective = 0.5 * np.sum((z - y) ** 2)
    objective += 0.1 / 2 * (np.sum(first**2) + np.sum(second**2))
    assert first_number(rows["network"]) == pytest.approx(objective, 1e-8)
    assert first_number(rows["neurons"]) == first.shape[1]


def test_certify_says_what_fit_said(solved, capsys):
    data, path, out = solved
    rows, _ = run(["certify", data, path, "--tol", TOL], capsys)
    before = {row[:15].strip(): row[16:] for row in out.splitlines()}
    for name in ("objective", "lower bound", "certified gap", "network", "problem"):
        assert rows[name].split(", 0")[0] in before[name], name
    again, _ = run(["certify", path, data], capsys)  # in the other order
    assert again["objective"] == rows["objective"]
    _, err = run(["certify", data, path, "--tol", 1e-15], capsys, 3)
    assert err.startswith("cvxjax: not certified: the gap is ")


def test_predictions_are_the_networks(solved, capsys, tmp_path):
    data, path, _ = solved
    X, y = draw()
    model = ReLURegressor(
        0.1, relative_beta=False, fit_intercept=False, standardize=False, tol=TOL
    ).fit(X, y)
    run(["predict", path, data, "--out", tmp_path / "p.csv"], capsys)
    rows = csv_of(tmp_path / "p.csv")
    assert rows[0] == ["prediction"]
    found = np.array(rows[1:], float)[:, 0]
    np.testing.assert_allclose(found, model.predict(X), atol=1e-3)
    new = tmp_path / "new.csv"
    new.write_text("other,v0\n1,0.5\n2,-3\n")  # by name, without labels
    run(["predict", path, new, "--out", tmp_path / "q.csv"], capsys)
    found = np.array(csv_of(tmp_path / "q.csv")[1:], float)
    np.testing.assert_allclose(
        found[:, 0], model.predict(np.array([[0.5], [-3]])), atol=1e-3
    )
    assert command_line.main(["predict", str(path), str(new)]) == 0
    assert capsys.readouterr().out == (tmp_path / "q.csv").read_text()
    new.write_text("v1\n1\n2\n")
    assert "want" in run(["predict", path, new], capsys, 2)[1]


@pytest.mark.parametrize(
    ("key", "row"), [("part0/params", "certified gap"), ("second/kernel", "network")]
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
    arrays["part0/dual"] = 3 * arrays["part0/dual"]
    if "part0/multipliers" in arrays:
        arrays["part0/multipliers"] = -arrays["part0/multipliers"]
    write_arrays(tmp_path / "w.npz", arrays)
    rows, _ = run(["certify", data, tmp_path / "w.npz"], capsys)
    assert first_number(rows["lower bound"]) <= true


def test_another_scaling_or_intercept_is_not_certified(solved, capsys, tmp_path):
    data, path, _ = solved
    arrays = read_arrays(path)
    write_arrays(tmp_path / "w.npz", arrays | {"scale": 7 * arrays["scale"]})
    _, err = run(["certify", data, tmp_path / "w.npz"], capsys, 2)
    assert is_one_error(err) and "its scaling is not that of" in err
    write_arrays(tmp_path / "w.npz", arrays | {"intercept": arrays["intercept"] + 9.0})
    _, err = run(["certify", data, tmp_path / "w.npz", "--tol", 1e-3], capsys, 3)
    assert "not certified: the gap is " in err


def test_a_wide_table_is_certified_in_the_span_of_its_rows(tmp_path, capsys):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(8, 20))
    table = save_csv(tmp_path / "wide.csv", X, X[:, 0] + X[:, 1])
    rows, _ = run(["fit", table, "--patterns", 9, "--out", tmp_path / "m.npz"], capsys)
    again, _ = run(["certify", table, tmp_path / "m.npz"], capsys)
    for name in ("objective", "network", "neurons"):
        assert again[name] == rows[name]
    arrays = read_arrays(tmp_path / "m.npz")
    turned = np.linalg.qr(rng.normal(size=arrays["part0/basis"].shape))[0]
    write_arrays(tmp_path / "w.npz", arrays | {"part0/basis": turned})
    _, err = run(["certify", table, tmp_path / "w.npz"], capsys, 2)
    assert is_one_error(err) and "no orthonormal basis of the samples" in err


def test_every_pattern_is_believed_only_if_listed(solved, capsys, tmp_path):
    data, path, _ = solved
    arrays = read_arrays(path)
    blocks = np.linalg.norm(arrays["part0/params"], axis=-1).sum(axis=0)
    keep = np.arange(len(blocks)) != np.argmin(blocks)
    for key in ("masks", "gates"):
        arrays[f"part0/{key}"] = arrays[f"part0/{key}"][keep]
    for key in ("params", "multipliers"):
        if f"part0/{key}" in arrays:
            arrays[f"part0/{key}"] = arrays[f"part0/{key}"][:, keep]
    write_arrays(tmp_path / "fewer.npz", arrays)
    rows, _ = run(["certify", data, tmp_path / "fewer.npz"], capsys)
    assert cj.Scope.SAMPLED.networks in rows["certified gap"]


@pytest.mark.parametrize(
    "change",
    [
        {"part0/masks": None},
        {"part0/params": np.zeros((2, 3, 2))},
        {"part0/params": None},
        {"part0/dual": np.full(12, np.nan)},
        {"part0/beta": np.float64(-1)},
        {"part0/scope": "everything"},
        {"model": "{"},
        {"model": '{"format": 3}'},
        {"model": "[1, 2]"},
        {"scale": np.zeros(1)},
        {"intercept": np.zeros(2)},
        {"first/kernel": np.zeros((3, 1))},
        {"rows": np.ones(3, bool)},
        {"mean": np.array(["a"])},
    ],
    ids=str,
)
def test_corrupt_files_are_refused(solved, capsys, tmp_path, change):
    data, path, _ = solved
    arrays = read_arrays(path) | change
    arrays = {key: value for key, value in arrays.items() if value is not None}
    write_arrays(tmp_path / "w.npz", arrays)
    _, err = run(["certify", data, tmp_path / "w.npz"], capsys, 2)
    assert is_one_error(err), err


def test_broken_and_foreign_files_are_refused(solved, capsys, tmp_path):
    data, path, _ = solved
    X, y = draw()
    for k, (A, b) in enumerate([(X + 1e-9, y), (X, -y), (X[1:], y[1:])]):
        other = save_csv(tmp_path / f"{k}.csv", A, b)
        _, err = run(["certify", other, path], capsys, 2)
        assert is_one_error(err) and "belong to other data" in err
    whole = path.read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "flip.npz").write_bytes(whole[:200] + b"?" + whole[201:])
    for name in ("cut.npz", "flip.npz", "none.npz"):
        for line in (["certify", data, tmp_path / name],
                     ["predict", tmp_path / name, data]):  # fmt: skip
            assert is_one_error(run(line, capsys, 2)[1])


def test_classes_path_cv_and_holdout(tmp_path, capsys):
    """Text labels of three classes, from `path` to `predict`, beside the library."""
    rng = np.random.default_rng(1)
    X = np.round(rng.normal(size=(18, 1)), 1)
    y = np.array(["low", "mid", "top"])[np.digitize(X[:, 0], [-0.5, 0.5])]
    path, out = save_csv(tmp_path / "c.csv", X, y), tmp_path / "p.npz"
    line = ["path", path, "--betas", "0.1,0.5", "--holdout", 0.3, "--out", out]
    line += ["--time_limit", "none"]
    assert command_line.main([str(word) for word in line]) == 0
    table = capsys.readouterr().out
    assert "label y: 3 classes: " in table and "test accuracy" in table
    saved = read_arrays(out)
    np.testing.assert_array_equal(saved["betas"], [0.5, 0.1])
    run(["certify", path, out, "--tol", 0.05], capsys)
    for beta in (0.5, 0.1):
        line = ["predict", out, path, "--beta", beta, "--out", tmp_path / "p.csv"]
        assert command_line.main([str(word) for word in line]) == 0
        rows = csv_of(tmp_path / "p.csv")
        assert rows[0] == ["prediction", "p_low", "p_mid", "p_top"]
        found = np.array([row[0] for row in rows[1:]])
        model = ReLUClassifier(beta).fit(X[saved["rows"]], y[saved["rows"]])
        assert np.mean(found == model.predict(X)) > 0.9
    for kind in ("fit", "path", "neurons"):
        picture = tmp_path / f"{kind}.png"
        run(["plot", out, path, "--kind", kind, "--out", picture], capsys)
        assert picture.read_bytes().startswith(b"\x89PNG")
    _, err = run(
        ["plot", out, path, "--kind", "residuals", "--out", picture], capsys, 2
    )
    assert is_one_error(err)


def test_cross_validation_chooses_and_saves(tmp_path, capsys):
    path, out = save_csv(tmp_path / "d.csv", *draw(24)), tmp_path / "m.npz"
    line = ["cv", path, "--betas", "0.5,0.05", "--folds", 3, "--out", out]
    assert command_line.main([str(word) for word in line]) == 0
    text = capsys.readouterr().out
    assert text.count("chosen") == 1 and read_arrays(out)["scores"].shape == (3, 2)
    run(["certify", path, out], capsys)
    for kind in ("fit", "residuals"):
        picture = tmp_path / f"{kind}.svg"
        run(["plot", out, path, "--kind", kind, "--out", picture], capsys)
        assert "<svg" in picture.read_text()
    rows, _ = run(["fit", path, "--cv", 3, "--holdout", 0.25], capsys)
    assert "of 3 folds" in rows["cross-validated"]
    assert "rows held out (a constant scores" in rows["test score"]
    for line in (["fit", path, "--cv", 99], ["cv", path, "--folds", 1]):
        assert is_one_error(run(line, capsys, 2)[1])


def test_the_score_of_predict_is_said(solved, capsys, tmp_path):
    data, path, _ = solved
    line = ["predict", path, data, "--out", tmp_path / "p.csv"]
    assert command_line.main([str(word) for word in line]) == 0
    assert "score: R^2 0.9" in capsys.readouterr().out


def test_too_few_iterations_print_and_save_all_the_same(data, capsys, tmp_path):
    out = tmp_path / "folder" / "w.npz"
    line = ["solve", data, "--beta", 1e-3, "--gated", "--patterns", 20]
    line += ["--solver", "Fista", "--max_iters", 3, "--tol", 1e-8]
    rows, err = run([*line, "--out", out], capsys, 3)
    assert rows["status"].startswith("MAX_ITERATIONS")
    assert "not converged: MAX_ITERATIONS" in err
    again, _ = run(["certify", data, out], capsys)
    assert again["certified gap"].split(" (")[0] in rows["certified gap"]
    assert "gated ReLU" in again["problem"] and "gated ReLU" in rows["problem"]


def test_pinball_and_single_precision_are_kept_in_the_file(data, tmp_path, capsys):
    out = tmp_path / "w.npz"
    line = ["fit", data, "--beta", 0.1, "--patterns", 7, "--float32", "--tol", 1e-2]
    line += ["--loss", "pinball", "--quantile", 0.8, "--out", out]
    rows, _ = run(line, capsys)
    again, _ = run(["certify", data, out, "--tol", 0.02], capsys)
    assert "pinball" in again["problem"] and "float32" in again["problem"]
    assert again["objective"] == rows["objective"]
    assert "sampled" in again["certified gap"]


@pytest.mark.parametrize(
    "line",
    [
        "",
        "frobnicate",
        "fit",
        "fit DATA --beta 0",
        "fit DATA --beta nan",
        "fit DATA --loss l2",
        "fit DATA --loss hinge",
        "fit DATA --los hinge",
        "fit DATA --tol 0",
        "fit DATA --solver Fista --max_iters 0",
        "fit DATA --max_iters 5",
        "fit DATA --solver Nothing",
        "fit DATA --patterns 0",
        "fit DATA --patterns all",
        "fit DATA --seed -1",
        "fit DATA --label z",
        "fit DATA --positive 3",
        "fit DATA --quantile 0.5",
        "fit DATA --loss pinball --quantile 2",
        "fit DATA --softmax",
        "fit DATA --holdout 1",
        "fit DATA --time_limit 0",
        "fit DATA --out weights.txt",
        "fit DATA --out DATA",
        "fit DATA --out DATA/weights.npz",
        "fit DATA --drop nothing",
        "path DATA --betas 1,0",
        "path DATA --betas 1;2",
        "path DATA --betas 1 --num_betas 2",
        "path DATA --num_betas 0",
        "path DATA --absolute_beta",
        "certify DATA",
        "certify DATA DATA",
        "certify DATA DATA --tol nan",
        "predict DATA DATA",
        "plot DATA DATA --out a.png",
        "plot DATA DATA",
    ],
)
def test_wrong_flags_are_one_line(data, capsys, line):
    words = line.replace("DATA", str(data)).split()
    _, err = run(words, capsys, 2)
    assert is_one_error(err) and "Traceback" not in err


def test_bad_files_are_one_line(tmp_path, capsys):
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    (tmp_path / "empty.npz").write_bytes(b"")
    (tmp_path / "folder.csv").mkdir()
    np.save(tmp_path / "array.npy", np.ones(3))
    (tmp_path / "array.npy").rename(tmp_path / "array.npz")
    (tmp_path / "bad.tsv.gz").write_bytes(b"\x1f\x8bnothing")
    for name in ("cut.npz", "empty.npz", "folder.csv", "array.npz", "bad.tsv.gz",
                 "missing.csv", "missing.npz"):  # fmt: skip
        _, err = run(["info", tmp_path / name], capsys, 2)
        assert is_one_error(err) and name in err


def test_an_interrupt_is_one_line(data, capsys, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cj, "solve", interrupted)
    rows, err = run(["fit", data], capsys, 130)
    assert not rows and err == "cvxjax: interrupted: there is no network yet\n"


def test_a_failed_write_keeps_the_results(data, capsys, monkeypatch):
    def full(*_, **__):
        raise OSError("disk full")

    monkeypatch.setattr(fit, "save_model", full)
    line = ["fit", data, "--gated", "--patterns", 5, "--out", data.parent / "w.npz"]
    rows, err = run(line, capsys, 2)
    assert "certified gap" in rows and err == "cvxjax: error: disk full\n"
    assert [path.name for path in data.parent.iterdir()] == ["data.npz"]


def test_the_module_sets_float64_and_importing_it_changes_nothing(data):
    script = (
        "import runpy, sys, cvxjax.__main__\n"
        "assert 'jax' not in sys.modules\n"
        "import jax\n"
        "assert not jax.config.jax_enable_x64\n"
        "del sys.modules['cvxjax.__main__']\n"
        "try:\n"
        "    runpy.run_module('cvxjax', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "assert jax.config.jax_enable_x64\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "info", data, "--gated"],
        cwd=ROOT,
        env={**os.environ, "JAX_ENABLE_COMPILATION_CACHE": "0"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0 and not done.stderr, done.stderr
