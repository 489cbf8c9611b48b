"""Matching of sounds over HTTP: one sound, several in a form, or one with its progress as server-sent events.

POST /v1/models/synthray:match[?refine=SECONDS][&include=sounds]

The response header x-synthray-sound says which part of a file was matched. Decoding of requests is in
request_sound.py, progress in progress_stream.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from synthray.errors import Busy, RequestError, SoundError
from synthray.match.sound import is_instrument_model, require_instrument
from synthray.serve.http.body import JSON, WAV, content_type, preferred, read_body
from synthray.serve.http.responses import error_kind, json_response, model_header, status_of
from synthray.serve.http.uploads import FORM, Upload, read_form
from synthray.serve.models.served import Served
from synthray.serve.service import Service, model_for, service_of
from synthray.serve.sounds.match_answer import (
    MatchOptions,
    encode_match,
    find_match,
    guess_sound,
    render_wav,
)
from synthray.serve.sounds.progress_stream import EVENT_STREAM, stream_progress
from synthray.serve.sounds.request_sound import (
    decode_sound,
    decode_sound_form,
    decode_sound_json,
    read_request_sound,
    require_sound_type,
    sound_header,
)
from synthray.synth.files.sound_file import Sound, encode_wav
from synthray.synth.instrument import N_SAMPLES

HasLeft = Callable[[], bool]


async def match_sounds(request: Request) -> Response:
    """Return the preset of a sound, the sound of that preset, or the presets of several sounds."""
    service, served = service_of(request), model_for(request)
    require_instrument(served.predictor)
    options = MatchOptions.of(request, service.config.max_refine_s)
    kind, wanted = content_type(request), preferred(request, (JSON, WAV, EVENT_STREAM))
    start: np.ndarray | None = None
    if kind == FORM:
        form = await read_form(request, service.config)
        if form.start is None:
            return await _match_form(request, service, served, form.uploads, options)
        sound, start = await service.sound_work.submit(decode_sound_form, service, served, form)
    elif kind == JSON:
        body = await read_body(request, service.config)
        sound, start = await service.sound_work.submit(decode_sound_json, service, served, body)
    else:
        require_sound_type(kind)
        sound = await read_request_sound(request, service, served)
    options = replace(options, start=start)
    headers = model_header(served) | sound_header(sound)
    if wanted == EVENT_STREAM:
        return stream_progress(service, served, sound, options, headers)
    async with _while_client_waits(request) as has_left:
        if wanted == WAV:
            wav = await service.submit_match(options.refine_s, _match_wav, service, served, sound, options, has_left)
            return Response(wav, media_type=WAV, headers=headers)
        answer = await service.submit_match(options.refine_s, _match_json, service, served, sound, options, has_left)
        return json_response(answer, headers=headers)


async def warm_up(service: Service) -> None:
    """Predict and match as requests do, in the threads that answer them, so that the first request takes no longer."""
    [served, *_] = service.models.served
    predictor = served.predictor
    await service.batcher.predict(served, np.zeros((1, predictor.frames, predictor.bins), np.float32))
    if is_instrument_model(predictor):
        raw = encode_wav(np.random.default_rng(0).uniform(-0.5, 0.5, N_SAMPLES))
        sound = await service.sound_work.submit(decode_sound, service, served, raw)
        await service.sound_work.submit(
            _match_json, service, served, sound, MatchOptions(with_sounds=True), lambda: False
        )


async def _match_form(
    request: Request, service: Service, served: Served, uploads: list[Upload], options: MatchOptions
) -> Response:
    """Return the presets of the files of a form, and the errors of files without a preset.

    Raises:
        Busy: no file had a place in the queue.
    """
    preferred(request, (JSON,))
    longest_s = service.config.max_refine_s
    if options.refine_s * len(uploads) > longest_s:
        raise RequestError(
            400,
            f"refine is {options.refine_s:g} for each of {len(uploads)} files, expected at most {longest_s:g} s "
            "together. Send fewer files, or search less.",
        )
    async with _while_client_waits(request) as has_left:
        found = [await _match_upload(service, served, upload, options, has_left) for upload in uploads]
    busy = [each for each in found if isinstance(each, Busy)]
    if len(busy) == len(found):
        raise busy[-1]
    matches = [
        {"name": upload.name} | (each if isinstance(each, dict) else _refusal(service, each))
        for upload, each in zip(uploads, found, strict=True)
    ]
    return json_response({"matches": matches}, headers=model_header(served))


@asynccontextmanager
async def _while_client_waits(request: Request) -> AsyncIterator[HasLeft]:
    """Yield a function that tells, in any thread, whether the client has left or the block has ended.

    The request's body must have been read.
    """
    left = threading.Event()

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        left.set()

    watching = asyncio.create_task(watch())
    try:
        yield left.is_set
    finally:
        left.set()
        watching.cancel()


def _match_wav(service: Service, served: Served, sound: Sound, options: MatchOptions, has_left: HasLeft) -> bytes:
    found = find_match(service, served, guess_sound(service, served, sound), options, is_stopped=has_left)
    return render_wav(service, served, found.settings)


def _match_json(
    service: Service, served: Served, sound: Sound, options: MatchOptions, has_left: HasLeft
) -> dict[str, Any]:
    found = find_match(service, served, guess_sound(service, served, sound), options, is_stopped=has_left)
    return encode_match(service, served, sound, found, options)


async def _match_upload(
    service: Service, served: Served, upload: Upload, options: MatchOptions, has_left: HasLeft
) -> dict[str, Any] | SoundError | Busy:
    """Return the match of one file of a form, or the error that prevented it."""

    def work() -> dict[str, Any]:
        return _match_json(service, served, decode_sound(service, served, upload.raw), options, has_left)

    try:
        return await service.submit_match(options.refine_s, work)
    except (SoundError, Busy) as error:
        return error


def _refusal(service: Service, error: SoundError | Busy) -> dict[str, Any]:
    """Return the JSON of a file's error, and count it."""
    service.metrics.add("errors_total", kind=error_kind(error))
    wait = {"retry_after_s": error.retry_after_s} if isinstance(error, Busy) else {}
    return {"error": str(error), "status": status_of(error), **wait}
