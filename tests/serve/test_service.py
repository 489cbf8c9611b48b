"""Threads of the service for sounds."""

from __future__ import annotations

import asyncio
import time

from synthray.serve.sound_work import SoundWork


def test_sound_work_close_waits_for_the_running_function() -> None:
    ended = []

    async def close() -> None:
        work = SoundWork("sounds", threads=1, max_waiting=1)
        work.submit(lambda: (time.sleep(0.2), ended.append("first")))
        work.submit(lambda: ended.append("second"))
        await work.close()

    asyncio.run(close())
    assert ended == ["first"]
