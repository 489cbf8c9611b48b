"""Threads of the service for sounds."""

from __future__ import annotations

import asyncio
import pickle
import threading
import time

import pytest
from starlette.requests import Request

from synthray.errors import Busy
from synthray.serve.queues.sound_work import SoundWork
from synthray.serve.service import BodyMemory


def test_sound_work_close_waits_for_the_running_function() -> None:
    ended = []

    async def close() -> None:
        work = SoundWork("sounds", threads=1, max_waiting=1)
        work.submit(lambda: (time.sleep(0.2), ended.append("first")))
        work.submit(lambda: ended.append("second"))
        await work.close()

    asyncio.run(close())
    assert ended == ["first"]


def test_sound_work_full_says_when_the_budgets_end() -> None:
    release = threading.Event()

    async def fill() -> Busy:
        work = SoundWork("searches", threads=2, max_waiting=2)
        for budget_s in (10, 20, 30, 5):
            work.submit(release.wait, budget_s=budget_s)
        with pytest.raises(Busy) as caught:
            work.submit(release.wait, budget_s=1)
        release.set()
        await work.close()
        return caught.value

    error = asyncio.run(fill())
    assert error.retry_after_s in (32, 33)  # 65 s on two threads, less what has passed
    assert str(error) == f"4 searches are waiting or running already. Retry in {error.retry_after_s} s."
    assert str(pickle.loads(pickle.dumps(error))) == str(error)


def test_sound_work_full_says_when_recent_durations_end() -> None:
    release = threading.Event()

    async def fill() -> int:
        work = SoundWork("sounds", threads=1, max_waiting=9)
        await work.submit(time.sleep, 0.5)
        for _ in range(10):
            work.submit(release.wait)
        with pytest.raises(Busy) as caught:
            work.submit(release.wait)
        release.set()
        await work.close()
        return caught.value.retry_after_s

    assert 5 <= asyncio.run(fill()) <= 9


def test_body_memory_full_says_when_recent_requests_end(monkeypatch: pytest.MonkeyPatch) -> None:
    memory, now_s = BodyMemory(100), 1000.0
    monkeypatch.setattr("synthray.serve.service.time.perf_counter", lambda: now_s)
    first, second = (Request({"type": "http"}) for _ in range(2))
    memory.take(first, 60)
    now_s += 6.5
    memory.release(first.scope)
    memory.take(first, 60)
    with pytest.raises(Busy, match=r"hold 60 bytes already\. Retry in 7 s\."):
        memory.take(second, 60)
