"""Faults inside of a training worker, for jobs that install it by Ray's ``worker_process_setup_hook``.

The first worker that ends a step while the file ``SYNTHRAY_TEST_HANG_FILE`` exists renames it and hangs.
``SYNTHRAY_TEST_STEP_S`` makes each step last longer.
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
    delay_s = float(os.environ.get("SYNTHRAY_TEST_STEP_S", "0"))
    file = Path(os.environ["SYNTHRAY_TEST_HANG_FILE"])

    def faulty_beat(self: Watchdog) -> None:
        time.sleep(delay_s)
        if file.exists():
            with contextlib.suppress(FileNotFoundError):  # the other worker was first
                file.rename(file.with_suffix(f".{os.getpid()}"))
                time.sleep(HOUR_S)
        beat(self)

    Watchdog.beat = faulty_beat
