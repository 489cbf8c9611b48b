"""Predictions and descriptions of a model in TensorFlow Serving's JSON."""

from __future__ import annotations

from typing import Any

import numpy as np

from synthray.model.heads import INPUT_NAME, output_name
from synthray.model.saved import ModelCard
from synthray.serve.decode import RequestError


def encode_predictions(outputs: dict[str, np.ndarray], *, in_rows: bool) -> dict[str, Any]:
    """Outputs ``{name: (sounds, units)}`` as ``{"predictions": [...]}`` (rows) or ``{"outputs": {...}}`` (columns).

    As TensorFlow Serving has it, a single output stands there without its name.

    Raises:
        RequestError: 400, an instance is so far from any sound that the model's answer is not finite.
    """
    _check_finite(outputs)
    columns = {name: values.tolist() for name, values in outputs.items()}
    if len(columns) == 1:
        (values,) = columns.values()
        return {"predictions" if in_rows else "outputs": values}
    if not in_rows:
        return {"outputs": columns}
    names = list(columns)
    return {"predictions": [dict(zip(names, row, strict=True)) for row in zip(*columns.values(), strict=True)]}


def model_version(card: ModelCard) -> str:
    """A whole number, as TensorFlow Serving's clients expect, the same on every replica that has this model."""
    return str(int(card.sha256[:8], 16))


def encode_status(card: ModelCard, failed: str | None = None) -> dict[str, Any]:
    """Which model answers; and, beside it, the one that was to take its place and could not."""
    ok = {"error_code": "OK", "error_message": ""}
    versions = [{"version": model_version(card), "state": "AVAILABLE", "status": ok, "name": card.name}]
    if failed:
        versions.append(
            {"version": "0", "state": "END", "status": {"error_code": "NOT_FOUND", "error_message": failed}}
        )
    return {"model_version_status": versions}


def encode_metadata(card: ModelCard, model_name: str) -> dict[str, Any]:
    """Inputs and outputs with their shapes, and the parameter table that tells what the outputs mean."""
    outputs = {output_name(p.name): _tensor(output_name(p.name), (-1, p.num_outputs)) for p in card.table.learned}
    signature = {
        "inputs": {INPUT_NAME: _tensor(INPUT_NAME, (-1, *card.feature_shape))},
        "outputs": outputs,
        "method_name": "tensorflow/serving/predict",
    }
    return {
        "model_spec": {"name": model_name, "signature_name": "", "version": model_version(card)},
        "metadata": {
            "signature_def": {"signature_def": {"serving_default": signature}},
            "synthray": {"name": card.name, "sha256": card.sha256, "parameters": card.table.to_json()},
        },
    }


def _tensor(name: str, shape: tuple[int, ...]) -> dict[str, Any]:
    dimensions = [{"size": str(size), "name": ""} for size in shape]
    return {"dtype": "DT_FLOAT", "tensor_shape": {"dim": dimensions, "unknown_rank": False}, "name": name}


def _check_finite(outputs: dict[str, np.ndarray]) -> None:
    for name, values in outputs.items():
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            instance = int(np.argmin(finite))
            raise RequestError(400, f"instance {instance}: {name!r} came out not finite; these features are no sound's")
