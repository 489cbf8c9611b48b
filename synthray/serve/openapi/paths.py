"""The operations of the OpenAPI document by path, the most used ones first.

Those of the Open Inference Protocol and of the service itself are in other_paths.py.
"""

from __future__ import annotations

from synthray.serve.http.body import JSON, RAW, WAV
from synthray.serve.http.responses import SHAPE_HEADER
from synthray.serve.http.uploads import FORM
from synthray.serve.openapi.api import Api, Json
from synthray.serve.openapi.curl import curl_samples
from synthray.serve.openapi.examples import SOUND_PATH, shared
from synthray.serve.openapi.operation import (
    BODY_ERRORS,
    MODEL,
    SOUND,
    Operation,
    media,
    query_parameter,
    with_versions,
)
from synthray.serve.openapi.other_paths import open_inference_operations, service_operations
from synthray.serve.openapi.schemas import BASE64, NUMBER, SOUND_FILE, TEXT, WAV_FILE, array, described, record, ref
from synthray.serve.sounds.progress_stream import EVENT_STREAM
from synthray.synth.features import ANALYSES

PARAMETERS = "`value`, `unit`, `confidence`, `audible` and `why_inaudible`"


def paths(api: Api) -> Json:
    """Return the paths of a service."""
    operations = _sound_operations(api) | with_versions(api, ":predict", _predict(api))
    operations |= with_versions(api, "", _status()) | with_versions(api, "/metadata", _metadata())
    operations |= open_inference_operations(api) | service_operations(api)
    samples = curl_samples(api)
    return {
        path: {"post" if operation.body else "get": operation.to_json(path, samples)}
        for path, operation in operations.items()
    }


def _sound_operations(api: Api) -> dict[str, Operation]:
    operations = {":match": _match(api), ":render": _render(), ":analyse": _analyse(api)}
    return {
        path: each
        for verb, operation in operations.items()
        for path, each in with_versions(api, verb, operation).items()
    }


def _sound_bodies(api: Api) -> Json:
    file = {"summary": "A sound file of this service", "externalValue": f"{api.url}{SOUND_PATH}"}
    return {RAW: media(SOUND_FILE, file=file), "audio/*": media(SOUND_FILE, file=file)}


def _match(api: Api) -> Operation:
    return Operation(
        tag="Sounds",
        name="match",
        summary="Find the preset of a sound",
        description=f"The body is a sound file: WAV, RF64, FLAC, OGG, MP3, AIFF, CAF, AU or another format that "
        "libsndfile reads. The service matches 2 s from the onset of the sound, as one channel at 11025 Hz. For each "
        f"parameter, the preset has {PARAMETERS}.\n\n"
        f"With `Accept: {WAV}` the answer is the preset's sound. With `Accept: {EVENT_STREAM}` it is the progress of "
        "the search: an event `improvement` for each better preset, and at the end `match` or `error`. To stop a "
        "search, close the connection. A form with several files is answered in JSON, with one entry a file.\n\n"
        "With `start`, the search begins at this preset, too. The answer is never further from the sound than it.",
        answer="The preset of the sound, and the part of the file that was matched.",
        content={
            JSON: media(
                {"anyOf": [ref("Match"), ref("Matches")]},
                match=shared("match"),
                sounds=shared("matchWithSounds"),
                form=shared("matches"),
            ),
            WAV: media(WAV_FILE),
            EVENT_STREAM: media(
                TEXT | {"description": "server-sent events; the data of an event are as in the JSON answer"},
                events=shared("events"),
            ),
        },
        errors=(400, 401, 406, 409, *BODY_ERRORS, 503),
        parameters=_match_queries(api),
        body=_sound_bodies(api) | _start_bodies(),
        headers=MODEL | SOUND,
    )


def _match_queries(api: Api) -> tuple[Json, ...]:
    longest_s = api.service.config.max_refine_s
    refine = NUMBER | {"minimum": 0, "maximum": longest_s, "default": 0}
    text = (
        "seconds of search for a nearer preset; 0 for the network's answer alone. Each file of a form takes as "
        f"long, and all of them together may take {longest_s:g} s."
    )
    both = "`sounds` adds both sounds to a JSON answer, as WAV files in base64"
    return (
        query_parameter("refine", refine, text, api.refine_s),
        query_parameter("include", {"enum": ["sounds"]}, both, "sounds"),
    )


