"""A file that an earlier version saved: it is certified and predicts as before."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from cvxjax import __main__ as command_line
from tests.command_line.test_commands import csv_of, is_one_error, run

# solve TABLE --positive yes --loss logistic --standardize --beta 0.1 --tol 1e-6 --out
OLD = Path(__file__).with_name("old_weights.npz")
TABLE = """x,price,bought
0.13,1,no\n-0.13,3,no\n0.64,5,yes\n0.1,7,no\n-0.54,9,no
0.36,11,no\n1.3,13,yes\n0.95,15,yes\n-0.7,17,no
"""


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setattr(command_line, "configure_jax", lambda **_: None)
    (tmp_path / "old.csv").write_text(TABLE)
    return tmp_path / "old.csv"


def test_it_is_certified(table, capsys):
    rows, _ = run(["certify", table, OLD, "--tol", 1e-6], capsys)
    assert rows["objective"] == "1.169845408"  # as `solve` printed it
    assert rows["certified gap"].startswith("1.0e-08 (exhaustive: optimal among all")
    assert rows["network"].startswith("objective 1.169845408, certified gap 1.0e-08")
    table.write_text(TABLE.replace("0.64", "0.65"))
    _, err = run(["certify", table, OLD], capsys, 2)
    assert is_one_error(err) and "belong to other data" in err


def test_it_predicts(table, capsys, tmp_path):
    run(["predict", OLD, table, "--out", tmp_path / "p.csv"], capsys)
    found = np.array(csv_of(tmp_path / "p.csv")[1:], float)[:, 0]
    labels = [line.split(",")[2] for line in TABLE.splitlines()[1:]]
    assert np.array_equal(found > 0, np.array(labels) == "yes")
    losses = np.log1p(np.exp(-np.where(found > 0, found, -found)))
    assert 0 < np.sum(losses) < 1.169845408  # the rest of the objective is decay
