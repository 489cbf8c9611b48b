"""Shell commands that show how to call the service, as ``x-codeSamples`` in the OpenAPI document.

Each can be pasted as it is: a command that needs a sound gets one from the service first.
"""

from __future__ import annotations

import json
import shlex

from synthray.model.heads import INPUT_NAME
from synthray.serve.http.access import TOKEN_VARIABLE
from synthray.serve.models.served import BASE, MODEL_NAME
from synthray.serve.openapi.api import Api
from synthray.serve.openapi.examples import SOUND_PATH
from synthray.serve.protocols.infer_codec import LENGTH_HEADER
from synthray.serve.protocols.tensors import FLOAT32

_PATHS = {
    "sound": SOUND_PATH,
    "match": f"{BASE}:match",
    "with_sounds": f"{BASE}:match?include=sounds",
    "render": f"{BASE}:render",
    "analyse": f"{BASE}:analyse",
    "predict": f"{BASE}:predict",
    "status": BASE,
    "metadata": f"{BASE}/metadata",
    "model": f"/v2/models/{MODEL_NAME}",
    "infer": f"/v2/models/{MODEL_NAME}/infer",
    "health": "/healthz",
    "openapi": "/openapi.json",
}
"""Paths of the service, which a sample names in braces."""
_GET = "curl -sO {sound}\n"
_SEND = "{call} --data-binary @pluck.flac"
_GET_PRESET = f"{_GET}{_SEND} -o preset.json {{match}}\n"
_GET_FEATURES = f"{_GET}{_SEND} -o features.json {{analyse}}\n"
_GET_RAW_FEATURES = f"{_GET}{_SEND} -H 'Accept: application/octet-stream' -o features.f32 {{analyse}}\n"
_SAMPLES = {
    "match": {
        "A preset": _GET + _SEND + " {match}",
        "Its sound": _GET + _SEND + " -H 'Accept: audio/wav' -o match.wav {match}",
        "A preset after a search": _GET + _SEND + " {search}",
        "The progress of a search": _GET
        + "{call} -N --data-binary @pluck.flac -H 'Accept: text/event-stream' {search}",
        "A preset and both sounds": _GET + _SEND + " {with_sounds}",
        "A search that starts at a preset": _GET_PRESET + "{call} -F sound=@pluck.flac -F start=@preset.json {search}",
        "Presets of several files": _GET + "{call} -F a=@pluck.flac -F b=@pluck.flac {match}",
    },
    "render": {
        "The sound of a match": _GET_PRESET
        + "{call} --data-binary @preset.json -H 'Content-Type: application/json' -o preset.wav {render}",
    },
    "analyse": {
        "Features": _GET_FEATURES,
        "Features as raw float32": _GET_RAW_FEATURES,
    },
    "predict": {
        "Outputs for a sound": _GET_FEATURES
        + "{call} --data-binary @features.json -H 'Content-Type: application/json' {predict}",
        "The same with raw float32": _GET_RAW_FEATURES
        + "{call} --data-binary @features.f32 -H 'Content-Type: application/octet-stream' {predict}",
    },
    "status": {"curl": "{call} {status}"},
    "metadata": {"curl": "{call} {metadata}"},
    "modelMetadata": {"curl": "{call} {model}"},
    "modelInfer": {
        "Outputs for a sound, whose features follow the JSON as float32": _GET_RAW_FEATURES
        + "printf %s '{infer_json}' | cat - features.f32 > request.bin\n"
        "{call} --data-binary @request.bin -H 'Content-Type: application/octet-stream' \\\n"
        "  -H '{length_header}: {infer_json_length}' {infer}",
    },
    "health": {"curl": "curl {health}"},
    "openapi": {"curl": "curl -o openapi.json {openapi}"},
}
"""Commands by their labels, by the names of the operations."""


def curl_samples(api: Api) -> dict[str, list[dict[str, str]]]:
    """Return the samples of the operations, by their names."""
    frames, bins = api.served.predictor.card.feature_shape
    tensor = {"name": INPUT_NAME, "datatype": FLOAT32, "shape": [1, frames, bins]}
    infer_json = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": frames * bins * 4}}]})
    paths = _PATHS | {"search": f"{BASE}:match?refine={api.refine_s:g}"}
    values = {name: shlex.quote(api.url + path) for name, path in paths.items()} | {
        "call": f'curl -H "Authorization: Bearer ${TOKEN_VARIABLE}"' if api.service.tokens else "curl",
        "length_header": LENGTH_HEADER,
        "infer_json": infer_json,
        "infer_json_length": str(len(infer_json)),
    }
    return {
        operation: [
            {"lang": "Shell", "label": label, "source": text.format_map(values).rstrip()}
            for label, text in samples.items()
        ]
        for operation, samples in _SAMPLES.items()
    }