def _start_bodies() -> Json:
    """Return the two bodies that can hold a start preset: a form, and JSON."""
    files = array({"type": "string", "contentMediaType": RAW}) | {"minItems": 1}
    start = described(ref("PresetRequest"), "a preset at which the search starts; then the form has one sound file")
    form = {"type": "object", "properties": {"sound": files, "start": start}}
    form["description"] = "sound files, under any field names but `start`"
    target = {"target": described(BASE64, "a sound file in base64")}
    started = described(record(target, start=start), "a sound file, and a preset at which the search starts")
    return {FORM: media(form), JSON: media(started, start=shared("soundWithStart"))}


def _render() -> Operation:
    return Operation(
        tag="Sounds",
        name="render",
        summary="Return the sound of a preset",
        description="The body is a preset, or the answer of `:match` as it is. All parameters are needed. With "
        f"`Accept: {JSON}` the answer has the sound in base64, and its distance from `target`, a sound file in base64.",
        answer="The sound of the preset.",
        content={
            WAV: media(WAV_FILE),
            JSON: media(ref("Rendered"), rendered=shared("rendered")),
        },
        errors=(400, 401, 406, *BODY_ERRORS),
        body={
            JSON: media(
                ref("PresetRequest"),
                preset=shared("preset"),
                target=shared("presetWithTarget"),
            )
        },
    )


def _analyse(api: Api) -> Operation:
    card = api.served.predictor.card
    known = "; ".join(f"`{name}`: {each.shape[0]} frames of {each.shape[1]} numbers" for name, each in ANALYSES.items())
    shape = {
        "schema": TEXT,
        "description": "frames, and numbers a frame",
        "example": "{},{}".format(*card.feature_shape),
    }
    return Operation(
        tag="Sounds",
        name="analyse",
        summary="Return the features of a sound",
        description="The body is a sound file, as for `:match`. The features describe 2 s from the onset of the sound "
        "in frames of 0.1 s. With the model's analysis, `:predict` takes the answer as its body. With "
        f"`Accept: {RAW}` the answer is the numbers alone, as little-endian float32, frame by frame.",
        answer="The features of the sound.",
        content={
            JSON: media(ref("Analysed"), zeros=shared("analysed")),
            RAW: media({"description": "the numbers [frames, numbers a frame], as little-endian float32"}),
        },
        errors=(400, 401, 406, *BODY_ERRORS, 503),
        parameters=(
            query_parameter(
                "analysis",
                {"enum": list(ANALYSES), "default": card.analysis},
                f"the analysis that makes the features ({known}), by default that of the served model",
                card.analysis,
            ),
        ),
        body=_sound_bodies(api),
        headers={SHAPE_HEADER: shape} | SOUND,
    )


def _predict(api: Api) -> Operation:
    frames, bins = api.served.predictor.card.feature_shape
    size = frames * bins * 4
    raw = f"the features, as little-endian float32 [sounds, {frames} frames, {bins} numbers]: {size} bytes a sound"
    return Operation(
        tag="Features",
        name="predict",
        summary="Return the network's outputs for features",
        description=f"The features of a sound are {frames} frames of {bins} numbers, and `:analyse` returns them. The "
        "body is JSON with sounds in rows (`instances`) or in columns (`inputs`), or raw float32. The output for "
        "a range is a position in the range, from 0 to 1. The output for a choice is the probability of each value.",
        answer="One object for each sound (`predictions`), or for `inputs` one array for each output (`outputs`).",
        content={JSON: media(ref("PredictAnswer"), outputs=shared("predicted"))},
        errors=(400, 401, *BODY_ERRORS, 503),
        body={
            JSON: media(ref("PredictRequest"), zeros=shared("predict")),
            RAW: media({"description": raw}),
        },
        headers=MODEL,
    )


def _status() -> Operation:
    return Operation(
        tag="Model",
        name="status",
        summary="Return the status of the models",
        description="A newer model that failed to load has the version 0, the state END and the reason. The previous "
        "model keeps answering.",
        answer="One entry a model: its number, state, name and label.",
        content={
            JSON: media(ref("Status"), available=shared("status"), failed=shared("failed")),
        },
        errors=(401, 503),
    )


def _metadata() -> Operation:
    return Operation(
        tag="Model",
        name="metadata",
        summary="Return the inputs, outputs and parameters of the model",
        description="The parameters have their units, ranges and values, which tell the meaning of the outputs.",
        answer="The signature of the model, and below `synthray` its name, SHA-256 and parameters.",
        content={JSON: media(ref("Metadata"), metadata=shared("metadata"))},
        errors=(401, 503),
    )
