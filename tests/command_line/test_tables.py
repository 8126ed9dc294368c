"""Files of every kind become tables, and every decision is a line."""

from __future__ import annotations

import gzip

import numpy as np
import pandas as pd
import pytest

from cvxjax.command_line.errors import InputError
from cvxjax.command_line.features import Features, decide_features
from cvxjax.command_line.labels import Labels, decide_labels
from cvxjax.command_line.numbers import to_numbers
from cvxjax.command_line.tables import ReadingFlags, read_table

FRAME = pd.DataFrame({"a": [0.5, 1.5, -2.5, 3.0], "b": [1, 2, 3, 9], "y": list("pqqp")})


def read(folder, text, name="t.csv", **flags):
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(path, ReadingFlags(**flags))


FORMS = {
    "a.csv": FRAME.to_csv(index=False),
    "index.csv": FRAME.to_csv(),
    "comma.csv": FRAME.to_csv(sep=";", decimal=","),
    "t.tsv": FRAME.to_csv(sep="\t", index=False),
    "bar.txt": FRAME.to_csv(sep="|", index=False),
    "t.csv.gz": gzip.compress(FRAME.to_csv().encode()),
    "bom.csv": b"\xef\xbb\xbf" + FRAME.to_csv(index=False).encode(),
    "wide.csv": FRAME.to_csv(index=False).encode("utf-16"),
    "r.txt": '"a" "b" "y"\n"1" 0.5 1 "p"\n"2" 1.5 2 q\n"3" -2.5 3 q\n"4" 3 9 p\n',
    "space.txt": "a   b y\n 0.5 1   p\n1.5 2 q\n-2.5\t3 q\n3.0 9 p\n",
}


@pytest.mark.parametrize("name", FORMS)
def test_one_table_in_many_forms(tmp_path, name):
    table = read(tmp_path, FORMS[name], name)
    assert table.names == ["a", "b", "y"] and table.headed
    np.testing.assert_array_equal(table.numbers[:, :2], FRAME[["a", "b"]])
    assert table.text[:, 2].tolist() == list("pqqp")


@pytest.mark.parametrize(
    ("text", "names", "says"),
    [
        ("0,1,2\n0.5,3,1\n0.1,4,0\n", ["0", "1", "2"], "it counts"),
        (",0,1\n0,0.5,3\n1,0.1,4\n", ["0", "1"], "index column dropped: 0..1"),
        ("0,1,label\n0.5,3,a\n0.1,4,b\n", ["0", "1", "label"], "it counts"),
        ("2019_01,2019_02\n1,2\n3,4\n", ["2019_01", "2019_02"], "header"),
        ("2019,2020,2021\n1,2,3\n3,4,9\n", ["2019", "2020", "2021"], "it counts"),
        ("0,1,1\n0,0,0\n1,0,1\n1,1,0\n", ["x0", "x1", "x2"], "no header"),
        ("1,2,3\n3,1,2\n2,2,1\n", ["x0", "x1", "x2"], "may be one (--header yes)"),
        ("red,yes\nblue,no\nred,no\n", ["x0", "x1"], "occur again"),
        ("colour,ok\nblue,no\nred,no\nblue,yes\n", ["colour", "ok"], "header"),
        ("id,x,y\n1,5,6\n2,6,7\n3,4,5\n4,5,6\n", ["x", "y"], "column 'id' dropped"),
        ("t,x,y\n1,5,6\n2,6,7\n3,4,5\n4,5,6\n", ["t", "x", "y"], "header"),
        ("a,a,b\n1,2,3\n4,5,6\n", ["a", "a.1", "b"], "same name"),
    ],
)
def test_header_and_index_are_decided_and_said(tmp_path, text, names, says):
    table = read(tmp_path, text)
    assert table.names == names
    assert any(says in note for note in table.notes), table.notes


def test_flags_override(tmp_path):
    text = "1;2\n3;4\n"
    assert read(tmp_path, text, header="yes").names == ["1", "2"]
    assert read(tmp_path, FRAME.to_csv(), index_col="none").text.shape == (4, 4)
    table = read(tmp_path, FRAME.to_csv(index=False), drop=("b",), header="yes")
    assert table.names == ["a", "y"]
    assert read(tmp_path, "a:b\n1:2\n", sep=":").names == ["a", "b"]
    assert read(tmp_path, "a;b\n1,5;x\n", decimal=",").numbers[0, 0] == 1.5


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "is empty"),
        ("a,b\n", "no rows"),
        (
            "a,b\n1,2\n\n3\n",
            "want 2 cells in every line, as in line 1; got 1 in line 4",
        ),
        ("a,b\n1,2,3\n1,2\n", "got 3 in line 2"),
        ("a;b\n1.5;2,5\n", "--decimal"),
        (b"\xff\xfe1,2", "corrupt"),
        (b"a,\0\n1,2\n", "binary"),
    ],
)
def test_what_is_no_table_is_one_sentence(tmp_path, text, says):
    with pytest.raises(InputError, match=says):
        read(tmp_path, text)


