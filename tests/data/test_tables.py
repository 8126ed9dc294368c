"""Tables of UCI: written here in the published layout, and the published ones."""

from __future__ import annotations

import collections
import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from cvxjax.data import download, tables

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FOLDER = Path(os.environ.get(download.ENVIRONMENT) or SHARED)
with_data = pytest.mark.skipif(
    not (FOLDER / "uci").is_dir(), reason="no folder with the UCI tables"
)


def write(path, header, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = ["\t".join(map(str, row)) for row in [header, *rows]]
    path.write_bytes(gzip.compress(("\n".join(lines) + "\n").encode()))


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """A known name whose table has 4 rows and 2 features; returns its writer."""
    monkeypatch.delenv(download.ENVIRONMENT, raising=False)
    monkeypatch.setitem(tables.UCI_SIZES, "iris", (4, 2))

    def make(labels, name="uci/iris.tsv.gz"):
        rows = [(k + 0.5, label, -k) for k, label in enumerate(labels)]
        write(tmp_path / name, ("a", "target", "b"), rows)
        return tmp_path

    return make


def test_the_class_may_stand_anywhere(tiny):
    X, y = tables.load_uci("iris", tiny([2, 1, 1, 2]))
    np.testing.assert_array_equal(X, [[0.5, 0], [1.5, -1], [2.5, -2], [3.5, -3]])
    np.testing.assert_array_equal(y, [1, -1, -1, 1])
    assert X.dtype == y.dtype == np.float64


def test_the_largest_of_several_classes_stands_against_the_rest(tiny):
    _, y = tables.load_uci("iris", tiny([0, 5, 5, 7]))
    np.testing.assert_array_equal(y, [-1, 1, 1, -1])
    _, y = tables.load_uci("iris", tiny([7, 5, 3, 7]))
    np.testing.assert_array_equal(y, [1, -1, -1, 1])
    _, y = tables.load_uci("iris", tiny([3, 2, 4, 1]))
    np.testing.assert_array_equal(y, [-1, -1, -1, 1])


@pytest.mark.parametrize("name", ["uci/iris.tsv.gz", "iris.tsv.gz"])
def test_the_folder_is_given_or_in_the_environment(tiny, name, monkeypatch):
    folder = tiny([0, 1, 1, 0], name)
    _, given = tables.load_uci("iris", folder)
    monkeypatch.setenv(download.ENVIRONMENT, str(folder))
    _, found = tables.load_uci("iris")
    np.testing.assert_array_equal(given, found)


def test_what_is_missing_is_said(tiny, tmp_path):
    with pytest.raises(ValueError, match="want one of .*iris.*; got 'irises'"):
        tables.load_uci("irises", tmp_path)
    with pytest.raises(FileNotFoundError, match="pass data_dir or set CVXJAX_DATA"):
        tables.load_uci("iris")
    with pytest.raises(FileNotFoundError, match="iris.tsv.gz"):
        tables.load_uci("iris", tmp_path)


def test_another_file_is_refused(tiny, tmp_path):
    path = tiny([0, 1, 0, 1]) / "uci" / "iris.tsv.gz"
    whole = path.read_bytes()
    for corrupt in (whole[:-10], b"no gzip", whole[:20] + b"???" + whole[23:]):
        path.write_bytes(corrupt)
        with pytest.raises(ValueError, match="iris.tsv.gz is corrupt or another file"):
            tables.load_uci("iris", tmp_path)
    write(path, ("a", "b", "class"), [(1, 2, 3)] * 4)
    with pytest.raises(ValueError, match="no single column `target`"):
        tables.load_uci("iris", tmp_path)
    for rows in ([(1, 2, 0)] * 3, [(1, 2, 0)] * 3 + [("nan", 2, 1)]):
        write(path, ("a", "b", "target"), rows)
        with pytest.raises(ValueError, match="want 4 rows of 2 finite features"):
            tables.load_uci("iris", tmp_path)


@with_data
@pytest.mark.parametrize("name", ["spect", "glass", "breast-cancer"])
def test_published_tables_hold_what_their_files_say(name):
    X, y = tables.load_uci(name, FOLDER)
    with gzip.open(FOLDER / "uci" / f"{name}.tsv.gz", "rt") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    classes = collections.Counter(float(row["target"]) for row in rows)
    positive = max(classes) if len(classes) == 2 else classes.most_common(1)[0][0]
    assert X.shape == tables.UCI_SIZES[name] == (len(rows), len(rows[0]) - 1)
    for x, sign, row in zip(X, y, rows, strict=True):
        assert sign == (1 if float(row.pop("target")) == positive else -1)
        assert x.tolist() == [float(value) for value in row.values()]


@with_data
def test_class_counts_are_the_published_ones():
    for name, count in {"glass": 76, "iris": 50, "german": 700, "vehicle": 218}.items():
        assert np.sum(tables.load_uci(name, FOLDER)[1] == 1) == count
