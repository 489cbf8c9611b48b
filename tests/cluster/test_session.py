"""The serving session against a faked Serve: no cluster, no model."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from ray import serve
from ray.exceptions import RayActorError
from ray.serve.schema import ApplicationStatus

from synthray.cluster.serving import session
from synthray.cluster.signals import StopRequest
from synthray.errors import SynthrayError
from synthray.serve.config import Address, ReplicaConfig
from tests.waiting import free_port

pytestmark = pytest.mark.faults

ADDRESS = Address(port=free_port())
REPLICA_MESSAGE = """The deployment failed to start 3 times in a row. See controller logs for details. Error:
ray::ServeReplica:synthray:synthray.initialize_and_get_metadata() (pid=1)
  File "replica.py", line 1928, in initialize
    raise RuntimeError(traceback.format_exc()) from None
RuntimeError: Traceback (most recent call last):
  File "hot_swap.py", line 60, in load
    self.predictor = await asyncio.to_thread(self._load_configured, model, folder)
"""


def application(status: str = "RUNNING", message: str = "", replica_message: str = "") -> SimpleNamespace:
    deployments = {session.APPLICATION: SimpleNamespace(message=replica_message)}
    return SimpleNamespace(status=ApplicationStatus(status), message=message, deployments=deployments)


class FakeServe:
    """A Serve whose status is scripted: one entry of ``answers`` per call, and the last one for ever after.

    An entry is the list of applications, an exception to raise, or a function to call before the next entry.
    """

    def __init__(self, *answers: object) -> None:
        self.answers, self.removed = list(answers), []

    def status(self) -> SimpleNamespace:
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if callable(answer):
            answer()
            return self.status()
        names = dict.fromkeys(answer, application()) if isinstance(answer, list) else answer
        return SimpleNamespace(applications=names, proxies={"node": "HEALTHY"} if names else {})

    def delete(self, name: str) -> None:
        self.removed.append(name)

    def shutdown(self) -> None:
        self.removed.append("serve")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> Callable[..., FakeServe]:
    """Return a function that installs a :class:`FakeServe` and polls without pauses."""

    def install(*answers: object) -> FakeServe:
        faked = FakeServe(*answers)
        for name in ("status", "delete", "shutdown"):
            monkeypatch.setattr(serve, name, getattr(faked, name))
        for name in ("start", "run_many"):
            monkeypatch.setattr(serve, name, lambda *_, **__: None)
        for name in ("POLL_S", "DEPLOY_POLL_S"):
            monkeypatch.setattr(session, name, 0.0)
        monkeypatch.setattr(session.ray, "shutdown", lambda: None)
        monkeypatch.setattr(session, "connect", lambda **_: None)
        monkeypatch.setattr(session, "served_model", lambda uri: uri)
        monkeypatch.setattr(session, "_is_replaced", lambda owner: False)
        monkeypatch.setattr(session, "model_status", lambda address: ("model_1", ""))
        return faked

    return install


def serve_here(**options: bool) -> None:
    session.serve_until_stopped(ReplicaConfig(model="model_1.keras"), ADDRESS, announce=lambda _: None, **options)


def watch(requested: StopRequest, lines: list[str]) -> None:
    session._watch("owner", ADDRESS, "model_1", lines.append, requested)


def test_session_controller_restarts_keeps_application(fake: Callable[..., FakeServe]) -> None:
    """Polls without an answer keep the application; a stop request removes it once."""
    lost = [RayActorError() for _ in range(session.MAX_STATUS_FAILURES - 1)]
    removed_before_stop: list[str] = []

    def stop() -> None:
        removed_before_stop.extend(faked.removed)
        os.kill(os.getpid(), signal.SIGTERM)

    ours = [session.APPLICATION]
    faked = fake([], ours, *lost, ours, *lost, ours, stop, ours)
    serve_here()
    assert removed_before_stop == []
    assert faked.removed == ["serve"]
    assert len(faked.answers) == 1  # every scripted answer was asked for


def test_session_ends_without_the_lines_that_ray_prints(
    fake: Callable[..., FakeServe], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = [session.APPLICATION]
    fake([], ours, lambda: os.kill(os.getpid(), signal.SIGTERM), ours)
    for module in (serve, session.ray):
        monkeypatch.setattr(module, "shutdown", lambda: print("Task ServeController.graceful_shutdown failed."))
    serve_here()
    assert capsys.readouterr().out == ""


def test_session_controller_lost_raises(fake: Callable[..., FakeServe]) -> None:
    fake(RayActorError())
    with pytest.raises(SynthrayError, match="its controller does not answer"):
        watch(StopRequest(), [])


@pytest.mark.parametrize("left", [[], ["other"]])
def test_session_application_removed_raises(fake: Callable[..., FakeServe], left: list[str]) -> None:
    fake([session.APPLICATION], left)
    with pytest.raises(SynthrayError, match="'synthray': removed by another job"):
        watch(StopRequest(), [])


def test_session_application_replaced_leaves_it(
    fake: Callable[..., FakeServe], monkeypatch: pytest.MonkeyPatch
) -> None:
    faked = fake([], [session.APPLICATION])
    monkeypatch.setattr(session, "_is_replaced", lambda owner: True)
    with pytest.raises(SynthrayError, match=f"another job replaced it at {re.escape(ADDRESS.url)}"):
        serve_here()
    assert faked.removed == []


def test_session_second_signal_still_removes_application(fake: Callable[..., FakeServe]) -> None:
    def stop_twice() -> None:
        for _ in range(2):
            os.kill(os.getpid(), signal.SIGTERM)

    faked = fake([], [session.APPLICATION], stop_twice, [session.APPLICATION])
    serve_here()
    assert faked.removed == ["serve"]


def test_session_stop_while_deploying_interrupts_and_removes(fake: Callable[..., FakeServe]) -> None:
    deploying = {session.APPLICATION: application("DEPLOYING")}
    faked = fake([], deploying, deploying, lambda: os.kill(os.getpid(), signal.SIGINT), deploying)
    with pytest.raises(KeyboardInterrupt):
        serve_here()
    assert faked.removed == ["serve"]


@pytest.mark.parametrize(
    ("last_line", "reason"),
    [
        ("synthray.errors.ModelError: m.keras: SHA-256 differs", "m.keras: SHA-256 differs"),
        ("ValueError: broken", "ValueError: broken"),
    ],
)
def test_session_failed_deployment_names_cause(fake: Callable[..., FakeServe], last_line: str, reason: str) -> None:
    failed = application("DEPLOY_FAILED", "Failed to update the deployments", REPLICA_MESSAGE + last_line)
    faked = fake([], {session.APPLICATION: failed})
    with pytest.raises(SynthrayError) as raised:
        serve_here()
    assert str(raised.value) == f"model_1.keras: cannot be served ({reason})"
    assert faked.removed == ["serve"]


def test_session_other_application_keeps_serve(fake: Callable[..., FakeServe]) -> None:
    """Serve itself stays for an application that is not ours."""
    both = ["other", session.APPLICATION]
    faked = fake(["other"], both, lambda: os.kill(os.getpid(), signal.SIGTERM), both)
    serve_here()
    assert faked.removed == [session.APPLICATION]


def test_session_running_application_is_replaced_only_on_request(fake: Callable[..., FakeServe]) -> None:
    faked = fake([session.APPLICATION])
    with pytest.raises(SynthrayError, match="already runs on this cluster"):
        serve_here()
    assert faked.removed == []
    ours = [session.APPLICATION]
    faked = fake(ours, ours, lambda: os.kill(os.getpid(), signal.SIGTERM), ours)
    serve_here(take_over=True)
    assert faked.removed == ["serve"]


def test_watch_model_changes_are_announced_once(
    fake: Callable[..., FakeServe], monkeypatch: pytest.MonkeyPatch
) -> None:
    fake([session.APPLICATION])
    requested, lines = StopRequest(), []
    states = iter([("model_1", ""), ("model_1", "gone"), ("model_1", "gone again"), ("model_2", ""), OSError(), None])

    def status(_: Address) -> tuple[str, str]:
        state = next(states)
        if isinstance(state, Exception):
            raise state
        if state is None:
            requested.set()
            return "model_2", ""
        return state

    monkeypatch.setattr(session, "model_status", status)
    watch(requested, lines)
    assert lines[0].startswith(f"serving model_1 at {ADDRESS.url} ")
    assert lines[1:] == ["still serving model_1: gone", "now serving model_2"]
