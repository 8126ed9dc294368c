"""Five files as people have them, from `info` to `predict`, every reading said."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cvxjax import __main__ as command_line
from tests.command_line.test_commands import csv_of

N = 60


@pytest.fixture(autouse=True)
def leave_jax_alone(monkeypatch):
    monkeypatch.setattr(command_line, "configure_jax", lambda **_: None)


def frame():
    rng = np.random.default_rng(0)
    age, pay = rng.integers(18, 80, N), np.round(rng.lognormal(10, 1, N), 2)
    return pd.DataFrame({"age": age, "pay": pay, "risk": np.round(age / 80 + 0.1, 3)})


def export_with_index(folder):
    frame().to_csv(folder / "t.csv")
    return folder / "t.csv", frame()[["pay", "age"]], [
        "index column dropped: 0..59",
        "label risk: a number",
    ]  # fmt: skip


def german_spreadsheet(folder):
    table = frame().rename(columns={"pay": "L\u00f6hne"})
    text = table.to_csv(index=False, sep=";", decimal=",", lineterminator="\r\n")
    (folder / "t.csv").write_bytes(text.encode("cp1252"))
    return folder / "t.csv", table, [
        "not UTF-8",
        "separator: semicolon",
        "decimal mark: comma",
    ]  # fmt: skip


def survey_with_gaps(folder):
    rng, table = np.random.default_rng(1), frame()
    table["risk"] = np.where(table["age"] < 45, "low", "high")
    table.insert(0, "zip", rng.choice(["01234", "04444", "10001"], N))
    table.insert(1, "member", rng.choice([True, False], N))
    table.loc[[3, 7], "pay"] = np.nan
    table.loc[5, "risk"] = "hihg"
    table.loc[9, "risk"] = np.nan
    table.to_csv(folder / "t.tsv.gz", sep="\t", index=False, na_rep="NA")
    return folder / "t.tsv.gz", table, [
        "rows without a label left out: 1 written 'NA'",
        "label risk: 3 classes: high 35, hihg 1, low 23",
        "perhaps misspelt: hihg",
        "2 missing values written 'NA' (pay 2): the column's mean",
        "2 categorical columns one-hot: zip 3, member 2",
    ]  # fmt: skip


def codes_without_header(folder):
    rng = np.random.default_rng(2)
    codes = np.arange(N) % 4
    X = np.eye(4)[codes] + 0.2 * rng.normal(size=(N, 4))
    table = pd.DataFrame(np.column_stack([np.round(X, 3), codes]))
    table.to_csv(folder / "t.txt", sep=" ", header=False, index=False)
    return folder / "t.txt", table, [
        "no header: the first line is like the others",
        "label x4: 4 classes: 0 15, 1 15, 2 15, 3 15",
    ]  # fmt: skip


def years_in_the_header(folder):
    rng = np.random.default_rng(3)
    table = pd.DataFrame(rng.normal(size=(N, 3)), columns=["2001", "2002", "2003"])
    table["2004"] = np.maximum(table["2001"], 0) - table["2003"]
    table.to_csv(folder / "t.csv", index=False)
    return folder / "t.csv", table, [
        "header: 2001, 2002, 2003, 2004 (it counts)",
        "label 2004: a number",
    ]  # fmt: skip


FILES = [
    export_with_index,
    german_spreadsheet,
    survey_with_gaps,
    codes_without_header,
    years_in_the_header,
]


@pytest.mark.parametrize("make", FILES, ids=lambda make: make.__name__)
def test_from_info_to_predict(tmp_path, capsys, make):
    path, new, said = make(tmp_path)
    model, out = tmp_path / "m.npz", tmp_path / "p.csv"
    for line in (["info", path], ["fit", path, "--out", model, "--beta", "0.1"]):
        assert command_line.main([*map(str, line)]) in (0, 3)
        text = capsys.readouterr().out
        for words in said:
            assert words in text
    again = tmp_path / "new.csv"
    header = make is not codes_without_header
    new.to_csv(again, index=False, header=header)
    line = ["predict", model, again, "--sep", ",", "--decimal", ".", "--out", out]
    assert command_line.main([*map(str, line)]) == 0
    rows = csv_of(out)
    assert rows[0][0] == "prediction" and len(rows) == N + 1
    if make in (codes_without_header, years_in_the_header):
        score = float(capsys.readouterr().out.split("score: ")[1].split()[1])
        assert score > 0.9
