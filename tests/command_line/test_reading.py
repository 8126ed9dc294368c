"""Files become X and y, the same for every form, or one clear line."""

from __future__ import annotations

import re

import numpy as np
import pytest

from cvxjax.command_line.reading import Data, InputError, Reading, read_data


def write(folder, name, text):
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_csv_forms_of_the_same_data(tmp_path):
    forms = {
        "plain.csv": ("1,2,5\n3,4,6\n", None),
        "header.csv": ("a,b,price\n1,2,5\n3,4,6\n", "price"),
        "first.csv": ("price,a,b\r\n5, 1,2\r\n\r\n6, 3,4\r\n", "price"),
        "middle.csv": ('\ufeffa,"the price",b\n1,5,2\n3,6,4', "the price"),
        "index.csv": ("1,5,2\n3,6,4\n", "1"),
        "from_the_end.csv": ("a,b,c\n1,5,2\n3,6,4\n", "-2"),
    }
    for name, (text, label) in forms.items():
        path = write(tmp_path, name, text)
        data = read_data(path, Reading(label=label, bias=False))
        np.testing.assert_array_equal(data.X, [[1, 2], [3, 4]], err_msg=name)
        np.testing.assert_array_equal(data.y, [5, 6], err_msg=name)
    header = read_data(tmp_path / "middle.csv", Reading(label="the price"))
    assert header.columns == ["a", "b", "1"]
    np.testing.assert_array_equal(header.X[:, 2], 1)


def test_positive_maps_text_and_numbers(tmp_path):
    for text, positive in (("1,a\n2,b\n3,c\n", "b"), ("1,0\n2,1.0\n3,0\n", "1")):
        path = write(tmp_path, "data.csv", text)
        data = read_data(path, Reading(positive=positive))
        np.testing.assert_array_equal(data.y, [-1, 1, -1])


def test_standardized_columns_and_what_undoes_them(tmp_path):
    X = np.array([[1.0, 7.0], [3.0, 7.0], [8.0, 7.0]])
    np.savez(tmp_path / "data.npz", X=X, y=np.ones(3))
    data = read_data(tmp_path / "data.npz", Reading(standardize=True))
    np.testing.assert_allclose(data.X[:, 0].mean(), 0, atol=1e-15)
    np.testing.assert_allclose(data.X[:, 0].std(), 1)
    np.testing.assert_array_equal(data.X[:, 1:], [[0, 1]] * 3)
    ones = np.ones((3, 1))
    undone = data.X * data.scale + data.mean
    np.testing.assert_allclose(undone, np.hstack([X, ones]))


def test_fingerprints_tell_data_apart():
    def of(X, y):
        X = np.array(X, float)
        return Data(X, np.array(y, float), [], X[0], X[0]).fingerprint()

    prints = [of([[1, 2]], [3]), of([[1], [2]], [3, 3]), of([[1, 3]], [2])]
    assert len(set(prints)) == 3
    assert of([[0.0, 1]], [1]) == of([[-0.0, 1]], [1])


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("\n\n", "empty"),
        ("a,b\n", "a header and no data"),
        ("1,2\n3\n", "got 1 in line 2"),
        ("1,2\nx,4\n", "line 2, column x0: want a number; got 'x'"),
        ("a,b\n1,2\n,4\n", "line 3, column a: want a number; got ''"),
        ("1,2\nnan,4\n", "X has 1 infinite or NaN"),
        ("1,2\n3,inf\n", "y has 1 infinite or NaN"),
        ("1,2\n3,\n", "line 2 has no label"),
        ("1,up\n3,down\n", "got 'up' (--positive LABEL"),
        ("1\n2\n", "two columns or more"),
        ('"1,2\n', "corrupt"),
    ],
)
def test_a_bad_csv_is_refused(tmp_path, text, said):
    with pytest.raises(InputError, match=re.escape(said)):
        read_data(write(tmp_path, "data.csv", text), Reading())


@pytest.mark.parametrize(
    "arrays",
    [
        {},
        {"X": np.ones((3, 2))},
        {"X": np.ones((3, 2)), "labels": np.ones(3)},
        {"X": np.ones(3), "y": np.ones(3)},
        {"X": np.ones((3, 2)), "y": np.ones(2)},
        {"X": np.ones((0, 2)), "y": np.ones(0)},
        {"X": np.ones((3, 2)), "y": np.ones(3) * 1j},
        {"X": np.full((3, 2), "a"), "y": np.ones(3)},
        {"X": np.array([[None]]), "y": np.ones(1)},
    ],
    ids=str,
)
def test_a_bad_npz_is_refused(tmp_path, arrays):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(InputError, match="want|corrupt"):
        read_data(tmp_path / "data.npz", Reading())
