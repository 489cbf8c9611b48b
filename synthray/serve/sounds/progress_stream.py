"""A search for a preset with its progress as server-sent events.

Events: ``improvement`` with the best preset so far, and at the end ``match`` or ``error``. The search ends when the
client closes the connection.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import numpy as np
from starlette.responses import StreamingResponse

from synthray.errors import SynthrayError
from synthray.match.match import Match
from synthray.serve.http.responses import INTERNAL_ERROR, error_kind
from synthray.serve.models.served import Served
from synthray.serve.service import Service
from synthray.serve.sounds.match_answer import MatchOptions, encode_match, find_match, guess_sound, or_start
from synthray.synth.files.sound_file import Sound

EVENT_STREAM = "text/event-stream"
INTERVAL_S = 0.2
"""Shortest time between two improvements that are sent."""
SIGN_OF_LIFE_S = 0.5
"""Time without an event after which a comment is sent, because only sending detects a closed connection."""

logger = logging.getLogger(__name__)

Event = tuple[str, dict[str, Any]]


def stream_progress(
    service: Service, served: Served, sound: Sound, options: MatchOptions, headers: dict[str, str]
) -> StreamingResponse:
    """Return the response that searches while it is being sent."""
    search = _Search(service, served, sound, options)
    loop = asyncio.get_running_loop()
    events: asyncio.Queue[Event | None] = asyncio.Queue()
    # Before the response starts: a full queue is answered with 429.
    running = service.submit_match(
        options.refine_s, search.run, lambda event: loop.call_soon_threadsafe(events.put_nowait, event)
    )
    running.add_done_callback(lambda _: events.put_nowait(None))
    body = _encoded_events(service, search, running, events)
    return StreamingResponse(body, media_type=EVENT_STREAM, headers=headers | {"cache-control": "no-store"})


async def _encoded_events(
    service: Service, search: _Search, running: asyncio.Future[None], events: asyncio.Queue[Event | None]
) -> AsyncIterator[bytes]:
    """Yield the events of a search in a thread. Closing the iterator stops the search."""
    try:
        while True:
            try:
                event = await asyncio.wait_for(events.get(), SIGN_OF_LIFE_S)
            except TimeoutError:
                yield b": searching\n\n"
                continue
            if event is None:
                break
            yield _encoded(*event)
        await running
    except Exception as error:  # the response has started, so the error is its last event
        service.metrics.add("errors_total", kind=error_kind(error))
        if not isinstance(error, SynthrayError):
            logger.error("unexpected error in a search", exc_info=error)
        message = str(error) if isinstance(error, SynthrayError) else INTERNAL_ERROR
        yield _encoded("error", {"error": message})
    finally:
        search.stop()
        running.cancel()


class _Search:
    """One search, which sends its improvements from the thread that runs it."""

    def __init__(self, service: Service, served: Served, sound: Sound, options: MatchOptions) -> None:
        self._service, self._served, self._sound, self._options = service, served, sound, options
        self._stopped = threading.Event()
        self._shown_s = 0.0
        self._nearest: Match | None = None

    def stop(self) -> None:
        """End the search soon."""
        self._stopped.set()

    def run(self, send: Callable[[Event], Any]) -> None:
        """Search; send the improvements and the match."""
        if self._stopped.is_set():
            return
        answer = guess_sound(self._service, self._served, self._sound)
        started_s = time.perf_counter()

        def show(found: Match) -> None:
            if self._nearest and found.distance_db >= self._nearest.distance_db:
                return  # not nearer: the search minimises a slightly different distance
            self._nearest = found
            spent_s = self._shown_s - started_s
            progress = spent_s / self._options.refine_s if self._options.refine_s else 1.0
            send(("improvement", self._encode(found) | {"progress": round(min(1.0, progress), 3)}))

        def improved(labels: np.ndarray, evaluations: int) -> None:
            now_s = time.perf_counter()
            if now_s - self._shown_s >= INTERVAL_S and not self._stopped.is_set():
                self._shown_s = now_s
                show(answer.described(labels, evaluations))

        self._shown_s = started_s
        show(or_start(answer, answer.described(answer.labels), self._options))
        found = find_match(self._service, self._served, answer, self._options, improved, self._stopped.is_set)
        if self._nearest and self._nearest.distance_db < found.distance_db:
            found = replace(self._nearest, evaluations=found.evaluations, elapsed_s=found.elapsed_s)
        send(("match", self._encode(found)))

    def _encode(self, found: Match) -> dict[str, Any]:
        return encode_match(self._service, self._served, self._sound, found, self._options)


def _encoded(event: str, data: dict[str, Any]) -> bytes:
    return f"event: {event}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode()
