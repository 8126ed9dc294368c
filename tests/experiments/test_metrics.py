"""The CSV that grows with a run, and its lines of progress."""

from __future__ import annotations

from experiments._convex_sgd import metrics as module

COLUMNS = ("epoch", "loss")


def test_rows_are_on_disk_at_once_and_old_ones_come_first(tmp_path, capsys):
    path = tmp_path / "data" / "run.csv"
    for _ in range(2):  # a second run starts the file anew
        with module.Metrics(path, COLUMNS) as metrics:
            metrics.begin("one", 4, [{"epoch": 0, "loss": 2.0}], done=1)
            metrics.record({"loss": 1.5, "epoch": 2}, "loss 1.5")
            assert path.read_text() == "epoch,loss\n0,2.0\n2,1.5\n"
            metrics.record({"loss": 1.0, "epoch": 4}, "loss 1.0")
    shown = capsys.readouterr().err
    assert "one: epoch 4 of 4, loss 1.0; 0 s, 0 s left" in shown
    assert "epoch 2" not in shown  # lines are some seconds apart, but for the last


def test_lines_of_progress_tell_the_time_left(monkeypatch, capsys):
    monkeypatch.setattr(module, "_SECONDS_BETWEEN_LINES", 0.0)
    with module.Metrics(None, COLUMNS) as metrics:
        metrics.begin("one", 4)
        metrics.record({"epoch": 0, "loss": 2.0}, "loss 2")
        metrics.record({"epoch": 2, "loss": 1.0}, "loss 1")
        metrics.advance(2)
    first, second = capsys.readouterr().err.splitlines()
    assert first.endswith("loss 2; 0 s") and second.endswith("loss 1; 0 s, 0 s left")


def test_other_processes_are_quiet(tmp_path, capsys):
    with module.Metrics(tmp_path / "run.csv", COLUMNS, quiet=True) as metrics:
        metrics.begin("one", 1)
        metrics.record({"epoch": 1, "loss": 1.0}, "loss 1")
    assert capsys.readouterr().err == "" and not list(tmp_path.iterdir())


def test_a_terminal_gets_a_bar(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    with module.Metrics(None, COLUMNS) as metrics:
        for name in ("one", "two"):
            metrics.begin(name, 2)
            metrics.record({"epoch": 1, "loss": 1.0}, "loss 1")
            metrics.advance(1)
    assert "two: loss 1" in capsys.readouterr().err
