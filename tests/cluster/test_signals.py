"""The first signal requests a stop, the second one interrupts."""

from __future__ import annotations

import signal
import threading

import pytest

from synthray.cluster.signals import stop_requests
from synthray.errors import Terminated

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


ENDS = [
    ([signal.SIGINT], KeyboardInterrupt),
    ([signal.SIGTERM], Terminated),
    ([signal.SIGTERM, signal.SIGINT], Terminated),
    ([signal.SIGINT, signal.SIGTERM], KeyboardInterrupt),
]


@pytest.mark.parametrize(("numbers", "kind"), ENDS)
def test_interruption_is_of_the_first_signal(numbers: list[signal.Signals], kind: type) -> None:
    with stop_requests() as requested:
        signal.raise_signal(numbers[0])
        for number in numbers[1:]:
            with pytest.raises(KeyboardInterrupt) as second:
                signal.raise_signal(number)
            assert type(second.value) is kind
        assert type(requested.interruption()) is kind
        assert str(requested.interruption("stopped after epoch 3")) == "stopped after epoch 3"


def test_stop_requests_outside_of_the_main_thread_changes_no_handler() -> None:
    handlers: list[object] = []

    def enter() -> None:
        with stop_requests() as requested:
            handlers.extend([signal.getsignal(signal.SIGTERM), requested.is_set()])

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert handlers == [signal.getsignal(signal.SIGTERM), False]
