"""Read the sound in a request, and the start preset of its search. A body is a sound file, JSON or a form.

The match is in ``matching.py``, reading of bodies and forms in ``serve/http``.
"""

from __future__ import annotations

import base64
import binascii
from typing import Any

import numpy as np
from starlette.requests import Request

from synthray.errors import RequestError, SoundError, json_type, shown
from synthray.quiet import quiet
from synthray.serve.http.body import RAW, UNSTATED, parse_object, read_body
from synthray.serve.http.responses import SOUND_HEADER
from synthray.serve.http.uploads import Form
from synthray.serve.metrics import timed
from synthray.serve.models.served import Served
from synthray.serve.service import Service
from synthray.synth.files.sound_file import Sound, read_sound
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import preset_from_json
from synthray.synth.voice import check_settings

Started = tuple[Sound, np.ndarray | None]
"""A sound, and the settings float32 ``(parameters,)`` at which its search starts, if there are any."""


def require_sound_type(kind: str) -> None:
    """Raise RequestError 415 unless a content type may be that of a sound file."""
    if not kind.startswith("audio/") and kind not in (RAW, "application/ogg", *UNSTATED):
        raise RequestError(415, f"content-type is {kind!r}, expected an audio file as the body (audio/wav)")


async def read_request_sound(request: Request, service: Service, served: Served | None) -> Sound:
    """Return the sound file in a request's body.

    Raises:
        RequestError: the body cannot be read.
        SoundError: it is no sound file.
    """
    body = await read_body(request, service.config)
    if not body:
        raise SoundError("the body is empty, expected an audio file (curl --data-binary @sound.wav)")
    return await service.sound_work.submit(decode_sound, service, served, body)


def decode_sound(service: Service, served: Served | None, raw: bytes) -> Sound:
    """Return the sound in a file's bytes, and record the time of the decoding.

    The decoder's own log lines are discarded, because a corrupt MP3 would fill the log with them.
    """
    with timed(service.metrics, "decode", served), quiet():
        return read_sound(raw)


def decode_sound_json(service: Service, served: Served, body: bytes) -> Started:
    """Return the sound and the start of a body ``{"target": BASE64, "start": PRESET}``.

    Raises:
        RequestError: the body is not such an object.
        SoundError: the target is no sound file, or the start no preset.
    """
    request = parse_object(body)
    for name in request:
        if name not in ("target", "start"):
            raise RequestError(400, f"{shown(name)} is unknown, expected target or start")
    start = None if request.get("start") is None else _decode_start(request["start"])
    return decode_sound(service, served, decode_base64("target", request.get("target"))), start


def decode_sound_form(service: Service, served: Served, form: Form) -> Started:
    """Return the only sound of a form, and its start.

    Raises:
        RequestError: the form holds several files, or its start is not JSON.
        SoundError: the file is no sound, or the start no preset.
    """
    if len(form.uploads) > 1:
        raise RequestError(400, f"the form holds a start and {len(form.uploads)} files, expected one file")
    start = None if form.start is None else _decode_start(parse_object(form.start, "start"))
    return decode_sound(service, served, form.uploads[0].raw), start


def decode_base64(name: str, text: Any) -> bytes:
    """Return the bytes of a sound file in base64.

    Raises:
        RequestError: ``text`` is not base64.
        SoundError: it is empty.
    """
    if not isinstance(text, str):
        raise RequestError(400, f"{name} is {json_type(text)}, expected a sound file in base64")
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise RequestError(400, f"{name} is not base64: {error}") from None
    if not raw:
        raise SoundError(f"{name} is empty, expected a sound file in base64")
    return raw


def sound_header(sound: Sound) -> dict[str, str]:
    """Return the known durations as a dictionary of structured fields (RFC 9651): ``skipped_s=0.52, used_s=2.0``."""
    known = {name: value for name, value in sound.to_json().items() if value is not None}
    return {SOUND_HEADER: ", ".join(f"{name}={value}" for name, value in known.items())}


def _decode_start(preset: Any) -> np.ndarray:
    try:
        settings: np.ndarray = check_settings(preset_from_json(INSTRUMENT, preset)[None])[0]
    except SoundError as error:
        raise SoundError(f"start: {error}") from None
    return settings
