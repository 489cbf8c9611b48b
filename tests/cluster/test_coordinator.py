"""Restarts of lost workers, and what the driver reports of them."""

from __future__ import annotations

import pickle

import pytest

from synthray.cluster.coordinator import RunCoordinator
from synthray.errors import BadBatch, DataError, TrainingError

pytestmark = pytest.mark.faults


def started(max_failures: int = 2) -> RunCoordinator:
    """Return a coordinator whose two workers have begun to train."""
    coordinator = RunCoordinator(max_failures, started_s=0.0)
    assert coordinator.register_group(2) == 0
    coordinator.resumed((0, 0))
    assert coordinator.drain().lines == []
    return coordinator


def test_register_group_without_progress_fails_after_max_failures() -> None:
    coordinator = started()
    coordinator.note_failure("worker 1: it broke")
    coordinator.note_failure("worker 0: UnavailableError")
    assert coordinator.register_group(2) == 1
    assert coordinator.register_group(2) == 2
    assert coordinator.drain().lines == [
        "worker 1: it broke; resuming from the last checkpoint (1 of 2)",
        "a worker exited without an error (killed, out of memory, or node lost); "
        "resuming from the last checkpoint (2 of 2)",
    ]
    coordinator.note_failure("worker 0: it broke, too")
    assert coordinator.register_group(2) is None
    failure = coordinator.drain().failure
    assert isinstance(failure, TrainingError)
    assert str(failure) == "workers were lost 2 times in a row without progress: worker 0: it broke, too"


def test_register_group_with_progress_never_fails() -> None:
    coordinator = started(max_failures=1)
    for epoch in range(1, 9):
        assert coordinator.register_group(2) is not None
        coordinator.resumed((epoch, 0))
    assert coordinator.register_group(2) is not None
    coordinator.resumed((8, 0))  # the same position as before
    assert coordinator.register_group(2) is None


def test_register_group_of_more_workers_is_no_failure() -> None:
    coordinator = started(max_failures=1)
    assert coordinator.register_group(3) == 1
    assert coordinator.drain().lines == ["resuming from the last checkpoint with 3 workers instead of 2"]
    coordinator.note_failure("worker 2: lost")
    assert coordinator.register_group(2) == 2
    assert coordinator.drain().lines == [
        "worker 2: lost; resuming from the last checkpoint with 2 workers instead of 3"
    ]
    assert coordinator.register_group(3) == 3
    assert coordinator.register_group(2) is None  # a node that comes and goes without a step in between


def test_register_group_after_an_error_is_refused() -> None:
    coordinator = started()
    coordinator.fail(BadBatch("fft_batch_5.npy", "truncated"))
    coordinator.fail(TrainingError("a consequence of it"))
    assert coordinator.register_group(2) is None
    # Ray pickles the status on its way to the driver.
    failure = pickle.loads(pickle.dumps(coordinator.drain())).failure
    assert isinstance(failure, DataError)
    assert str(failure) == "fft_batch_5.npy: truncated"


def test_register_group_after_a_stop_is_refused() -> None:
    coordinator = started()
    assert coordinator.stop()
    assert coordinator.heartbeat(None) is True
    coordinator.note_failure("worker 0: StorageError: away")
    assert coordinator.register_group(2) is None
    assert "(worker 0: StorageError: away)" in coordinator.drain().stopped


def test_stop_before_the_first_start_returns_false() -> None:
    assert not RunCoordinator(3, 0.0).stop()


def test_first_step_logs_each_phase_once() -> None:
    coordinator = RunCoordinator(3, started_s=100.0)
    coordinator.first_step([("workers", 107.5), ("TensorFlow", 110.0)])
    assert coordinator.drain().lines == ["first step after 10.0 s (workers 7.5 s, TensorFlow 2.5 s)"]
    assert coordinator.drain().lines == []
