"""A call that runs in a background thread while the main thread stays interruptible."""

from __future__ import annotations

import threading
from collections.abc import Callable


class Background:
    """A call in a daemon thread, which does not keep the process alive.

    >>> fit = Background(trainer.fit)
    >>> while not fit.wait(0.5):
    ...     show_progress()
    """

    def __init__(self, call: Callable[[], object]) -> None:
        self.error: BaseException | None = None
        """The exception that the call raised, once it has ended."""
        # Not Thread.join: an interrupt while joining makes Python 3.11 take the thread for ended.
        self._ended = threading.Event()

        def run() -> None:
            try:
                call()
            except BaseException as error:
                self.error = error
            self._ended.set()

        threading.Thread(target=run, daemon=True).start()

    def wait(self, timeout_s: float) -> bool:
        """Wait for at most ``timeout_s`` and return whether the call has ended."""
        return self._ended.wait(timeout_s)
