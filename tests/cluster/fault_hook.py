"""Runs in every worker process of a job that asks for it, by Ray's own ``worker_process_setup_hook``.

A training worker that ends a step takes the file that ``SYNTHRAY_TEST_SABOTAGE`` names, if it is there, and is stuck
from then on, as in a read that never ends: one worker, and once. ``SYNTHRAY_TEST_STEP_S`` makes each step last longer.
"""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path

from synthray.train.watchdog import Watchdog

HOUR_S = 3600


def install() -> None:
    beat = Watchdog.beat

    longer_s = float(os.environ.get("SYNTHRAY_TEST_STEP_S", "0"))

    def beat_or_not(self: Watchdog) -> None:
        file = Path(os.environ["SYNTHRAY_TEST_SABOTAGE"])
        time.sleep(longer_s)
        if file.exists():
            with contextlib.suppress(FileNotFoundError):  # the other worker was quicker
                file.rename(file.with_suffix(f".{os.getpid()}"))
                time.sleep(HOUR_S)
        beat(self)

    Watchdog.beat = beat_or_not
