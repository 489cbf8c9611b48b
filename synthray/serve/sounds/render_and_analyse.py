"""Rendering of presets and analysis of sounds over HTTP.

POST /v1/models/synthray:render     the sound of a preset, and its distance from a target
POST /v1/models/synthray:analyse    features of a sound file, as ``:predict`` takes them
"""

from __future__ import annotations

import base64
import json
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response

from synthray.errors import RequestError, shown
from synthray.match.match import described_preset, distance_db
from synthray.serve.http.body import (
    JSON,
    RAW,
    WAV,
    content_type,
    parse_object,
    preferred,
    read_body,
    read_query,
    require_json_type,
)
from synthray.serve.http.responses import SHAPE_HEADER, json_response
from synthray.serve.models.served import Served
from synthray.serve.service import Service, model_for, service_of
from synthray.serve.sounds.match_answer import render_wav
from synthray.serve.sounds.request_sound import (
    decode_base64,
    decode_sound,
    read_request_sound,
    require_sound_type,
    sound_header,
)
from synthray.synth.features import ANALYSES, analyse
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import preset_from_json


async def render_preset(request: Request) -> Response:
    """Return the sound of a preset as WAV, or as JSON with its distance from a target."""
    service = service_of(request)
    read_query(request)
    # A rendering needs no model, but a path may not name one that is not served.
    served = model_for(request) if request.path_params else None
    require_json_type(request)
    wants_json = preferred(request, (WAV, JSON)) == JSON
    body = await read_body(request, service.config)
    answer = await service.sound_work.submit(_render, service, served, body, wants_json)
    return json_response(answer) if isinstance(answer, dict) else Response(answer, media_type=WAV)


async def analyse_sound(request: Request) -> Response:
    """Return the features of a sound file, as JSON or as raw float32."""
    service = service_of(request)
    analysis = read_query(request, ("analysis",)).get("analysis", "")
    served = model_for(request) if request.path_params or not analysis else None
    if served and not analysis:
        analysis = served.predictor.card.analysis
    if analysis not in ANALYSES:
        raise RequestError(400, f"analysis is {shown(analysis)}, expected one of {', '.join(ANALYSES)}")
    require_sound_type(content_type(request))
    wants_raw = preferred(request, (JSON, RAW)) == RAW
    sound = await read_request_sound(request, service, served)
    body, shape = await service.sound_work.submit(_analyse, sound.audio, analysis, wants_raw)
    headers = {SHAPE_HEADER: ",".join(map(str, shape))} | sound_header(sound)
    return Response(body, media_type=RAW if wants_raw else JSON, headers=headers)


def _render(service: Service, served: Served | None, body: bytes, wants_json: bool) -> bytes | dict[str, Any]:
    preset = parse_object(body)
    settings = preset_from_json(INSTRUMENT, preset)
    wav = render_wav(service, served, settings)
    if not wants_json:
        return wav
    distance = None
    if (target := preset.get("target")) is not None:
        distance = round(distance_db(decode_sound(service, served, decode_base64("target", target)).audio, settings), 3)
    sound = base64.b64encode(wav).decode()
    return {"preset": described_preset(settings), "distance_db": distance, "sound": sound}


def _analyse(audio: np.ndarray, analysis: str, wants_raw: bool) -> tuple[bytes, tuple[int, ...]]:
    [features] = analyse(audio[None], analysis=analysis)
    if wants_raw:
        return features.astype("<f4").tobytes(), features.shape
    answer = {"analysis": analysis, "shape": list(features.shape), "instances": [features.tolist()]}
    return json.dumps(answer, separators=(",", ":")).encode(), features.shape
