"""Small UCI classification tables, as two classes -1 and +1.

Files are those of PMLB: NAME.tsv.gz, tab-separated, one header line, the class in the
column `target`, everything numeric. They are read from a given folder; nothing is
downloaded.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import numpy as np

from cvxjax.data import download

FloatArray = np.ndarray

UCI_SIZES = {
    "Hill_Valley_with_noise": (1212, 100),
    "australian": (690, 14),
    "balance-scale": (625, 4),
    "breast-cancer": (286, 9),
    "breast-w": (699, 9),
    "crx": (690, 15),
    "dermatology": (366, 34),
    "ecoli": (327, 7),
    "german": (1000, 20),
    "glass": (205, 9),
    "haberman": (306, 3),
    "heart-statlog": (270, 13),
    "hepatitis": (155, 19),
    "horse-colic": (368, 22),
    "house-votes-84": (435, 16),
    "hungarian": (294, 13),
    "ionosphere": (351, 34),
    "iris": (150, 4),
    "kr-vs-kp": (3196, 36),
    "monk1": (556, 6),
    "monk2": (601, 6),
    "monk3": (554, 6),
    "pima": (768, 8),
    "ring": (7400, 20),
    "sonar": (208, 60),
    "spambase": (4601, 57),
    "spect": (267, 22),
    "spectf": (349, 44),
    "tic-tac-toe": (958, 9),
    "twonorm": (7400, 20),
    "vehicle": (846, 18),
    "wdbc": (569, 30),
    "wine-recognition": (178, 13),
}
"""Rows and features of every table that `load_uci` knows."""


def load_uci(
    name: str, data_dir: str | Path | None = None, *, classes: bool = False
) -> tuple[FloatArray, FloatArray]:
    """One table of `UCI_SIZES`, with two classes as -1 and +1.

    Of two classes, the larger label is +1. Of more, the class with the most rows is +1
    (among equals the smallest label) and all others are -1.

    Args:
      name: A key of `UCI_SIZES`.
      data_dir: A folder with uci/NAME.tsv.gz or NAME.tsv.gz; if None, that in the
        environment variable CVXJAX_DATA.
      classes: keep all classes, as the file numbers them.

    Returns:
      X: [n, d], in the file's order and units; no column of ones.
      y: [n], -1 and +1, or the numbers of classes.

    Raises:
      ValueError: No table has that name, or the file is not that table.
      FileNotFoundError: No folder is given, or it or the file does not exist.

    Source: Olson et al., PMLB (2017), MIT licence; the data are those of the UCI
    repository.
    """
    if name not in UCI_SIZES:
        raise ValueError(f"want one of {', '.join(UCI_SIZES)}; got {name!r}")
    folder = download.data_dir(data_dir)
    if folder is None:
        raise FileNotFoundError(
            f"no folder for {name}.tsv.gz: pass data_dir or set {download.ENVIRONMENT}"
        )
    path = download.find(folder, f"uci/{name}.tsv.gz", f"{name}.tsv.gz")
    table, column = _read(path)
    n, d = UCI_SIZES[name]
    if table.shape != (n, d + 1) or not np.all(np.isfinite(table)):
        raise ValueError(
            f"want {n} rows of {d} finite features and a class in {path.name}; "
            f"got an array {list(table.shape)}"
        )
    labels = table[:, column]
    X = np.delete(table, column, axis=1)
    return X, labels if classes else _signs(labels)


def _read(path: Path) -> tuple[FloatArray, int]:
    """The numbers below the header [n, d + 1], and which column is the class."""
    try:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            header = file.readline().rstrip("\n").split("\t")
            if header.count("target") != 1:
                raise ValueError("no single column `target`")
            table = np.loadtxt(file, delimiter="\t", ndmin=2)
    except (ValueError, EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is corrupt or another file: {error}") from error
    return table, header.index("target")


def _signs(labels: FloatArray) -> FloatArray:
    """-1 and +1, as `load_uci` says."""
    values, counts = np.unique(labels, return_counts=True)
    positive = values[-1] if len(values) == 2 else values[np.argmax(counts)]
    return np.where(labels == positive, 1.0, -1.0)
