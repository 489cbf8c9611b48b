"""Errors in the OpenAPI document: their meanings, and messages as examples.

The messages are made by the code that refuses requests, except where that code needs a real request.
"""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.requests import Request

from synthray.match.sound import is_instrument_model
from synthray.serve.http.access import refusal
from synthray.serve.http.body import JSON, WAV, preferred
from synthray.serve.models.served import FixedModels, choose
from synthray.serve.openapi.api import Api, Json
from synthray.serve.openapi.examples import error_message, example, preset
from synthray.serve.openapi.schemas import INTEGER, ref
from synthray.serve.protocols.decode import decode_json
from synthray.serve.sounds.match_answer import MatchOptions
from synthray.serve.sounds.request_sound import require_sound_type
from synthray.synth.files.sound_file import read_sound
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.presets import preset_from_json

ERRORS = {
    400: "A field, index or value of the request is invalid.",
    401: "The token is missing or wrong.",
    404: "There is no such path, version or label.",
    406: "No media type that `Accept` names is available.",
    408: "The body arrives too slowly.",
    409: "The served model is of another instrument, so it cannot match sounds.",
    413: "The body is too long, before or after decompression.",
    415: "The content type of the body, or its compression, is not supported.",
    429: "Too many requests wait. Retry after the seconds in the header `Retry-After`.",
    503: "No model is ready yet.",
}


def error_responses(api: Api) -> Json:
    """Return the responses of errors by name."""
    return {f"Error{status}": _response(status, messages) for status, messages in _messages(api).items()}


def _response(status: int, messages: dict[str, str]) -> Json:
    examples = {name.replace(" ", "-"): example(name, {"error": text}) for name, text in messages.items()}
    response: Json = {"description": ERRORS[status], "content": {JSON: {"schema": ref("Error"), "examples": examples}}}
    if status == 429:
        response["headers"] = {"Retry-After": {"schema": INTEGER, "description": "seconds"}}
    if status == 401:
        response["headers"] = {"WWW-Authenticate": {"schema": {"const": "Bearer"}, "description": "the scheme"}}
    return response


def _messages(api: Api) -> dict[int, dict[str, str]]:
    """Return example messages by status, then by a summary."""
    config, card = api.service.config, api.served.predictor.card
    limit = config.max_body_bytes
    too_high = {"preset": preset() | {"parameters": preset()["parameters"] | {"filter_cutoff": 9000}}}
    other = "model_9_20" if is_instrument_model(api.served.predictor) else card.name
    other_version = str(api.served.version + 1)
    models = FixedModels((api.served,))
    return {
        400: {
            "query": error_message(MatchOptions.of, _request(query="refine=-1"), config.max_refine_s),
            "sound file": error_message(read_sound, b"text"),
            "preset": error_message(preset_from_json, INSTRUMENT, too_high),
            "features": error_message(decode_json, b'{"instances": [[[0]]]}', card.feature_shape),
        },
        401: {
            "no token": refusal(Headers(), "", ("token",)) or "",
            "wrong token": refusal(Headers({"authorization": "Bearer wrong"}), "", ("token",)) or "",
        },
        404: {"version": error_message(lambda: choose(models, version=other_version))},
        406: {"Accept": error_message(preferred, _request(accept="image/png"), (WAV, JSON))},
        408: {"body": f"the body: timed out after {config.body_timeout_s:g} s, with 65536 bytes. Send it faster."},
        409: {
            "instrument": f"{other} was trained on another instrument. It can predict from features, "
            "but it cannot match a sound."
        },
        413: {"body": f"the body has {limit + 1} bytes, the limit is {limit}"},
        415: {"content type": error_message(require_sound_type, "text/html")},
        429: {"sounds": str(api.service.sound_work.full())},
        503: {"no model": error_message(choose, FixedModels())},
    }


def _request(query: str = "", accept: str = "*/*") -> Request:
    return Request({"type": "http", "query_string": query.encode(), "headers": [(b"accept", accept.encode())]})