def test_only_plain_numbers_are_numbers():
    words = "1 -2.5 .5 5. 1e-3 +4 1_2 0x1 inf nan 007 0 0.7 1,5 1e999 -".split()
    found = to_numbers(np.array([words], object))[0]
    plain = [True] * 6 + [False] * 2 + [True, False, False, True, True, False, True]
    assert (~np.isnan(found)).tolist() == [*plain, False]
    assert np.isinf(found[[8, 14]]).all()
    assert to_numbers(np.array([["1,5", "2"]], object), ",")[0].tolist() == [1.5, 2]


def test_features_of_every_kind(tmp_path):
    text = "n,code,city,flag,y\n1,01,Rome,True,0\n,02,Oslo,False,1\n3,01,,True,2\n"
    table = read(tmp_path, text)
    features, kept, notes = decide_features(table.take([0, 1, 2, 3]))
    assert kept.all()
    names = ["n", "code=02", "city=Rome", "flag=True"]
    assert features.names == names
    X = [[1, 0, 1, 1], [2, 1, 0, 0], [3, 0, 0.5, 1]]
    np.testing.assert_array_equal(features.of(table), X)
    assert any("2 missing values (n 1, city 1)" in note for note in notes)
    assert any("3 categorical columns one-hot" in note for note in notes)
    again = Features.from_json(features.as_json())
    assert again == features
    new = read(tmp_path, "flag,city,code,n\nTrue,Lima,02,5\n")
    said = []
    np.testing.assert_array_equal(features.of(new, said), [[5, 1, 0.5, 1]])
    assert said == ["column city: Lima not seen by the fit; taken as missing"]
    with pytest.raises(InputError, match="want the columns of the fit; n not among"):
        features.of(read(tmp_path, "flag,city,code\nTrue,Lima,02\n"))


def test_two_texts_and_what_is_missing_are_three_things(tmp_path):
    """And what the fit has not seen is as what is missing, the mean."""
    table = read(tmp_path, "sex,y\nf,0\nm,1\nm,1\n,5\n")
    features, _, _ = decide_features(table.take([0]))
    X = features.of(table)[:, 0]
    np.testing.assert_allclose(X, [0, 1, 1, 2 / 3])
    said = []
    new = read(tmp_path, "sex,z\nm,0\nd,1\n,1\n", known=("sex",))
    np.testing.assert_allclose(features.of(new, said)[:, 0], [1, 2 / 3, 2 / 3])
    assert said == [
        "columns without use: z",
        "column sex: d not seen by the fit; taken as missing",
        "missing values: means of the fit for sex 1",
    ]


def test_codes_as_numbers_are_the_same_codes(tmp_path):
    table = read(tmp_path, "c,y\n1,0\n2,1\n3,1\n")
    features, _, _ = decide_features(table, categorical=("c",))
    again = features.of(read(tmp_path, "c,y\n1.0,0\n2.0,1\n3.0,1\n"))
    np.testing.assert_array_equal(again, features.of(table))


def test_the_fit_knows_its_header_and_its_columns(tmp_path):
    """Where neither could be told from the file alone."""
    flags = {"known": ("no", "1", "2")}
    table = read(tmp_path, "no,1,2\n0,1,2\n1,2,1\n2,1,1\n3,1,0\n", **flags)
    assert table.names == ["no", "1", "2"] and len(table.text) == 4
    table = read(tmp_path, "2,1\n1,2\n2,1\n", known=("1", "2"))
    assert table.names == ["2", "1"] and len(table.text) == 2
    with pytest.raises(InputError, match="want a header with the columns of the fit"):
        read(tmp_path, "5,6\n1,2\n", known=("1", "2"))


@pytest.mark.parametrize(
    ("cell", "says"),
    [
        ("$1.20", "numbers written as"),
        ("10%", "numbers written as"),
        ('"1,234.56"', "numbers written as"),
        ("12 000", "numbers written as"),
        ("inf", "want a finite number; got 'inf'"),
        ("1e999", "want a finite number"),
    ],
)
def test_numbers_that_are_not_plain_are_refused(tmp_path, cell, says):
    table = read(tmp_path, f"a,b\n1,{cell}\n2,{cell}\n")
    with pytest.raises(InputError, match=says):
        decide_features(table)
    features, _, _ = decide_features(table, categorical=("b",))
    assert features.columns[1].values is not None


def test_texts_of_other_kinds(tmp_path):
    table = read(tmp_path, "caf\xe9,y\n1,2\n".encode("cp1252"))
    assert table.names[0] == "caf\xe9" and "Windows-1252" in table.notes[0]
    table = read(tmp_path, 'n,comment,y\n1,"a; b",3\n2,"c; d",4\n')
    assert table.names == ["n", "comment", "y"]
    table = read(tmp_path, "a,b,\n1,2,\n3,4,\n")
    assert table.names == ["a", "b"]
    table = read(tmp_path, 'a,b\n"1\n2",3\n"x\u2028y",4\n')
    assert table.text[:, 0].tolist() == ["1\n2", "x\u2028y"]


