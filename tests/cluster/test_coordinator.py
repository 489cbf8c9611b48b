"""Restarts of lost workers, and what the driver reports of them."""

from __future__ import annotations

import pickle
from types import SimpleNamespace

import pytest

from synthray.cluster.training.coordinator import RunCoordinator
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


def test_first_step_logs_each_phase_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("synthray.cluster.training.coordinator.time", SimpleNamespace(monotonic=lambda: 107.5))
    coordinator = RunCoordinator(3, started_s=100.0)
    coordinator.register_group(2)
    coordinator.first_step([("TensorFlow", 2.5)])
    assert coordinator.drain().lines == ["first step after 10.0 s (workers 7.5 s, TensorFlow 2.5 s)"]
    assert coordinator.drain().lines == []


KILLED = "worker 1: its process was killed"
FOLLOWS, STUCK = "worker 0: UnavailableError: Socket closed", "worker 1: no step in 10 s"
REPORTS = {
    "others report first": (["follows", "death"], KILLED),
    "only others report": (["follows"], FOLLOWS),
    "it said why itself": (["follows", "death", "cause"], STUCK),
    "others crash because of it": (["cause", "death", "follows"], STUCK),
}


@pytest.mark.parametrize("reports", REPORTS)
def test_register_group_names_the_cause_and_not_what_follows_from_it(reports: str) -> None:
    coordinator, (kinds, cause) = started(), REPORTS[reports]
    note = {
        "follows": lambda: coordinator.note_failure(FOLLOWS, is_maybe_consequence=True),
        "death": lambda: coordinator.note_death(KILLED),
        "cause": lambda: coordinator.note_failure(STUCK),
    }
    for kind in kinds:
        note[kind]()
    assert coordinator.register_group(2) == 1
    assert coordinator.drain().lines == [f"{cause}; resuming from the last checkpoint (1 of 2)"]


def test_node_that_announces_its_end_gets_a_checkpoint_and_counts_as_no_failure() -> None:
    coordinator = started(max_failures=0)
    for start in range(1, 4):
        assert coordinator.heartbeat(None) is False
        coordinator.node_ends([1])
        assert coordinator.heartbeat(None) is True
        assert coordinator.stopped("stopped in epoch 3 after step 5 of 9") is False
        coordinator.note_failure("worker 0: reset by a peer that has left")
        assert coordinator.register_group(2) == start
        status = coordinator.drain()
        assert status.lines == [
            "the node of worker 1 will shut down; writing a checkpoint to continue on another node",
            "resuming from the last checkpoint",
        ]
        assert status.stopped == ""
    coordinator.note_death(KILLED)  # without an announcement it is a failure again
    assert coordinator.register_group(2) is None


def test_stop_request_during_an_announced_end_ends_the_training() -> None:
    coordinator = started()
    coordinator.node_ends([0, 1])
    coordinator.stop()
    assert coordinator.stopped("stopped after epoch 3 of 9") is True
    assert coordinator.register_group(2) is None
    assert coordinator.drain().stopped == "stopped after epoch 3 of 9"
