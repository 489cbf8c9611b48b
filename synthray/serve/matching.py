"""Matching of sounds over HTTP: one sound, several in a form, or one with its progress as server-sent events.

POST /v1/models/synthray:match[?refine=SECONDS][&include=sounds]

The response header x-synthray-sound says which part of a file was matched. Decoding of forms is in uploads.py, progress
in progress_stream.py.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from synthray.errors import RequestError, SoundError
from synthray.match.sound import is_instrument_model, require_instrument
from synthray.serve.match_answer import MatchOptions, encode_match, encode_wav, find_match, guess_sound, render_wav
from synthray.serve.metrics import timed
from synthray.serve.models import Served
from synthray.serve.progress_stream import EVENT_STREAM, stream_progress
from synthray.serve.request_body import JSON, RAW, UNSTATED, WAV, content_type, preferred, read_body
from synthray.serve.responses import SOUND_HEADER, json_response, model_header
from synthray.serve.service import Service, model_for, service_of
from synthray.serve.uploads import FORM, Upload, read_form
from synthray.synth.instrument import N_SAMPLES
from synthray.synth.sound_file import Sound, read_sound

HasLeft = Callable[[], bool]


async def match_sounds(request: Request) -> Response:
    """Return the preset of a sound, or its sound, or the presets of several sounds."""
    service, served = service_of(request), model_for(request)
    require_instrument(served.predictor)
    options = MatchOptions.of(request, service.config.max_refine_s)
    kind = content_type(request)
    if kind == FORM:
        return await _match_form(request, service, served, options)
    require_sound_type(kind)
    wanted = preferred(request, (JSON, WAV, EVENT_STREAM))
    sound = await read_request_sound(request, service)
    headers = model_header(served) | sound_header(sound)
    if wanted == EVENT_STREAM:
        return stream_progress(service, served, sound, options, headers)
    async with _while_client_waits(request) as has_left:
        if wanted == WAV:
            wav = await service.sound_work.run(_match_wav, service, served, sound, options, has_left)
            return Response(wav, media_type=WAV, headers=headers)
        answer = await service.sound_work.run(_match_json, service, served, sound, options, has_left)
        return json_response(answer, headers=headers)


async def warm_up(service: Service) -> None:
    """Predict and match as requests do, in the threads that answer them, so that the first request takes no longer."""
    [served, *_] = service.models.served
    predictor = served.predictor
    await service.batcher.predict(predictor, np.zeros((1, predictor.frames, predictor.bins), np.float32))
    if is_instrument_model(predictor):
        raw = encode_wav(np.random.default_rng(0).uniform(-0.5, 0.5, N_SAMPLES))
        sound = await service.sound_work.run(decode_sound, service, raw)
        await service.sound_work.run(_match_json, service, served, sound, MatchOptions(with_sounds=True), lambda: False)


async def _match_form(request: Request, service: Service, served: Served, options: MatchOptions) -> Response:
    """Return the presets of the files of a form."""
    preferred(request, (JSON,))
    uploads = await read_form(request, service.config)
    longest_s = service.config.max_refine_s
    if options.refine_s * len(uploads) > longest_s:
        raise RequestError(
            400,
            f"refine is {options.refine_s:g} for each of {len(uploads)} files, expected at most {longest_s:g} s "
            "together. Send fewer files, or search less.",
        )
    async with _while_client_waits(request) as has_left:
        matches = [await _match_upload(service, served, upload, options, has_left) for upload in uploads]
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


def require_sound_type(kind: str) -> None:
    """Raise RequestError 415 unless a content type may be that of a sound file."""
    if not kind.startswith("audio/") and kind not in (RAW, "application/ogg", *UNSTATED):
        raise RequestError(415, f"content-type is {kind!r}, expected an audio file as the body (audio/wav)")


async def read_request_sound(request: Request, service: Service) -> Sound:
    """Return the sound file in a request's body.

    Raises:
        RequestError: the body cannot be read.
        SoundError: it is no sound file.
    """
    body = await read_body(request, service.config)
    if not body:
        raise SoundError("the body is empty, expected an audio file (curl --data-binary @sound.wav)")
    return await service.sound_work.run(decode_sound, service, body)


def decode_sound(service: Service, raw: bytes) -> Sound:
    """Return the sound in a file's bytes, and record the time that it takes."""
    with timed(service.metrics, "decode"):
        return read_sound(raw)


def sound_header(sound: Sound) -> dict[str, str]:
    """Return the known durations as a dictionary of structured fields (RFC 9651): ``skipped_s=0.52, used_s=2.0``."""
    known = {name: value for name, value in sound.to_json().items() if value is not None}
    return {SOUND_HEADER: ", ".join(f"{name}={value}" for name, value in known.items())}


def _match_wav(service: Service, served: Served, sound: Sound, options: MatchOptions, has_left: HasLeft) -> bytes:
    found = find_match(service, guess_sound(service, served, sound), options, is_stopped=has_left)
    return render_wav(service, found.settings)


def _match_json(
    service: Service, served: Served, sound: Sound, options: MatchOptions, has_left: HasLeft
) -> dict[str, Any]:
    found = find_match(service, guess_sound(service, served, sound), options, is_stopped=has_left)
    return encode_match(service, served, sound, found, options)


async def _match_upload(
    service: Service, served: Served, upload: Upload, options: MatchOptions, has_left: HasLeft
) -> dict[str, Any]:
    """Return the match of one file of a form, or the reason why there is none."""

    def work() -> dict[str, Any]:
        return _match_json(service, served, decode_sound(service, upload.raw), options, has_left)

    try:
        return {"name": upload.name} | await service.sound_work.run(work)
    except SoundError as error:
        return {"name": upload.name, "error": str(error)}