def test_missing_values_dropped_and_refused(tmp_path):
    table = read(tmp_path, "a,b\n1,x\nNA,y\n3,?\n")
    _, kept, _ = decide_features(table, missing="drop")
    assert kept.tolist() == [True, False, False]
    with pytest.raises(InputError, match="2 missing values"):
        decide_features(table, missing="refuse")


def test_text_among_numbers_is_refused_and_names_are_dropped(tmp_path):
    table = read(tmp_path, "a,b\n1,2\n3,oops\n5,6\n7,8\n", header="yes")
    with pytest.raises(InputError, match="column b, row 2: want a number.*'oops'"):
        decide_features(table)
    features, _, _ = decide_features(table, categorical=("b",))
    assert features.names[1:] == ["b=2", "b=6", "b=8", "b=oops"]
    rows = "".join(f"n{i},{i}.5\n" for i in range(80))
    features, _, notes = decide_features(read(tmp_path, "name,v\n" + rows))
    assert features.names == ["v"]
    assert any("mostly distinct, dropped: name (80, such as 'n0')" in n for n in notes)


@pytest.mark.parametrize(
    ("column", "classes", "says"),
    [
        ("yes no yes", ("no", "yes"), "2 classes: no 1, yes 2"),
        ("0 1 0 1", ("0", "1"), "--regress"),
        ("-1 1 1", ("-1", "1"), "2 classes"),
        ("0 1 2 0 1 2", ("0", "1", "2"), "3 classes"),
        ("1.0 2 1 2.0", ("1", "2"), "2 classes: 1 2, 2 2"),
        ("1_2 12 12", ("12", "1_2"), "2 classes"),
        ("3 4 5 3 4 5", None, "a number, 3 to 5 (--classify"),
        ("0.5 1 2", None, "a number"),
        ("0 1 2 3", None, "a number"),
        ("yes yes no yse", ("no", "yes", "yse"), "perhaps misspelt: no, yse"),
    ],
)
def test_labels_are_decided_and_said(tmp_path, column, classes, says):
    table = read(tmp_path, "x,y\n" + "".join(f"0.5,{v}\n" for v in column.split()))
    labels, notes = decide_labels(table, 1)
    assert labels.classes == classes
    assert any(says in note for note in notes), notes
    assert Labels.from_json(labels.as_json()) == labels
    y = labels.of(table, 1)
    if classes is not None:
        found = [classes[k] for k in y]
        assert [w.removesuffix(".0") for w in column.split()] == found


def test_labels_as_the_user_says(tmp_path):
    table = read(tmp_path, "x,y\n1,3\n2,4\n3,5\n")
    labels, _ = decide_labels(table, 1, classify=True)
    assert labels.classes == ("3", "4", "5")
    labels, notes = decide_labels(table, 1, positive="4.0")
    assert labels.of(table, 1).tolist() == [0, 1, 0]
    assert notes == ["label y: 4 1, all other classes 2"]
    with pytest.raises(InputError, match="want --positive.*got 'x'.*3, 4, 5"):
        decide_labels(table, 1, positive="x")
    text = read(tmp_path, "x,y\n1,a\n2,b\n")
    with pytest.raises(InputError, match="row 1: want a finite number; got .a."):
        decide_labels(text, 1, classify=False)
    labels, _ = decide_labels(text, 1)
    with pytest.raises(InputError, match="want a class among a, b; got 'c'"):
        labels.of(read(tmp_path, "x,y\n1,c\n2,b\n"), 1)


def test_arrays_and_what_is_wrong_with_them(tmp_path):
    X = np.arange(6.0).reshape(3, 2)
    np.savez(tmp_path / "d.npz", X=X, y=["a", "b", "a"], z=[1.0, 2.0, 4.0])
    table = read_table(tmp_path / "d.npz", ReadingFlags())
    assert table.names == ["x0", "x1", "y"] and table.text[:, 2].tolist() == list("aba")
    table = read_table(tmp_path / "d.npz", ReadingFlags(label="z"))
    assert table.names[-1] == "z" and table.text[:, 2].tolist() == ["1", "2", "4"]
    for arrays in (
        {"X": X},
        {"X": X, "y": np.ones(2)},
        {"X": X[0], "y": np.ones(2)},
        {"X": X * 1j, "y": np.ones(3)},
        {"X": X, "y": np.array([{}, 1, 2], object)},
        {"X": np.where(X > 4, np.inf, X), "y": np.ones(3)},
    ):
        np.savez(tmp_path / "bad.npz", **arrays)
        with pytest.raises(InputError):
            read_table(tmp_path / "bad.npz", ReadingFlags(label="y"))
