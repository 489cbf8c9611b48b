"""Ray Train's errors and states as the coordinator of a training hears of them. Needs no cluster."""

from __future__ import annotations

import itertools
import pickle
from types import SimpleNamespace
from typing import Any

import pytest
from ray.exceptions import ActorDiedError, OutOfMemoryError, RayActorError
from ray.train.v2._internal.exceptions import WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.controller.state import PreemptingState, RestartingState, RunningState
from ray.train.v2.api.exceptions import WorkerGroupError
from ray.train.v2.api.preemption import PreemptionInfo

from synthray.cluster.training.group_events import GroupEvents, death_of

pytestmark = pytest.mark.faults

KILLED = "The actor died unexpectedly before finishing this task. The process is killed by SIGKILL by OOM killer."
NODE_DIED = "The actor died because its node has died. Node Id: 0abc\n\tthe actor's node was terminated unexpectedly"
LOW = "Task was killed due to the node running low on memory."
DEATHS: dict[str, tuple[Exception, str]] = {
    "killed": (RayActorError(error_msg=KILLED), "its process was killed or crashed; it may have run out of memory"),
    "unknown": (ActorDiedError(), "its process was killed or crashed; it may have run out of memory"),
    "Ray's memory monitor": (OutOfMemoryError(LOW), "its node ran out of memory, so Ray killed it"),
    "lost node": (RayActorError(error_msg=NODE_DIED), "its node was lost"),
    "reclaimed node": (RayActorError(error_msg=KILLED, preempted=True), "its node was lost"),
    "own error": (RuntimeError("it broke"), ""),
}


class Recorder:
    """A coordinator that only records its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return SimpleNamespace(remote=lambda *arguments: self.calls.append((name, *arguments)))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("kind", DEATHS)
def test_death_of_tells_kills_from_lost_nodes_and_own_errors(kind: str, wrapped: bool) -> None:
    error, reason = DEATHS[kind]
    assert death_of(WorkerHealthCheckFailedError("health check", error) if wrapped else error) == reason


def test_group_events_reports_lost_processes_only() -> None:
    recorder = Recorder()
    failures = {0: RuntimeError("reset by peer"), 1: RayActorError(error_msg=KILLED)}
    failed = pickle.loads(pickle.dumps(WorkerGroupError("text", failures)))
    GroupEvents(recorder).after_controller_state_update(RunningState(), RestartingState(failed))
    [(name, text)] = recorder.calls
    assert name == "note_death"
    assert text.startswith("worker 1: its process was killed")


def test_group_events_reports_an_announced_end_once() -> None:
    recorder = Recorder()
    events, states = GroupEvents(recorder), [RunningState()]
    info = PreemptionInfo(deadline_ms=None, preempted_node_to_ranks={"node": [1, 3]})
    states += [PreemptingState(info, 0.0) for _ in range(3)]
    for previous, current in itertools.pairwise(states):
        events.after_controller_state_update(previous, current)
    assert recorder.calls == [("node_ends", [1, 3])]
