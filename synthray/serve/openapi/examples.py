"""Examples of requests and answers in the OpenAPI document.

The code that answers requests makes the answers. They describe an invented sound, because a real match
would take longer.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import orjson

from synthray.errors import SynthrayError
from synthray.match.match import Match, described_preset
from synthray.model.heads import INPUT_NAME
from synthray.serve.models.served import MODEL_NAME, FixedModels
from synthray.serve.openapi.api import Api, Json
from synthray.serve.protocols.encode import encode_metadata, encode_predictions, encode_status
from synthray.serve.protocols.infer_codec import InferRequest, encode_infer
from synthray.serve.protocols.tensors import FLOAT32, model_metadata, outputs_of
from synthray.serve.sounds.match_answer import MatchOptions, encode_match
from synthray.synth.files.sound_file import Sound, encode_wav, read_sound
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES, SAMPLE_RATE_HZ
from synthray.synth.parameters import Choice
from synthray.synth.presets import preset_to_json

SOUND_PATH = "/page/examples/pluck.flac"
"""Path of a sound file that the service offers to everybody."""
IN_ZEROS = "Zeros in the shape of one sound's features. `:analyse` returns those of a sound file."
SHORTENED = "the sounds are shortened to 50 ms"


def example(summary: str, value: Any) -> Json:
    """Return an example."""
    return {"summary": summary, "value": value}


def error_message(function: Callable[..., Any], *args: Any) -> str:
    """Return the message of the error that a function raises."""
    try:
        function(*args)
    except SynthrayError as error:
        return str(error)
    raise AssertionError(f"{function} accepts an invalid example")


@cache
def preset() -> Json:
    """Return a preset with each parameter in the middle of its range."""
    return preset_to_json(INSTRUMENT, _settings())


@cache
def short_wav() -> str:
    """Return a WAV file with a tone of 50 ms, in base64."""
    time_s = np.arange(SAMPLE_RATE_HZ // 20) / SAMPLE_RATE_HZ
    return base64.b64encode(encode_wav(0.3 * np.sin(2 * np.pi * 220 * time_s))).decode()


def shared_examples(api: Api) -> Json:
    """Return the examples of operations that have several paths, by name."""
    served, models = api.served, FixedModels((api.served,))
    zeros = _zeros(api)
    tensor = {"name": INPUT_NAME, "datatype": FLOAT32, "shape": [1, *served.predictor.card.feature_shape]}
    failure = "model_9_20.keras does not match its card: its SHA-256 differs."
    target = {"preset": preset(), "target": short_wav()}
    return {
        "match": example("A sound file", _match(api)),
        "matchWithSounds": example(f"With include=sounds; {SHORTENED}", _match_with_sounds(api)),
        "matches": example("A form with two files", _matches(api)),
        "events": example("A search", _events(api)),
        "preset": example("A preset", preset()),
        "presetWithTarget": example("A preset and a sound file of 50 ms", target),
        "soundWithStart": example("A sound file of 50 ms and a preset", {"target": short_wav(), "start": preset()}),
        "rendered": example(f"With a target; {SHORTENED}", _rendered()),
        "analysed": example("Zeros in the shape of features", _analysed(api)),
        "predict": example(IN_ZEROS, {"instances": [zeros]}),
        "predicted": example("Outputs of one sound", _predicted(api)),
        "status": example("One model", encode_status((served,))),
        "failed": example("A newer model failed to load", encode_status((served,), failure)),
        "metadata": example("The served model", encode_metadata(served, api.service.config)),
        "infer": example(IN_ZEROS, {"inputs": [tensor | {"data": [zeros]}]}),
        "inferred": example("Outputs of one sound", _inferred(api)),
        "modelMetadata": example("The served model", model_metadata(models, served)),
        "modelReady": example("Ready", {"name": MODEL_NAME, "ready": True}),
    }


def shared(name: str) -> Json:
    """Return the reference to one of ``shared_examples``."""
    return {"$ref": f"#/components/examples/{name}"}


def _match(api: Api) -> Json:
    """Return an answer to a sound file."""
    settings = _settings()
    found = Match(
        settings,
        distance_db=2.308,
        confidence=np.linspace(0.9, 0.2, len(INSTRUMENT.learned)),
        evaluations=0,
        elapsed_s=0.012,
    )
    sound = Sound(np.zeros(N_SAMPLES, np.float32), skipped_s=0.52, length_s=7.1)
    return encode_match(api.service, api.served, sound, found, MatchOptions())


def _match_with_sounds(api: Api) -> Json:
    """Return an answer with both sounds."""
    return _match(api) | {"sounds": {"original": short_wav(), "match": short_wav()}}


def _matches(api: Api) -> Json:
    """Return an answer to a form with two files."""
    error = error_message(read_sound, b"text")
    return {"matches": [{"name": "pluck.flac"} | _match(api), {"name": "notes.txt", "error": error, "status": 400}]}


def _events(api: Api) -> str:
    """Return the events of a search."""
    found = _match(api)
    end = found | {"preset": found["preset"] | {"distance_db": 1.165, "evaluations": 8139, "seconds": 1.012}}
    sent = (("improvement", found | {"progress": 0.0}), ("match", end))
    return "".join(f"event: {name}\ndata: {orjson.dumps(data).decode()}\n\n" for name, data in sent)


def _rendered() -> Json:
    """Return an answer with the sound of a preset and its distance from a target."""
    return {"preset": described_preset(_settings()), "distance_db": 2.308, "sound": short_wav()}


def _analysed(api: Api) -> Json:
    """Return an answer with features."""
    card = api.served.predictor.card
    return {"analysis": card.analysis, "shape": list(card.feature_shape), "instances": [_zeros(api)]}


def _predicted(api: Api) -> Json:
    """Return the outputs of one sound."""
    answer: Json = orjson.loads(encode_predictions(_outputs(api), in_rows=True))
    return answer


def _inferred(api: Api) -> Json:
    """Return the outputs of one sound in the Open Inference Protocol."""
    outputs = _outputs(api)
    request = InferRequest(np.empty(0), dict.fromkeys(outputs, False))
    text, _ = encode_infer(request, outputs, api.served)
    answer: Json = orjson.loads(text)
    return answer


def _settings() -> np.ndarray:
    """Return settings float32 ``(parameters,)`` in the middle of their ranges."""
    middle = np.array([[0.0 if isinstance(p, Choice) else 0.5 for p in INSTRUMENT.learned]])
    settings: np.ndarray = INSTRUMENT.labels_to_settings(middle)[0]
    return settings


def _outputs(api: Api) -> dict[str, np.ndarray]:
    """Return outputs float32 ``(1, units)`` of a network that is undecided."""
    shapes = {tensor.name: tensor.shape[1] for tensor in outputs_of(api.served.predictor.card)}
    return {name: np.full((1, units), 0.5 if units == 1 else 1 / units, np.float32) for name, units in shapes.items()}


def _zeros(api: Api) -> list[list[int]]:
    """Return zeros in the shape ``(frames, bins)`` of features, as integers, which are shorter."""
    frames, bins = api.served.predictor.card.feature_shape
    return [[0] * bins] * frames
