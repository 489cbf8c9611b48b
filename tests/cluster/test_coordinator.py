"""When lost workers are started again, and what is told of it."""

from __future__ import annotations

import pytest

from synthray.cluster.coordinator import RunCoordinator


def begun(max_failures: int = 2) -> RunCoordinator:
    box = RunCoordinator(max_failures, started_s=0.0)
    assert box.register_group(2) == 0
    box.resumed((0, 0))
    assert box.drain().lines == []
    return box


def test_workers_are_started_again_so_often_without_getting_further() -> None:
    box = begun()
    box.note_failure("worker 1: it broke")
    box.note_failure("worker 0: UnavailableError")
    assert box.register_group(2) == 1
    assert box.register_group(2) == 2
    assert box.drain().lines == [
        "worker 1: it broke; going on from the last checkpoint (1 of 2)",
        "a worker died without a word: killed, out of memory, or its machine is gone; "
        "going on from the last checkpoint (2 of 2)",
    ]
    box.note_failure("worker 0: it broke, too")
    assert box.register_group(2) is None
    kind, text = box.drain().failure
    assert kind == "TrainingError"
    assert text == "the workers were lost 2 times in a row without getting further: worker 0: it broke, too"


def test_those_who_get_further_are_started_again_as_often_as_it_takes() -> None:
    box = begun(max_failures=1)
    for epoch in range(1, 9):
        assert box.register_group(2) is not None
        box.resumed((epoch, 0))
    assert box.register_group(2) is not None
    box.resumed((8, 0))  # where it was before
    assert box.register_group(2) is None


def test_more_workers_are_no_failure_and_fewer_are() -> None:
    box = begun(max_failures=1)
    assert box.register_group(3) == 1
    assert box.drain().lines == ["going on from the last checkpoint with 3 workers, 2 before"]
    box.note_failure("worker 2: lost")
    assert box.register_group(2) == 2
    assert box.drain().lines == ["worker 2: lost; going on from the last checkpoint with 2 workers, 3 before"]
    assert box.register_group(3) == 3
    assert box.register_group(2) is None  # a machine that comes and goes, and no step in between


@pytest.mark.parametrize("asked", ["a failure", "a stop"])
def test_nobody_begins_after_the_end(asked: str) -> None:
    box = begun()
    if asked == "a failure":
        box.fail("DataError", "bad")
        box.fail("TrainingError", "what came of it")
        assert box.drain().failure == ("DataError", "bad")
    else:
        assert box.stop()
        assert box.heartbeat(None) is True
        box.note_failure("worker 0: StorageError: away")
    assert box.register_group(2) is None
    assert ("(worker 0: StorageError: away)" in box.drain().stopped) == (asked == "a stop")


def test_a_stop_before_anyone_began_needs_no_waiting() -> None:
    assert not RunCoordinator(3, 0.0).stop()


def test_lines_are_told_once_and_the_way_to_the_first_step_in_parts() -> None:
    box = RunCoordinator(3, started_s=100.0)
    box.first_step([("workers", 107.5), ("TensorFlow", 110.0)])
    assert box.drain().lines == ["first step after 10.0 s (workers 7.5 s, TensorFlow 2.5 s)"]
    assert box.drain().lines == []
