"""The watchdog ends a process that makes no progress, whatever blocks it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from synthray.train.watchdog import START_LIMIT_S, Watchdog

pytestmark = pytest.mark.faults

PROGRAM = """
import ctypes, time
from synthray.train.watchdog import Watchdog

def work():
    {block}

with Watchdog(0.5, lambda reason: print("logged:", reason, flush=True), start_limit_s={start_limit_s}) as watchdog:
    {first}
    work()
"""
WAITS, HOLDS_THE_INTERPRETER_LOCK = "time.sleep(60)", "ctypes.PyDLL(None).sleep(60)"


def run_until_ended(block: str, first: str, start_limit_s: float) -> tuple[str, float]:
    """Run a blocked process; return its output and its seconds."""
    code = PROGRAM.format(block=block, first=first, start_limit_s=start_limit_s)
    started_s = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40, check=False)
    assert ended.returncode not in (0, -9)
    assert "in work" in ended.stderr
    return ended.stdout + ended.stderr, time.monotonic() - started_s


@pytest.mark.parametrize(
    ("block", "message"), [(WAITS, "logged: no step in 0.5 s"), (HOLDS_THE_INTERPRETER_LOCK, "Timeout")]
)
def test_blocked_process_is_ended_with_its_stacks(block: str, message: str) -> None:
    output, spent_s = run_until_ended(block, first="watchdog.beat()", start_limit_s=300)
    assert message in output
    assert spent_s < 15


@pytest.mark.slow
@pytest.mark.parametrize(
    ("block", "message"), [(WAITS, "logged: no first step in 1 s"), (HOLDS_THE_INTERPRETER_LOCK, "Timeout")]
)
def test_process_blocked_before_its_first_heartbeat_is_ended_at_the_start_limit(block: str, message: str) -> None:
    output, spent_s = run_until_ended(block, first="pass", start_limit_s=1)
    assert message in output
    assert 1 <= spent_s < 20


def test_slow_start_is_not_counted_as_a_step() -> None:
    assert START_LIMIT_S == 300
    logged: list[str] = []
    with Watchdog(0.4, logged.append) as watchdog:
        time.sleep(0.6)
        watchdog.beat()
    assert logged == []


def test_start_limit_is_at_least_the_step_limit() -> None:
    assert Watchdog(1000, print)._current_limit_s == 1000


@pytest.mark.slow
def test_process_with_heartbeats_or_at_its_end_continues() -> None:
    logged: list[str] = []
    with Watchdog(0.4, logged.append) as watchdog:
        for _ in range(8):
            time.sleep(0.1)
            watchdog.beat()
    watchdog.beat()
    time.sleep(0.6)
    assert logged == []
