"""A process that makes no progress is ended, whatever keeps it from it."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from synthray.train.watchdog import Watchdog

STUCK = {
    "a thread that waits": ("time.sleep(60)", "told: no step in 0.5 s; its log"),
    "a thread that holds the lock of the interpreter": ("ctypes.PyDLL(None).sleep(60)", "Timeout"),
}


@pytest.mark.parametrize("what", STUCK)
def test_a_stuck_process_is_ended_and_says_where_it_stood(what: str) -> None:
    stuck, said = STUCK[what]
    code = f"""
import ctypes, time
from synthray.train.watchdog import Watchdog

def work():
    {stuck}

with Watchdog(0.5, lambda why: print("told:", why, flush=True)) as watchdog:
    watchdog.beat()
    work()
"""
    began_s = time.monotonic()
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert time.monotonic() - began_s < 15
    assert ended.returncode not in (0, -9)
    assert said in ended.stdout + ended.stderr
    assert "in work" in ended.stderr


def test_what_goes_on_or_is_over_is_left_alone() -> None:
    told: list[str] = []
    with Watchdog(0.4, told.append) as watchdog:
        for _ in range(8):
            time.sleep(0.1)
            watchdog.beat()
    time.sleep(0.6)
    assert told == []
