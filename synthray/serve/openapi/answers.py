"""JSON schemas of the service's answers, for the served model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from synthray.model.heads import INPUT_NAME
from synthray.serve.models.served import MODEL_NAME
from synthray.serve.openapi.schemas import (
    BASE64,
    FLAG,
    INTEGER,
    NUMBER,
    TEXT,
    Schema,
    array,
    described,
    record,
    ref,
    value_schema,
)
from synthray.serve.protocols.tensors import EXTENSIONS, FLOAT32, PLATFORM, SERVER_NAME, outputs_of
from synthray.synth.features import ANALYSES
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import Choice
from synthray.synth.presets import FORMAT

if TYPE_CHECKING:
    from synthray.model.saved import ModelCard

NUMBER_OR_NULL: Schema = {"type": ["number", "null"]}
SHARE: Schema = {"type": "number", "minimum": 0, "maximum": 1}
CURVES = (
    "from a position, 0 to 1, to a value: minimum + position * (maximum - minimum) if linear, and "
    "minimum * (maximum / minimum) ** position if log"
)
DISTANCE = "mean difference of the levels in three mel spectrograms of both sounds, in dB; 0 is equal"


def answer_schemas(card: ModelCard) -> dict[str, Schema]:
    """Return the schemas of the answers by name."""
    return {
        "Preset": _preset(),
        "Setting": _setting(),
        "Match": record(
            {"preset": ref("Preset"), "sound": ref("MatchedPart")},
            sounds=_both_sounds(),
            progress=described(SHARE, "share of the search that is done; only in an event of `text/event-stream`"),
        ),
        "Matches": _matches(),
        "MatchedPart": _matched_part(),
        "Rendered": record(
            {
                "preset": ref("Preset"),
                "distance_db": described(NUMBER_OR_NULL, f"{DISTANCE}; null without a target"),
                "sound": described(BASE64, "the preset's sound: a WAV file in base64"),
            }
        ),
        "Analysed": _analysed(),
        "PredictAnswer": _predict_answer(card),
        "Status": record({"model_version_status": described(array(_version_status()), "one entry a model")}),
        "Metadata": _metadata(card),
        "MetadataTensor": record({"name": TEXT, "dtype": {"const": "DT_FLOAT"}, "tensor_shape": _tensor_shape()}),
        "Parameter": _parameter(),
        "ServerMetadata": _server_metadata(),
        "ModelMetadata": _model_metadata(card),
        "InferAnswer": _infer_answer(card),
        "Error": record({"error": described(TEXT, "the field, index or value that is wrong, and the remedy")}),
    }


def _preset() -> Schema:
    # Since OpenAPI 3.1, keywords next to a ``$ref`` apply, too.
    entries = {
        p.name: ref("Setting") | {"properties": {"value": value_schema(p, bounded=False)}}
        for p in INSTRUMENT.parameters
    }
    found = {
        "model": described(TEXT, "name of the model that matched the sound"),
        "distance_db": described(NUMBER, DISTANCE),
        "evaluations": described(INTEGER, "presets that the search rendered and compared"),
        "seconds": described(NUMBER, "time that the match took, in seconds"),
    }
    return described(
        record({"format": {"const": FORMAT}, "parameters": record(entries)}, **found),
        "Settings of the synthesizer: a value in its unit for each parameter.",
    )


def _setting() -> Schema:
    return record(
        {"value": described({"type": ["number", "string"]}, "a number in the unit, or one of the names of a choice")},
        unit=described(TEXT, "unit of the value; left out if it has none"),
        confidence=described(SHARE, "probability that the network gives to the value; only after a match"),
        audible=described(FLAG, "false if a change of the value would hardly be heard in this preset"),
        why_inaudible=described(TEXT, "the reason, if the value is not audible"),
    )


def _both_sounds() -> Schema:
    original = described(BASE64, "the 2 s that were matched: a WAV file in base64")
    match = described(BASE64, "the preset's sound: a WAV file in base64")
    return described(record({"original": original, "match": match}), "only with include=sounds")


def _matches() -> Schema:
    name = {"name": described(TEXT, "the file's name in the form")}
    failed = record(
        name
        | {
            "error": described(TEXT, "the reason why there is no match"),
            "status": described(INTEGER, "the status that the file alone would have got"),
        },
        retry_after_s=described(INTEGER, "seconds after which a busy service may have a place"),
    )
    found = {"allOf": [ref("Match"), record(name)]}
    return record({"matches": described(array({"anyOf": [found, failed]}), "one entry a file, in the form's order")})


def _matched_part() -> Schema:
    return described(
        record(
            {
                "skipped_s": described(NUMBER, "silence and noise in front of the sound, in seconds"),
                "used_s": described(NUMBER, "length of the part that was matched, in seconds; at most 2"),
                "length_s": described(
                    NUMBER_OR_NULL, "length of the file, in seconds; null if it was not decoded to its end"
                ),
            }
        ),
        "The part of the file that was matched.",
    )


def _analysed() -> Schema:
    features = array(array(array(NUMBER)), 1)
    return record(
        {
            "analysis": described({"enum": list(ANALYSES)}, "the analysis that made the features"),
            "shape": described(array(INTEGER, 2), "[frames, numbers a frame]"),
            "instances": described(features, "[1 sound][frames][numbers]; :predict takes this answer as its body"),
        }
    )


def _predict_answer(card: ModelCard) -> Schema:
    rows = {}
    for parameter, tensor in zip(card.table.learned, outputs_of(card), strict=True):
        if isinstance(parameter, Choice):
            text = f"probabilities of {', '.join(parameter.values)}, from 0 to 1, which sum to 1"
        else:
            text = f"one number: the position of {parameter.name} in its range, from 0 to 1"
        rows[tensor.name] = described(array(NUMBER, tensor.shape[1]), text)
    columns = {name: described(array(row), f"one entry a sound: {row['description']}") for name, row in rows.items()}
    return {
        "description": "Outputs of the network. GET …/metadata has the ranges and values of the parameters.",
        "oneOf": [
            record({"predictions": described(array(_unnamed(rows)), "one entry a sound")}),
            record({"outputs": _unnamed(columns)}),
        ],
    }


def _unnamed(outputs: dict[str, Schema]) -> Schema:
    """Return the schema of outputs by name; a single one is written without its name."""
    return next(iter(outputs.values())) if len(outputs) == 1 else record(outputs)


def _version_status() -> Schema:
    code = described({"enum": ["OK", "NOT_FOUND"]}, "OK, or NOT_FOUND if the model failed to load")
    message = described(TEXT, "the reason why the model failed to load")
    return record(
        {
            "version": described(TEXT, "number of the model; 0 for one that failed to load"),
            "state": described({"enum": ["AVAILABLE", "END"]}, "AVAILABLE, or END if it does not answer"),
            "status": record({"error_code": code, "error_message": message}),
        },
        name=described(TEXT, "name of the model"),
        label=described(TEXT, "stable or canary"),
    )


def _metadata(card: ModelCard) -> Schema:
    tensor = ref("MetadataTensor")
    outputs = record({output.name: tensor for output in outputs_of(card)})
    signature = record({"inputs": record({INPUT_NAME: tensor}), "outputs": outputs, "method_name": TEXT})
    own = record(
        {
            "name": described(TEXT, "name of the model"),
            "sha256": described(TEXT, "SHA-256 of the model's file"),
            "parameters": described(array(ref("Parameter")), "the parameters that the model was trained on"),
            "max_refine_s": described(NUMBER, "longest search that :match allows, in seconds"),
            "max_body_bytes": described(INTEGER, "longest body of a request, in bytes"),
        }
    )
    signatures = record({"signature_def": record({"serving_default": signature})})
    return record(
        {
            "model_spec": record({"name": {"const": MODEL_NAME}, "signature_name": TEXT, "version": TEXT}),
            "metadata": record({"signature_def": signatures, "synthray": own}),
        }
    )


def _tensor_shape() -> Schema:
    size = described(TEXT, "length of an axis; -1 is the number of sounds")
    return record(
        {"dim": described(array(record({"size": size, "name": TEXT})), "one entry an axis"), "unknown_rank": FLAG}
    )


def _parameter() -> Schema:
    about = {"name": TEXT, "description": TEXT}
    unit = {"unit": described(TEXT, "empty if the value has no unit")}
    value = {"value": described(NUMBER, "in the unit")}
    bounds = {
        "minimum": described(NUMBER, "in the unit"),
        "maximum": described(NUMBER, "in the unit"),
        "curve": described({"enum": ["linear", "log"]}, CURVES),
        "step": described(NUMBER, "difference of neighbouring values; 0 if every value is allowed"),
    }
    return {
        "description": "A parameter: a number in a range, a choice of values, or a constant, which is not predicted.",
        "oneOf": [
            record({"kind": {"const": "range"}} | about | unit | bounds),
            record(
                {"kind": {"const": "choice"}, "values": described(array(TEXT), "in the order of the probabilities")}
                | about
            ),
            record({"kind": {"const": "constant"}} | about | unit | value),
        ],
    }


def _server_metadata() -> Schema:
    extensions = described(array({"enum": list(EXTENSIONS)}), "extensions of the protocol that the server supports")
    return record({"name": {"const": SERVER_NAME}, "version": TEXT, "extensions": extensions})


def _model_metadata(card: ModelCard) -> Schema:
    frames, bins = card.feature_shape
    names = [tensor.name for tensor in outputs_of(card)]
    inputs = _tensor([INPUT_NAME], 3, f"[sounds, {frames} frames, {bins} numbers]; sounds is -1, any number")
    outputs = _tensor(names, 2, "[sounds, numbers]; sounds is -1, any number")
    return record(
        {
            "name": {"const": MODEL_NAME},
            "versions": described(array(TEXT), "numbers of the served models"),
            "platform": {"const": PLATFORM},
            "inputs": described(array(inputs), "one tensor, the features of one or more sounds"),
            "outputs": described(array(outputs), "one tensor a parameter"),
        }
    )


def _infer_answer(card: ModelCard) -> Schema:
    tensor = _tensor([output.name for output in outputs_of(card)], 2, "[sounds, numbers]")
    size = described(INTEGER, "length of the tensor behind the JSON, in bytes")
    tensor["properties"] |= {
        "data": described(array(NUMBER), "the numbers, flat, one sound after the other"),
        "parameters": described(record({"binary_data_size": size}), "instead of data, for a binary output"),
    }
    return record(
        {
            "model_name": {"const": MODEL_NAME},
            "model_version": described(TEXT, "number of the model that answered"),
            "outputs": described(array(tensor), "one tensor a parameter, of those that the request names"),
        },
        id=described(TEXT, "the request's identifier"),
    )


def _tensor(names: list[str], axes: int, shape: str) -> Schema:
    return record(
        {
            "name": {"enum": names},
            "datatype": {"const": FLOAT32},
            "shape": described(array(INTEGER, axes), shape),
        }
    )
