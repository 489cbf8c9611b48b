"""JSON schemas of the service's requests and answers, for the served model."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from synthray.model.heads import INPUT_NAME
from synthray.serve.infer_codec import UNSUPPORTED
from synthray.serve.models import MODEL_NAME
from synthray.serve.tensors import FLOAT32, outputs_of
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Constant, Range
from synthray.synth.presets import FORMAT, preset_to_json

if TYPE_CHECKING:
    from synthray.model.saved import ModelCard

Schema = dict[str, Any]
NUMBER: Schema = {"type": "number"}
TEXT: Schema = {"type": "string"}
BASE64: Schema = {"type": "string", "contentEncoding": "base64", "contentMediaType": "audio/wav"}


def schemas(card: ModelCard) -> dict[str, Schema]:
    """Return the schemas by name."""
    frames, bins = card.feature_shape
    rows = {tensor.name: array(NUMBER, tensor.shape[1]) for tensor in outputs_of(card)}
    columns = {name: array(row) for name, row in rows.items()}
    return {
        "Error": record({"error": TEXT}),
        "Features": array(array(NUMBER, bins), frames) | {"description": f"one sound: {frames} frames of {bins} bins"},
        "PredictRequest": _predict_request(),
        "PredictAnswer": {
            "oneOf": [record({"predictions": array(_unnamed(rows))}), record({"outputs": _unnamed(columns)})]
        },
        "PresetRequest": _preset_request(),
        "Preset": _preset(),
        "Match": record(
            {"preset": ref("Preset"), "sound": ref("MatchedPart")},
            sounds=record({"original": BASE64, "match": BASE64}),
            progress={"type": "number", "minimum": 0, "maximum": 1},
        ),
        "Matches": record(
            {"matches": array({"anyOf": [ref("Match"), _refusal()]})},
        ),
        "MatchedPart": record(
            {"skipped_s": NUMBER, "used_s": NUMBER, "length_s": {"type": ["number", "null"]}},
        ),
        "Rendered": record({"preset": ref("Preset"), "distance_db": {"type": ["number", "null"]}, "sound": BASE64}),
        "Analysed": record(
            {"analysis": TEXT, "shape": array({"type": "integer"}, 2), "instances": array(array(array(NUMBER)), 1)}
        ),
        "InferRequest": _infer_request(card),
        "InferAnswer": record(
            {
                "model_name": {"const": MODEL_NAME},
                "model_version": TEXT,
                "outputs": array(
                    record({"name": TEXT, "datatype": {"const": FLOAT32}, "shape": array({"type": "integer"}, 2)})
                ),
            },
            id=TEXT,
        ),
    }


def record(required: dict[str, Schema], **optional: Schema) -> Schema:
    """Return the schema of an object."""
    return {"type": "object", "required": list(required), "properties": required | optional}


def array(items: Schema, length: int | None = None) -> Schema:
    """Return the schema of an array, of a fixed length if one is given."""
    return {"type": "array", "items": items} | ({} if length is None else {"minItems": length, "maxItems": length})


def ref(name: str) -> Schema:
    """Return the reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


@cache
def example_preset() -> dict[str, Any]:
    """Return a preset with each parameter in the middle of its range."""
    middle = np.array([[0.0 if isinstance(p, Choice) else 0.5 for p in INSTRUMENT.learned]])
    return preset_to_json(INSTRUMENT, INSTRUMENT.labels_to_settings(middle)[0])


def _refusal() -> Schema:
    number = {"type": "integer"}
    return record({"name": TEXT, "error": TEXT, "status": number}, retry_after_s=number)


def _unnamed(outputs: dict[str, Schema]) -> Schema:
    """Return the schema of outputs by name; a single one is written without its name."""
    return next(iter(outputs.values())) if len(outputs) == 1 else record(outputs)


def _predict_request() -> Schema:
    named = record({INPUT_NAME: ref("Features")})
    some = {"type": "array", "minItems": 1}
    signature = {"enum": ["serving_default", ""]}
    return {
        "oneOf": [
            record({"instances": some | {"items": {"anyOf": [ref("Features"), named]}}}, signature_name=signature),
            record(
                {
                    "inputs": {
                        "anyOf": [
                            some | {"items": ref("Features")},
                            record({INPUT_NAME: some | {"items": ref("Features")}}),
                        ]
                    }
                },
                signature_name=signature,
            ),
        ]
    }


def _preset_request() -> Schema:
    parameters: dict[str, Schema] = {}
    for parameter in INSTRUMENT.parameters:
        value = _value(parameter)
        entry = record({"value": value})
        if unit := getattr(parameter, "unit", ""):
            entry["properties"]["unit"] = {"const": unit}
        parameters[parameter.name] = {"anyOf": [value, entry]}
    preset = record({"parameters": record(parameters) | {"additionalProperties": False}}, format={"const": FORMAT})
    target = {"target": BASE64 | {"description": "a sound file, to which the distance is computed"}}
    return {"anyOf": [preset | {"properties": preset["properties"] | target}, record({"preset": preset}, **target)]}


def _preset() -> Schema:
    values = {p.name: _value(p, bounded=False) for p in INSTRUMENT.parameters}
    known = {
        "unit": TEXT,
        "confidence": {"type": "number", "minimum": 0, "maximum": 1},
        "audible": {"type": "boolean"},
        "why_inaudible": TEXT,
    }
    entries = {name: record({"value": value}, **known) for name, value in values.items()}
    found = {"model": TEXT, "distance_db": NUMBER, "evaluations": {"type": "integer"}, "seconds": NUMBER}
    return record({"format": {"const": FORMAT}, "parameters": record(entries)}, **found)


def _value(parameter: Range | Choice | Constant, *, bounded: bool = True) -> Schema:
    """Return the schema of a value; answers round to six digits, so they are not bounded."""
    if isinstance(parameter, Choice):
        return {"enum": list(parameter.values)}
    if isinstance(parameter, Range) and bounded:
        described = {"description": parameter.description} if parameter.description else {}
        return NUMBER | {"minimum": parameter.minimum, "maximum": parameter.maximum} | described
    return NUMBER


def _infer_request(card: ModelCard) -> Schema:
    frames, bins = card.feature_shape
    names = [tensor.name for tensor in outputs_of(card)]
    flag = {"type": "boolean"}
    refused = dict.fromkeys(UNSUPPORTED, False)
    tensor = record(
        {
            "name": {"const": INPUT_NAME},
            "datatype": {"const": FLOAT32},
            "shape": {
                "type": "array",
                "prefixItems": [{"type": "integer", "minimum": 1}, {"const": frames}, {"const": bins}],
                "minItems": 3,
                "maxItems": 3,
            },
        },
        data={"type": "array", "description": "numbers, flat or nested"},
        parameters={"type": "object", "properties": {"binary_data_size": {"type": "integer", "minimum": 0}}},
    )
    output = record(
        {"name": {"enum": names}},
        parameters={"type": "object", "properties": {"binary_data": flag} | refused},
    )
    return record(
        {"inputs": array(tensor, 1)},
        id=TEXT,
        outputs=array(output),
        parameters={"type": "object", "properties": {"binary_data_output": flag}},
    )
