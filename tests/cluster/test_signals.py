"""The first signal requests a stop, the second one interrupts."""

from __future__ import annotations

import signal
import threading

import pytest

from synthray.cluster.signals import stop_requests

pytestmark = pytest.mark.faults


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_requests_first_signal_sets_the_event_and_second_raises(number: signal.Signals) -> None:
    handler = signal.getsignal(number)
    with stop_requests() as requested:
        assert not requested.is_set()
        signal.raise_signal(number)
        assert requested.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
    assert signal.getsignal(number) is handler


def test_stop_requests_outside_of_the_main_thread_changes_no_handler() -> None:
    handlers: list[object] = []

    def enter() -> None:
        with stop_requests() as requested:
            handlers.extend([signal.getsignal(signal.SIGTERM), requested.is_set()])

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM), False]
