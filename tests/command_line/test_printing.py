"""Progress and its stopwatch."""

from __future__ import annotations

import jax
import numpy as np
import pytest

from cvxjax.command_line import printing as command_line_output


def test_progress_goes_from_the_first_gap_to_tol(capsys, monkeypatch):
    monkeypatch.setattr(command_line_output, "_SECONDS_BETWEEN_LINES", 0.0)
    with command_line_output.progress(1e-4) as report:
        report(50, 2.0, 1.0, 0.5)
    out, err = capsys.readouterr()
    assert not out and "iteration 50, objective 2, lower bound 1, gap 5.0e-01" in err
    way = command_line_output._way
    assert way(1.0, 1.0, 1e-4) == 0 and way(1.0, 1e-2, 1e-4) == pytest.approx(0.5)
    assert way(1.0, 1e-5, 1e-4) == way(1e-6, 1e-6, 1e-4) == way(1.0, 0.0, 1e-4) == 1
    assert way(np.inf, np.inf, 1e-4) == 0


def test_the_bar_of_a_terminal(capsys, monkeypatch):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    with command_line_output.progress(1e-4) as report:
        report(50, 2.0, 1.0, 0.5)
    assert "iteration 50" in capsys.readouterr().err


def test_the_stopwatch_sees_compilation():
    with command_line_output.Stopwatch() as watch:
        jax.block_until_ready(jax.jit(lambda x: x * 3 + np.float64(7.5))(1.0))
    assert 0 < watch.compiling <= watch.seconds + 0.01
