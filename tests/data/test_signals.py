"""Signals, their windows, and files that are given, missing, corrupt or downloaded.

No test leaves this machine: downloads come from a server on the loopback address.
"""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import threading

import numpy as np
import pytest

from cvxjax.data import download, signals


@pytest.fixture
def no_environment(monkeypatch):
    monkeypatch.delenv(download.ENVIRONMENT, raising=False)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setattr(download.pooch, "os_cache", lambda _: folder)
    return folder


@pytest.fixture
def server(tmp_path, monkeypatch):
    """A web server of a folder: (address, folder, names asked for)."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    folder, asked = tmp_path / "served", []
    folder.mkdir()

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            asked.append(self.path)

    handler = functools.partial(Handler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as web:
        thread = threading.Thread(target=web.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{web.server_port}", folder, asked
        web.shutdown()
        thread.join()


@pytest.fixture
def small_record(monkeypatch):
    """Makes a small archive the record that is expected; returns its writer."""
    samples = np.array([1024, 1224, 924], np.uint16)

    def write(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(path, "wb") as file:
            np.savez(file, ecg=samples)
        sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
        monkeypatch.setattr(signals, "_MITBIH_SHA256", sha256)

    return write


def test_hankel_windows():
    X, y = signals.hankel_windows(np.arange(7), 3)
    np.testing.assert_array_equal(X, [[0, 1, 2], [1, 2, 3], [2, 3, 4], [3, 4, 5]])
    np.testing.assert_array_equal(y, [3, 4, 5, 6])
    assert X.dtype == y.dtype == np.float64
    X[0, 1] = 9
    assert X[1, 0] == 1


def test_hankel_windows_refuses():
    for window in (0, 7, -1):
        with pytest.raises(ValueError, match=f"1 <= window < 7; got {window}"):
            signals.hankel_windows(np.arange(7), window)
    with pytest.raises(ValueError, match=r"got shape \(2, 3\)"):
        signals.hankel_windows(np.ones((2, 3)), 1)
    with pytest.raises(ValueError, match="finite"):
        signals.hankel_windows(np.array([0, np.nan, 1]), 1)


def test_forecast_split_is_chronological_and_learns_nothing_of_the_test_part():
    signal = np.random.default_rng(0).standard_normal(50) + 5
    split = signals.forecast_split(signal, 4, train_fraction=0.5)
    assert split.X_train.shape == (23, 4) and split.X_test.shape == (23, 4)
    assert split.mean == pytest.approx(signal[:27].mean())
    assert split.scale == pytest.approx(signal[:27].std())
    whole = np.concatenate([split.X_train[0], split.y_train, split.y_test])
    np.testing.assert_allclose(split.mean + split.scale * whole, signal)
    np.testing.assert_array_equal(split.X_test[0, -1], split.y_train[-1])

    changed = signals.forecast_split(
        np.concatenate([signal[:27], 100 * signal[27:]]), 4, train_fraction=0.5
    )
    np.testing.assert_array_equal(changed.X_train, split.X_train)
    np.testing.assert_array_equal(changed.y_train, split.y_train)
    assert changed.mean == split.mean and changed.scale == split.scale


def test_forecast_split_edges():
    assert signals.forecast_split(np.ones(9), 2).scale == 1.0
    for fraction in (0.0, 0.1, 1.0, 2.0):
        with pytest.raises(ValueError, match=f"got {fraction} of 7"):
            signals.forecast_split(np.ones(9), 2, train_fraction=fraction)


def test_pywavelets_ecg():
    ecg = signals.pywavelets_ecg()
    assert ecg.shape == (1024,) and ecg.dtype == np.float64
    assert (ecg.min(), ecg.max()) == (-112, 250)
    ecg[0] = 0
    assert signals.pywavelets_ecg()[0] == -86


@pytest.mark.skipif(
    not os.environ.get(download.ENVIRONMENT),
    reason="CVXJAX_DATA is not set to a folder with the MIT-BIH record",
)
def test_mitbih_208_is_the_published_record():
    ecg = signals.mitbih_208()
    assert ecg.shape == (108_000,) and ecg.dtype == np.float64
    np.testing.assert_allclose(ecg[:3], [-0.245, -0.215, -0.185])
    assert ecg.mean() == pytest.approx(-0.16510875)
    assert ecg.std() == pytest.approx(0.5992473991177294)


@pytest.mark.parametrize("name", ["ecg/ecg.dat", "ecg.dat"])
@pytest.mark.parametrize("by_environment", [False, True])
def test_mitbih_208_reads_a_given_folder(
    name, by_environment, tmp_path, small_record, monkeypatch, no_environment
):
    small_record(tmp_path / name)
    if by_environment:
        monkeypatch.setenv(download.ENVIRONMENT, str(tmp_path))
    ecg = signals.mitbih_208(None if by_environment else tmp_path)
    np.testing.assert_array_equal(ecg, [0.0, 1.0, -0.5])


def test_a_given_folder_is_never_replaced_by_a_download(
    tmp_path, small_record, monkeypatch, no_environment
):
    monkeypatch.setattr(download, "fetch", lambda *_: pytest.fail("downloaded"))
    with pytest.raises(FileNotFoundError, match="ecg/ecg.dat or ecg.dat"):
        signals.mitbih_208(tmp_path)
    with pytest.raises(FileNotFoundError, match="folder given does not exist"):
        signals.mitbih_208(tmp_path / "absent")
    monkeypatch.setenv(download.ENVIRONMENT, str(tmp_path / "absent"))
    with pytest.raises(FileNotFoundError, match="in CVXJAX_DATA does not exist"):
        signals.mitbih_208()

    path = tmp_path / "ecg.dat"
    small_record(path)
    whole = path.read_bytes()
    for corrupt in (whole[: len(whole) // 2], whole[:-1] + b"?", b""):
        path.write_bytes(corrupt)
        with pytest.raises(ValueError, match=rf"\({len(corrupt)} bytes\) is corrupt"):
            signals.mitbih_208(tmp_path)


def test_mitbih_208_downloads_once(
    server, cache, small_record, monkeypatch, no_environment
):
    address, folder, asked = server
    small_record(folder / "ecg.dat")
    monkeypatch.setattr(signals, "_MITBIH_URL", f"{address}/ecg.dat")
    for _ in range(2):
        np.testing.assert_array_equal(signals.mitbih_208(), [0.0, 1.0, -0.5])
    assert asked == ["/ecg.dat"]
    (cache / "ecg.dat").write_bytes(b"damaged")
    np.testing.assert_array_equal(signals.mitbih_208(), [0.0, 1.0, -0.5])
    assert len(asked) == 2


def test_fetch_shows_progress_to_the_end(server, cache, capsys):
    address, folder, _ = server
    content = bytes(5000)
    (folder / "zeros.bin").write_bytes(content)
    sha256 = hashlib.sha256(content).hexdigest()
    path = download.fetch(f"{address}/zeros.bin", sha256, "kept.bin")
    assert path == cache / "kept.bin" and path.read_bytes() == content
    shown = capsys.readouterr().out
    assert "kept.bin" in shown and "5.0/5.0 kB" in shown


def test_fetch_refuses_another_file_and_keeps_nothing(server, cache):
    address, folder, _ = server
    (folder / "file").write_bytes(b"surprise")
    with pytest.raises(ValueError, match="hash"):
        download.fetch(f"{address}/file", "0" * 64, "file")
    assert not list(cache.iterdir())


def test_fetch_says_what_to_do_when_a_download_fails(server, cache):
    address, _, _ = server
    for url in (f"{address}/absent", "http://127.0.0.1:9/file"):
        with pytest.raises(OSError, match=f"{url}.*set CVXJAX_DATA"):
            download.fetch(url, "0" * 64, "file")


def test_verify(tmp_path):
    path = tmp_path / "file"
    with pytest.raises(FileNotFoundError, match="no file"):
        download.verify(path, "0" * 64)
    path.write_bytes(b"abc")
    sha256 = hashlib.sha256(b"abc").hexdigest()
    assert download.verify(path, sha256.upper()) == path
    with pytest.raises(ValueError, match=f"want SHA-256 {'0' * 64}, got {sha256}"):
        download.verify(path, "0" * 64)
