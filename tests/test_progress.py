"""The status line and the progress of long commands."""

from __future__ import annotations

import contextlib
import io
import sys
import time

import pytest

from synthray.progress import Progress, StatusLine, duration
from tests.waiting import wait_for


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def use_terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Replace stderr. Called by each test, because pytest sets stderr again after its fixtures."""
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    return terminal


def test_progress_in_a_log_prints_a_line_every_5_s_and_at_the_end(
    clock: list[float], capsys: pytest.CaptureFixture
) -> None:
    with Progress("converting", 20, "batches") as progress:
        for _ in range(20):
            clock[0] += 1
            progress.advance()
    assert capsys.readouterr().err.splitlines() == [
        "converting: 6 of 20 batches, 1.0/s, 14.0 s left",
        "converting: 12 of 20 batches, 1.0/s, 8.0 s left",
        "converting: 18 of 20 batches, 1.0/s, 2.0 s left",
        "converting: 20 of 20 batches in 20.0 s",
    ]


def test_progress_estimates_nothing_from_the_first_items(clock: list[float], capsys: pytest.CaptureFixture) -> None:
    with Progress("converting", 3500, "batches") as progress:
        clock[0] += 6
        progress.advance(32)
    assert capsys.readouterr().err.splitlines()[0] == "converting: 32 of 3,500 batches"


def test_progress_on_a_terminal_replaces_its_line(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    with Progress("making", 2, "batches") as progress:
        clock[0] += 0.2
        progress.advance()
        progress.advance()  # not due
    assert terminal.getvalue() == (
        "\rmaking: 1 of 2 batches, 5.0/s, 0.2 s left\x1b[K\rmaking: 2 of 2 batches in 0.2 s\x1b[K\n"
    )


def test_progress_on_an_error_leaves_the_line_on_the_terminal(
    clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = use_terminal(monkeypatch)
    with contextlib.suppress(ValueError), Progress("making", 2, "batches") as progress:
        clock[0] += 0.2
        progress.advance()
        raise ValueError
    assert terminal.getvalue().endswith("left\x1b[K\n")


def test_status_line_on_a_terminal_is_cleared_once(clock: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = use_terminal(monkeypatch)
    line = StatusLine()
    line.clear()
    line.show("text")
    line.show("text")
    line.clear()
    line.clear()
    assert terminal.getvalue() == "\rtext\x1b[K\r\x1b[K"


@pytest.mark.parametrize(("seconds", "text"), [(4.24, "4.2 s"), (185, "3 min 05 s"), (7200, "2 h 00 min")])
def test_duration(seconds: float, text: str) -> None:
    assert duration(seconds) == text


@pytest.mark.faults
def test_progress_says_that_nothing_finishes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("synthray.progress._SILENT_S", 0.4)
    with Progress("converting", 9, "batches") as counter:
        counter.advance(3)
        counter._line._interval_s = 0.0
        wait_for(lambda: "none finished" in capsys.readouterr().err)
        counter.advance(6)
    assert "none finished" not in capsys.readouterr().err
    assert not counter._watcher.is_alive()
