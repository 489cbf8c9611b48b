"""Estimates of the time after which a client that got 429 should retry."""

from __future__ import annotations

import math

WEIGHT = 0.1
"""Weight of the latest duration in the mean."""


class RecentMean:
    """The mean of recent durations, in which older ones count less and less; 0 before the first one."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self._is_empty = True

    def add(self, seconds: float) -> None:
        """Add a duration."""
        self.seconds += (seconds - self.seconds) * (1.0 if self._is_empty else WEIGHT)
        self._is_empty = False


def retry_after_s(seconds: float) -> int:
    """Return a wait in whole seconds, at least 1, for the header Retry-After."""
    return max(1, math.ceil(seconds))
