"""A wall clock that jumps by an hour, as after a correction by NTP: durations, deadlines and order do not follow it."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest
from botocore.exceptions import EndpointConnectionError

from synthray.cluster.training.chief import Phases
from synthray.cluster.training.coordinator import RunCoordinator
from synthray.errors import StorageError
from synthray.model import registry
from synthray.model.registry import promote, promoted
from synthray.progress import PROCESS_STARTED_S, Progress
from synthray.storage import local, open_store, s3
from synthray.storage.retry import RETRY_TIMEOUT
from tests.model.files import write_model
from tests.serve.test_hot_swap import run_with_model, wait_until_served

pytestmark = pytest.mark.faults

HOUR_S = 3600.0


@pytest.fixture(params=[HOUR_S, -HOUR_S], ids=["forward", "back"])
def jump_s(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[float]:
    """Seconds by which the wall clock jumps at every look at it."""
    real, looks = time.time, [0]

    def now_s() -> float:
        looks[0] += 1
        return real() + request.param * looks[0]

    monkeypatch.setattr(time, "time", now_s)
    return request.param


WATCHED = """
import time
looks = [0]
def jumping():
    looks[0] += 1
    return 1e9 + {jump_s} * looks[0]
time.time = jumping
from synthray.train.watchdog import Watchdog
with Watchdog(1.0, lambda reason: print("logged:", reason, flush=True)) as watchdog:
    for _ in range(15):
        watchdog.beat()
        time.time()
        time.sleep(0.1)
    print("all steps done", flush=True)
    time.sleep(60)
"""


@pytest.mark.slow
@pytest.mark.parametrize("jump_s", [HOUR_S, -HOUR_S], ids=["forward", "back"])
def test_watchdog_ends_only_a_process_without_steps(jump_s: float) -> None:
    code = WATCHED.format(jump_s=jump_s)
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=40, check=False)
    assert ended.stdout.startswith("all steps done\nlogged: no step in 1 s; its log shows")


def test_retries_end_at_their_deadline(jump_s: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RETRY_TIMEOUT, "0.6")
    monkeypatch.setattr(s3, "client", lambda *_: None)

    def fail(_: object) -> None:
        raise EndpointConnectionError(endpoint_url="http://127.0.0.1:1")

    store = open_store("s3://bucket/prefix")
    assert isinstance(store, s3.S3Store)
    began_s = time.monotonic()
    with pytest.raises(StorageError, match=r"gave up after [01] s and [3-6] attempts"):
        store._call("x", fail)
    assert 0.2 < time.monotonic() - began_s < 5


def test_file_that_is_being_written_stays(jump_s: float, tmp_path: Path) -> None:
    """Without a lock, as on a file system that has none."""
    unfinished = tmp_path / f"{local.UNFINISHED}x"
    unfinished.touch()
    for number in range(3):
        local._delete_abandoned.cache_clear()
        open_store(tmp_path).write(f"{number}", b"")
    assert unfinished.exists()


def test_progress_shows_the_time_that_passed(jump_s: float, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("converting", 2, "batches") as progress:
        progress._line._interval_s = 0.0
        time.sleep(0.02)
        progress.advance()
        progress.advance()
    *_, last = capsys.readouterr().err.splitlines()
    assert last.startswith("converting: 2 of 2 batches in 0.")


def test_first_step_log_has_the_time_that_passed(jump_s: float) -> None:
    coordinator, phases = RunCoordinator(3, PROCESS_STARTED_S), Phases()
    coordinator.register_group(1)
    phases.end("TensorFlow")
    coordinator.first_step(phases.seconds)
    [line] = coordinator.drain().lines
    seconds = [float(word) for word in line.replace("(", " ").split() if word.replace(".", "").isdecimal()]
    assert len(seconds) == 3
    assert all(0 <= number < time.monotonic() - PROCESS_STARTED_S + 1 for number in seconds)


@pytest.mark.parametrize("jump", [timedelta(hours=1), timedelta(hours=-1)], ids=["forward", "back"])
def test_promotion_is_followed_whatever_its_time(
    jump: timedelta, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last promotion counts, not the one with the latest time."""
    models = [write_model(tmp_path, f"model_{number}.keras", b"%d" % number, number) for number in (1, 2)]
    times = iter([datetime.now(UTC), datetime.now(UTC) + jump])
    monkeypatch.setattr(registry, "datetime", SimpleNamespace(now=lambda _: next(times)))

    async def body(served: object) -> None:
        await served.load({"model": str(tmp_path)})
        for number, model in enumerate(models, 1):
            promote(str(model), str(tmp_path))
            await wait_until_served(served, f"model_{number}")
            await asyncio.sleep(0.05)
            await wait_until_served(served, f"model_{number}")

    run_with_model(body)
    assert promoted(str(tmp_path)).model == "model_2.keras"
