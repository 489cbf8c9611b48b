"""The retry policy of object stores: the pause before each retry and the deadline.

Which errors are worth a retry is not here: each back end decides that (``s3_errors.py``).
"""

from __future__ import annotations

import math
import os
import random
import time
from dataclasses import dataclass, field

from synthray.errors import ConfigError

RETRY_TIMEOUT = "SYNTHRAY_STORAGE_RETRY_S"
"""Environment variable with the seconds for which a transient error is retried."""

DEFAULT_RETRY_TIMEOUT_S = 60.0
FIRST_DELAY_S = 0.1
LONGEST_DELAY_S = 5.0
LOG_AFTER_S = 5.0
"""Retries that last longer than this are logged once, so that the job does not seem to hang."""
SLOW_AFTER_S = 5.0
"""An answer that takes longer than this is logged, for the same reason."""
SLOW_INTERVAL_S = 60.0
"""Time between two such lines of one process."""


def retry_timeout_s() -> float:
    """Return the seconds for which a transient error is retried.

    Raises:
        ConfigError: ``SYNTHRAY_STORAGE_RETRY_S`` is not a number, or negative.
    """
    text = os.environ.get(RETRY_TIMEOUT, "")
    try:
        seconds = float(text or DEFAULT_RETRY_TIMEOUT_S)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise ConfigError(f"{RETRY_TIMEOUT} is {text!r}. It must be a number of seconds, 0 or more.")
    return seconds


@dataclass
class Retries:
    """The failed attempts of one request."""

    timeout_s: float
    """Seconds from the first failure until the request is given up."""
    attempts: int = 0
    """Attempts that failed."""
    began_s: float = field(default_factory=time.monotonic)
    """Start of the first attempt, on the monotonic clock."""
    failing_since_s: float | None = None
    """Time of the first failure, on the monotonic clock."""
    logged: bool = False

    def next_delay_s(self, now_s: float) -> float | None:
        """Count a failed attempt and return the pause before the next one, in seconds.

        The pause doubles from 0.1 s to 5 s. Up to half of it is random, so that many workers do not retry in step.
        None if the deadline would pass first. The deadline counts from the first failure, because a slow attempt
        that still makes progress is not a failure.
        """
        if self.failing_since_s is None:
            self.failing_since_s = now_s
        delay_s = min(FIRST_DELAY_S * 2 ** min(self.attempts, 9), LONGEST_DELAY_S) * random.uniform(0.5, 1)
        self.attempts += 1
        return delay_s if now_s + delay_s <= self.failing_since_s + self.timeout_s else None

    def should_log(self, now_s: float) -> bool:
        """Return True once, when the request has failed for longer than ``LOG_AFTER_S``."""
        if self.logged or self.failing_since_s is None or now_s - self.failing_since_s <= LOG_AFTER_S:
            return False
        self.logged = True
        return True

    def seconds_left(self, now_s: float) -> float:
        """Return the seconds until the deadline."""
        return (self.failing_since_s or now_s) + self.timeout_s - now_s


@dataclass
class SlowAnswers:
    """The answers of one process's stores that took long."""

    logged_s: float = -math.inf
    """Time of the last line, on the monotonic clock."""

    def should_log(self, took_s: float, now_s: float) -> bool:
        """Return whether an answer was slow and no other one was logged within ``SLOW_INTERVAL_S``."""
        if took_s <= SLOW_AFTER_S or now_s - self.logged_s < SLOW_INTERVAL_S:
            return False
        self.logged_s = now_s
        return True
