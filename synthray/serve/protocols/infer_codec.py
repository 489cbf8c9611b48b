"""Decoding and encoding of inference over HTTP: JSON, and JSON followed by binary tensors.

The tensors themselves are in ``tensors.py``.
"""

from __future__ import annotations

import json
from collections.abc import Container
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthray.errors import RequestError, json_type, shown
from synthray.model.heads import INPUT_NAME
from synthray.serve.http.body import parse_object
from synthray.serve.models.served import MODEL_NAME, Served
from synthray.serve.protocols.encode import require_finite
from synthray.serve.protocols.tensors import (
    TensorMetadata,
    from_bytes,
    from_numbers,
    input_shape,
    naming,
    outputs_of,
    require_one_input,
    require_output,
)

if TYPE_CHECKING:
    from synthray.model.saved import ModelCard

LENGTH_HEADER = "inference-header-content-length"
"""Header with the length of the JSON in front of binary tensors, bytes."""
UNSUPPORTED = ("classification", "shared_memory_region")
"""Parameters of a tensor that are rejected, because they would change its format or location."""


@dataclass(frozen=True)
class InferRequest:
    """One decoded request."""

    features: np.ndarray
    """float32 ``(sounds, frames, bins)``."""
    outputs: dict[str, bool]
    """Names of the outputs to answer with, and whether each is binary."""
    id: str | None = None
    """Identifier that the answer repeats."""


def decode_infer(body: bytes, json_length: str | None, card: ModelCard) -> InferRequest:
    """Return the request in a body.

    Args:
        body: JSON, and the binary tensors.
        json_length: the header with the length of the JSON; None if the body is only JSON.
        card: card of the model that answers.

    Raises:
        RequestError: 400, the message names the tensor, index and value.
    """
    text, binary = _split(body, json_length)
    request = parse_object(text)
    if (identifier := request.get("id")) is not None and not isinstance(identifier, str):
        raise RequestError(400, f"id is {shown(identifier)}, expected text")
    inputs = _objects(request, "inputs")
    require_one_input([tensor.get("name") for tensor in inputs])
    with naming(f"input {INPUT_NAME!r}"):
        features = _decode_tensor(inputs[0], binary, card)
    return InferRequest(features, _requested_outputs(request, card), identifier)


def encode_infer(request: InferRequest, outputs: dict[str, np.ndarray], served: Served) -> tuple[bytes, int | None]:
    """Return the body of the answer and the length of its JSON; the length is None if the body is only JSON.

    Args:
        request: the request that is answered.
        outputs: name to float32 ``(sounds, units)``.
        served: the model that answers.

    Raises:
        RequestError: 400, an output is not finite.
    """
    require_finite(outputs)
    tensors, binary = [], []
    for name, is_binary in request.outputs.items():
        values = outputs[name]
        tensor = TensorMetadata(name, values.shape).to_json()
        if is_binary:
            raw = values.astype("<f4").tobytes()
            tensor["parameters"] = {"binary_data_size": len(raw)}
            binary.append(raw)
        else:
            tensor["data"] = values.ravel().tolist()
        tensors.append(tensor)
    answer: dict[str, Any] = {"model_name": MODEL_NAME, "model_version": str(served.version), "outputs": tensors}
    if request.id is not None:
        answer["id"] = request.id
    text = json.dumps(answer, separators=(",", ":")).encode()
    return text + b"".join(binary), len(text) if binary else None


def _split(body: bytes, json_length: str | None) -> tuple[bytes, bytes]:
    """Return the JSON and the binary tensors of a body."""
    if json_length is None:
        return body, b""
    if not (json_length.isascii() and json_length.isdigit() and len(json_length) < 20):
        raise RequestError(400, f"{LENGTH_HEADER} is {shown(json_length)}, expected a number of bytes")
    length = int(json_length)
    if length > len(body):
        raise RequestError(400, f"{LENGTH_HEADER} is {length}, but the body has only {len(body)} bytes")
    return body[:length], body[length:]


def _decode_tensor(tensor: dict[str, Any], binary: bytes, card: ModelCard) -> np.ndarray:
    shape = input_shape(tensor.get("datatype"), tensor.get("shape"), card.feature_shape)
    require_supported(_parameters(tensor))
    size = _parameters(tensor).get("binary_data_size")
    if size is None:
        if binary:
            raise RequestError(400, f"{len(binary)} bytes follow the JSON, but the tensor has no binary_data_size")
        if "data" not in tensor:
            raise RequestError(400, "has neither data nor the parameter binary_data_size")
        return from_numbers(tensor["data"], shape)
    if "data" in tensor:
        raise RequestError(400, "has both data and the parameter binary_data_size")
    if size != len(binary) or type(size) is not int:
        raise RequestError(400, f"binary_data_size is {shown(size)}, but {len(binary)} bytes follow the JSON")
    return from_bytes(binary, shape)


def _requested_outputs(request: dict[str, Any], card: ModelCard) -> dict[str, bool]:
    """Return the requested outputs, by default all of them, and whether each is binary."""
    default = _flag(request, "binary_data_output", default=False)
    requested = _objects(request, "outputs") if request.get("outputs") else []
    outputs = {}
    for index, tensor in enumerate(requested):
        name = require_output(index, tensor.get("name"), card)
        with naming(f"outputs[{index}]"):
            require_supported(_parameters(tensor))
        outputs[name] = _flag(tensor, "binary_data", default=default)
    return outputs or {tensor.name: default for tensor in outputs_of(card)}


def require_supported(parameters: Container[str]) -> None:
    """Raise RequestError 400 if the parameters of a tensor include one of ``UNSUPPORTED``."""
    for parameter in UNSUPPORTED:
        if parameter in parameters:
            raise RequestError(400, f"the parameter {parameter!r} is not supported")


def _flag(tensor: dict[str, Any], name: str, *, default: bool) -> bool:
    value = _parameters(tensor).get(name, default)
    if not isinstance(value, bool):
        raise RequestError(400, f"{name} is {shown(value)}, expected true or false")
    return value


def _parameters(value: dict[str, Any]) -> dict[str, Any]:
    parameters = value.get("parameters") or {}
    if not isinstance(parameters, dict):
        raise RequestError(400, f"parameters is {json_type(parameters)}, expected an object")
    return parameters


def _objects(request: dict[str, Any], name: str) -> list[dict[str, Any]]:
    """Return a list of JSON objects in the request."""
    values = request.get(name)
    if not isinstance(values, list):
        found = "missing" if values is None else shown(values)
        raise RequestError(400, f"{name!r} is {found}, expected an array")
    for index, value in enumerate(values):
        if not isinstance(value, dict):
            raise RequestError(400, f"{name}[{index}] is {json_type(value)}, expected an object")
    return values
