"""JSON schemas of the service's requests, for the served model, and the parts that all schemas are made of.

Schemas of answers are in answers.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from synthray.model.heads import INPUT_NAME
from synthray.serve.protocols.infer_codec import UNSUPPORTED
from synthray.serve.protocols.tensors import FLOAT32, outputs_of
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice, Constant, Range
from synthray.synth.presets import FORMAT

if TYPE_CHECKING:
    from synthray.model.saved import ModelCard

Schema = dict[str, Any]
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
BASE64: Schema = {"type": "string", "contentEncoding": "base64", "contentMediaType": "audio/wav"}
WAV_FILE: Schema = {"description": "a WAV file: 2 s, one channel, 11025 Hz, 16 bits"}
SOUND_FILE: Schema = {"description": "the bytes of a sound file"}


def request_schemas(card: ModelCard) -> dict[str, Schema]:
    """Return the schemas of the requests by name."""
    frames, bins = card.feature_shape
    row = described(array(NUMBER, bins), f"one frame: {bins} numbers")
    text = f"Features of one sound, {frames} frames of {bins} numbers: those of :analyse with analysis={card.analysis}."
    return {
        "PresetRequest": _preset_request(),
        "Features": described(array(row, frames), text),
        "PredictRequest": _predict_request(),
        "InferRequest": _infer_request(card),
    }


def record(required: dict[str, Schema], **optional: Schema) -> Schema:
    """Return the schema of an object."""
    return {"type": "object", "required": list(required), "properties": required | optional}


def array(items: Schema, length: int | None = None) -> Schema:
    """Return the schema of an array, of a fixed length if one is given."""
    return {"type": "array", "items": items} | ({} if length is None else {"minItems": length, "maxItems": length})


def described(schema: Schema, text: str) -> Schema:
    """Return a schema with a description."""
    return schema | {"description": text}


def ref(name: str) -> Schema:
    """Return the reference to a schema."""
    return {"$ref": f"#/components/schemas/{name}"}


def value_schema(parameter: Range | Choice | Constant, *, bounded: bool = True) -> Schema:
    """Return the schema of a parameter's value; answers round to six digits, so they are not bounded."""
    text = ", in ".join(filter(None, (parameter.description, getattr(parameter, "unit", ""))))
    about = {"description": text} if text else {}
    if isinstance(parameter, Choice):
        return {"enum": list(parameter.values)} | about
    if isinstance(parameter, Range) and bounded:
        return NUMBER | {"minimum": parameter.minimum, "maximum": parameter.maximum} | about
    return NUMBER | about


def _preset_request() -> Schema:
    parameters: dict[str, Schema] = {}
    for parameter in INSTRUMENT.parameters:
        value = value_schema(parameter)
        entry = record({"value": value})
        if unit := getattr(parameter, "unit", ""):
            entry["properties"]["unit"] = {"const": unit}
        parameters[parameter.name] = {"anyOf": [value, entry]}
    values = described(record(parameters), "all parameters of the instrument, each as a value or as an entry with one")
    preset = record({"parameters": values | {"additionalProperties": False}}, format={"const": FORMAT})
    target = {"target": described(BASE64, "a sound file in base64; a JSON answer has the distance from it")}
    return {
        "description": "A preset, or the answer of :match, which has the preset as an entry.",
        "anyOf": [preset | {"properties": preset["properties"] | target}, record({"preset": preset}, **target)],
    }


def _predict_request() -> Schema:
    some = {"type": "array", "minItems": 1}
    row = {"anyOf": [ref("Features"), record({INPUT_NAME: ref("Features")})]}
    column = described(some | {"items": ref("Features")}, "one entry a sound")
    signature = described({"enum": ["serving_default", ""]}, "the model's only signature; may be left out")
    rows = described(some | {"items": row}, "the features of one or more sounds")
    columns = {"anyOf": [column, record({INPUT_NAME: column})], "description": "the features of one or more sounds"}
    return {
        "description": "Sounds in rows (`instances`), answered one object a sound, or in columns (`inputs`), answered "
        "one array an output.",
        "oneOf": [
            record({"instances": rows}, signature_name=signature),
            record({"inputs": columns}, signature_name=signature),
        ],
    }


def _infer_request(card: ModelCard) -> Schema:
    frames, bins = card.feature_shape
    names = [tensor.name for tensor in outputs_of(card)]
    refused = dict.fromkeys(UNSUPPORTED, False)
    size = described(INTEGER | {"minimum": 0}, "length of the tensor behind the JSON, in bytes, instead of data")
    binary = described(FLAG, "send this output as bytes behind the JSON")
    tensor = record(
        {
            "name": {"const": INPUT_NAME},
            "datatype": {"const": FLOAT32},
            "shape": {
                "type": "array",
                "prefixItems": [INTEGER | {"minimum": 1}, {"const": frames}, {"const": bins}],
                "minItems": 3,
                "maxItems": 3,
                "description": f"[sounds, {frames} frames, {bins} numbers]",
            },
        },
        data={"type": "array", "description": "the numbers, flat or nested as in shape"},
        parameters={"type": "object", "properties": {"binary_data_size": size}},
    )
    output = record(
        {"name": {"enum": names}},
        parameters={"type": "object", "properties": {"binary_data": binary} | refused},
    )
    all_binary = described(FLAG, "send all outputs as bytes behind the JSON")
    return record(
        {"inputs": described(array(tensor, 1), "the features of one or more sounds, as one tensor")},
        id=described(TEXT, "an identifier, which the answer repeats"),
        outputs=described(array(output), "the outputs that the answer has; all of them if none is named"),
        parameters={"type": "object", "properties": {"binary_data_output": all_binary}},
    )
