"""A long call beside the main thread, which can be interrupted meanwhile."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """Runs ``call()`` in a thread that does not keep the process alive.

    error: what it raised, once it has ended.
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        # not the thread itself: an interrupt while joining it would make Python 3.11 take it for ended
        self._ended = threading.Event()

        def run() -> None:
            try:
                call()
            except BaseException as error:
                self.error = error
            self._ended.set()

        threading.Thread(target=run, daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Wait so long at most; whether it has ended."""
        return self._ended.wait(timeout_s)

    @property
    def reason(self) -> str:
        """The last line of the error, which is where Ray puts the cause; empty without one."""
        lines = str(self.error or "").strip().splitlines()
        return lines[-1] if lines else type(self.error).__name__ if self.error else ""
