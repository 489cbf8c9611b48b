"""Shell commands that show how to call the service, as ``x-codeSamples`` in the OpenAPI document.

Each can be pasted as it is: a command that needs a sound gets one from the service first.
"""

from __future__ import annotations

import json
import shlex
from typing import Any

from synthray.model.heads import INPUT_NAME
from synthray.serve.http.access import TOKEN_VARIABLE
from synthray.serve.http.body import JSON, RAW, WAV
from synthray.serve.models.served import BASE, MODEL_NAME
from synthray.serve.openapi.api import Api
from synthray.serve.openapi.examples import SOUND_PATH
from synthray.serve.protocols.infer_codec import LENGTH_HEADER
from synthray.serve.protocols.tensors import FLOAT32

SOUND = SOUND_PATH.rpartition("/")[2]


def curl_samples(api: Api) -> dict[str, list[dict[str, str]]]:
    """Return the samples of the operations, by their names."""
    call = _call(api)
    return {
        "match": _match(api),
        "render": _render(api),
        "analyse": _analyse(api),
        "predict": _predict(api),
        "status": [_sample("", f"{call} {_url(api, BASE)}")],
        "metadata": [_sample("", f"{call} {_url(api, f'{BASE}/metadata')}")],
        "modelMetadata": [_sample("", f"{call} {_url(api, f'/v2/models/{MODEL_NAME}')}")],
        "modelInfer": [_infer(api)],
        "health": [_sample("", f"curl {_url(api, '/healthz')}")],
        "openapi": [_sample("", f"curl -o openapi.json {_url(api, '/openapi.json')}")],
    }


def _match(api: Api) -> list[dict[str, str]]:
    call, get_sound, match = _call(api), _get_sound(api), _url(api, f"{BASE}:match")
    search = _url(api, f"{BASE}:match?refine={api.refine_s:g}")
    with_sounds = _url(api, f"{BASE}:match?include=sounds")
    return [
        _sample("A preset", get_sound, f"{call} --data-binary @{SOUND} {match}"),
        _sample("Its sound", get_sound, f"{call} --data-binary @{SOUND} -H 'Accept: {WAV}' -o match.wav {match}"),
        _sample("A preset after a search", get_sound, f"{call} --data-binary @{SOUND} {search}"),
        _sample(
            "The progress of a search",
            get_sound,
            f"{call} -N --data-binary @{SOUND} -H 'Accept: text/event-stream' {search}",
        ),
        _sample("A preset and both sounds", get_sound, f"{call} --data-binary @{SOUND} {with_sounds}"),
        _sample(
            "A search that starts at a preset",
            get_sound,
            f"{call} --data-binary @{SOUND} -o preset.json {match}",
            f"{call} -F sound=@{SOUND} -F start=@preset.json {search}",
        ),
        _sample("Presets of several files", get_sound, f"{call} -F a=@{SOUND} -F b=@{SOUND} {match}"),
    ]


def _render(api: Api) -> list[dict[str, str]]:
    call, get_sound, match, render = (
        _call(api),
        _get_sound(api),
        _url(api, f"{BASE}:match"),
        _url(api, f"{BASE}:render"),
    )
    return [
        _sample(
            "The sound of a match",
            get_sound,
            f"{call} --data-binary @{SOUND} -o preset.json {match}",
            f"{call} --data-binary @preset.json -H 'Content-Type: {JSON}' -o preset.wav {render}",
        )
    ]


def _analyse(api: Api) -> list[dict[str, str]]:
    call, get_sound, analyse = _call(api), _get_sound(api), _url(api, f"{BASE}:analyse")
    return [
        _sample("Features", get_sound, f"{call} --data-binary @{SOUND} -o features.json {analyse}"),
        _sample(
            "Features as raw float32",
            get_sound,
            f"{call} --data-binary @{SOUND} -H 'Accept: {RAW}' -o features.f32 {analyse}",
        ),
    ]


def _predict(api: Api) -> list[dict[str, str]]:
    call, get_sound, analyse, predict = (
        _call(api),
        _get_sound(api),
        _url(api, f"{BASE}:analyse"),
        _url(api, f"{BASE}:predict"),
    )
    return [
        _sample(
            "Outputs for a sound",
            get_sound,
            f"{call} --data-binary @{SOUND} -o features.json {analyse}",
            f"{call} --data-binary @features.json -H 'Content-Type: {JSON}' {predict}",
        ),
        _sample(
            "The same with raw float32",
            get_sound,
            f"{call} --data-binary @{SOUND} -H 'Accept: {RAW}' -o features.f32 {analyse}",
            f"{call} --data-binary @features.f32 -H 'Content-Type: {RAW}' {predict}",
        ),
    ]


def _infer(api: Api) -> dict[str, str]:
    """Return a sample with features as bytes behind the JSON."""
    frames, bins = api.served.predictor.card.feature_shape
    call, analyse = _call(api), _url(api, f"{BASE}:analyse")
    tensor: dict[str, Any] = {"name": INPUT_NAME, "datatype": FLOAT32, "shape": [1, frames, bins]}
    tensor["parameters"] = {"binary_data_size": frames * bins * 4}
    text = json.dumps({"inputs": [tensor]})
    return _sample(
        "Outputs for a sound, whose features follow the JSON as float32",
        _get_sound(api),
        f"{call} --data-binary @{SOUND} -H 'Accept: {RAW}' -o features.f32 {analyse}",
        f"printf %s '{text}' | cat - features.f32 > request.bin",
        f"{call} --data-binary @request.bin -H 'Content-Type: {RAW}' \\\n"
        f"  -H '{LENGTH_HEADER}: {len(text)}' {_url(api, f'/v2/models/{MODEL_NAME}/infer')}",
    )


def _get_sound(api: Api) -> str:
    return f"curl -sO {_url(api, SOUND_PATH)}"


def _call(api: Api) -> str:
    return f'curl -H "Authorization: Bearer ${TOKEN_VARIABLE}"' if api.service.tokens else "curl"


def _url(api: Api, path: str) -> str:
    return shlex.quote(api.url + path)


def _sample(label: str, *lines: str) -> dict[str, str]:
    return {"lang": "Shell", "label": label or "curl", "source": "\n".join(lines)}
