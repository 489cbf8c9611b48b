"""Encoding of predictions and model descriptions in TensorFlow Serving's JSON; decode.py has the requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

from synthray.errors import RequestError
from synthray.model.heads import INPUT_NAME
from synthray.serve.config import AppConfig
from synthray.serve.models.served import MODEL_NAME, Served
from synthray.serve.protocols.tensors import TensorMetadata, input_of, outputs_of


def encode_predictions(outputs: dict[str, np.ndarray], *, in_rows: bool) -> bytes:
    """Return outputs as the JSON ``{"predictions": [...]}`` or ``{"outputs": {...}}``.

    A single output is written without its name, as TensorFlow Serving does.

    Args:
        outputs: name to float32 ``(sounds, units)``.
        in_rows: write one object per sound instead of one array per output.

    Raises:
        RequestError: 400, an output is not finite.
    """
    require_finite(outputs)
    columns = {name: values.tolist() for name, values in outputs.items()}
    answer: Any = columns
    if len(columns) == 1:
        (answer,) = columns.values()
    elif in_rows:
        names = list(columns)
        answer = [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    return orjson.dumps({"predictions" if in_rows else "outputs": answer})


def require_finite(outputs: dict[str, np.ndarray]) -> None:
    """Raise RequestError 400 unless all outputs, ``(sounds, units)``, are finite."""
    if np.isfinite(np.concatenate(list(outputs.values()), axis=1)).all():
        return
    for name, values in outputs.items():
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            instance = int(np.argmin(finite))
            raise RequestError(400, f"instance {instance}: output {name!r} is not finite; check the features")


def encode_status(served: Sequence[Served], last_error: str | None = None) -> dict[str, Any]:
    """Return the status of the served models, and of one that failed to replace them."""
    ok = {"error_code": "OK", "error_message": ""}
    versions = [
        {"version": str(each.version), "state": "AVAILABLE", "status": ok}
        | {"name": each.predictor.card.name, "label": each.label}
        for each in served
    ]
    if last_error:
        status = {"error_code": "NOT_FOUND", "error_message": last_error}
        versions.append({"version": "0", "state": "END", "status": status})
    return {"model_version_status": versions}


def encode_metadata(served: Served, config: AppConfig) -> dict[str, Any]:
    """Return the shapes of inputs and outputs, the parameter table, and the limits that a client should know."""
    card = served.predictor.card
    signature = {
        "inputs": {INPUT_NAME: _tensor(input_of(card))},
        "outputs": {tensor.name: _tensor(tensor) for tensor in outputs_of(card)},
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": MODEL_NAME, "signature_name": "", "version": str(served.version)},
        "metadata": {
            "signature_def": {"signature_def": {"serving_default": signature}},
            "synthray": {
                "name": card.name,
                "sha256": card.sha256,
                "parameters": card.table.to_json(),
                "max_refine_s": config.max_refine_s,
                "max_body_bytes": config.max_body_bytes,
            },
        },
    }


def _tensor(tensor: TensorMetadata) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in tensor.shape]
    return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": tensor.name}
