"""The retry policy alone: delays, deadline, logging, configuration."""

from __future__ import annotations

import pytest

from synthray.errors import ConfigError
from synthray.storage.retry import (
    LOG_AFTER_S,
    RETRY_TIMEOUT,
    SLOW_AFTER_S,
    SLOW_INTERVAL_S,
    Retries,
    SlowAnswers,
    retry_timeout_s,
)

pytestmark = pytest.mark.faults


def test_delays_double_to_five_seconds_and_are_cut_by_at_most_half() -> None:
    retries = Retries(timeout_s=1000)
    delays_s = [retries.next_delay_s(0.0) for _ in range(12)]
    full_s = [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, *[5.0] * 6]
    assert all(full / 2 <= (delay or 0) <= full for delay, full in zip(delays_s, full_s, strict=True))
    assert retries.attempts == 12
    assert len({Retries(timeout_s=1000).next_delay_s(0.0) for _ in range(20)}) > 10


def test_deadline_counts_from_the_first_failure() -> None:
    retries = Retries(timeout_s=60, began_s=0.0)
    assert retries.next_delay_s(500.0) is not None  # a slow first attempt uses up nothing
    assert retries.next_delay_s(559.0) is not None
    assert retries.next_delay_s(559.99) is None
    assert retries.attempts == 3


def test_log_is_due_once_after_five_seconds_of_failures() -> None:
    retries = Retries(timeout_s=60)
    retries.next_delay_s(100.0)
    assert not retries.should_log(100.0 + LOG_AFTER_S)
    assert retries.should_log(101.0 + LOG_AFTER_S)
    assert retries.seconds_left(101.0 + LOG_AFTER_S) == pytest.approx(59.0 - LOG_AFTER_S)
    assert not retries.should_log(130.0)


def test_slow_answers_are_logged_once_in_a_while() -> None:
    """An hour of a store that takes 20 s for each answer gives a line a minute."""
    slow = SlowAnswers()
    lines = [now_s for now_s in range(0, 3600, 20) if slow.should_log(20.0, float(now_s))]
    assert len(lines) == 3600 / SLOW_INTERVAL_S
    assert not SlowAnswers().should_log(SLOW_AFTER_S, 0.0)


@pytest.mark.parametrize(("text", "seconds"), [("", 60.0), ("0", 0.0), ("2.5", 2.5)])
def test_timeout_comes_from_the_environment(text: str, seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RETRY_TIMEOUT, text)
    assert retry_timeout_s() == seconds


@pytest.mark.parametrize("text", ["-1", "long", "nan"])
def test_timeout_that_is_no_number_is_rejected(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RETRY_TIMEOUT, text)
    with pytest.raises(ConfigError, match=f"{RETRY_TIMEOUT} is '{text}'"):
        retry_timeout_s()
