"""Training progress: a moving line on a terminal, a line at intervals in a log."""

from __future__ import annotations

import io
import sys
import time

import pytest

from synthray.train.logging.terminal import Display
from synthray.train.reports import StepReport


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def at(step: int, loss: float = 17.25, epoch: int = 2) -> StepReport:
    return StepReport(epoch, 20, step, 200, 64, loss, 0.01, 0.001)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_display_on_a_terminal_replaces_and_clears_its_line(
    clock: list[float], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    display = Display()
    display.reading(1000, 16384)
    assert terminal.getvalue() == "\rreading 1,000 of 16,384 examples\x1b[K"
    display.show(at(1, loss=float("nan")))
    assert terminal.getvalue().endswith("\repoch 2/20 [........................] step 1/200\x1b[K")
    clock[0] += 10
    display.show(at(101))
    line = terminal.getvalue().split("\r")[-1]
    assert line == "epoch 2/20 [############............] step 101/200  loss 17.2500  640 examples/s  9.9 s left\x1b[K"
    display.show(at(101))
    assert terminal.getvalue().count("\r") == 3
    display.line("epoch  2/20  loss 17")
    assert terminal.getvalue().endswith("\r\x1b[K")
    assert capsys.readouterr().out == "epoch  2/20  loss 17\n"


def test_display_in_a_log_prints_a_line_every_30_s(clock: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    display = Display()
    for step in range(1, 200):
        clock[0] += 1
        display.show(at(step))
        if step == 40:
            display.line("a lasting line")
    lines = capsys.readouterr().err.splitlines()
    assert [line.partition("step ")[2].partition("/")[0] for line in lines] == ["31", "71", "102", "133", "164", "195"]
