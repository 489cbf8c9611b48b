"""Tensors of the Open Inference Protocol, the same over HTTP and gRPC.

The messages around them are in ``infer_codec.py`` and ``grpc_inference.py``.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from synthray.errors import RequestError, json_type, shown
from synthray.model.heads import INPUT_NAME, output_name
from synthray.serve.models.served import MODEL_NAME, Models, Served
from synthray.serve.protocols.decode import check_finite, decode_raw, to_features, to_float32, to_numbers

if TYPE_CHECKING:
    from synthray.model.saved import ModelCard

FLOAT32 = "FP32"
PLATFORM = "tensorflow_keras"
SERVER_NAME = "synthray"
MAX_SOUNDS = 2**31
"""Largest number of sounds in a shape; the size of a body limits them further."""
EXTENSIONS = ("binary_tensor_data",)


@dataclass(frozen=True)
class TensorMetadata:
    """Name and shape of a float32 tensor; an axis of -1 is the number of sounds."""

    name: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the protocol's JSON."""
        return {"name": self.name, "datatype": FLOAT32, "shape": list(self.shape)}


def input_of(card: ModelCard) -> TensorMetadata:
    """Return the model's input."""
    return TensorMetadata(INPUT_NAME, (-1, *card.feature_shape))


def outputs_of(card: ModelCard) -> list[TensorMetadata]:
    """Return the model's outputs, in the table's order."""
    return [TensorMetadata(output_name(p.name), (-1, p.num_outputs)) for p in card.table.learned]


def model_metadata(models: Models, served: Served) -> dict[str, Any]:
    """Return the protocol's description of a served model."""
    card = served.predictor.card
    return {
        "name": MODEL_NAME,
        "versions": [str(each.version) for each in models.served],
        "platform": PLATFORM,
        "inputs": [input_of(card).to_json()],
        "outputs": [tensor.to_json() for tensor in outputs_of(card)],
    }


@contextmanager
def naming(where: str) -> Iterator[None]:
    """Put the name of a tensor in front of the message of a RequestError."""
    try:
        yield
    except RequestError as error:
        raise RequestError(error.status, f"{where}: {error}") from None


def require_one_input(names: Sequence[Any]) -> None:
    """Raise RequestError 400 unless the names of a request's inputs are those of the model."""
    for index, name in enumerate(names):
        if name != INPUT_NAME:
            raise RequestError(400, f"inputs[{index}]: the name is {shown(name)}, expected {INPUT_NAME!r}")
    if len(names) != 1:
        raise RequestError(400, f"the request has {len(names)} inputs, expected one, {INPUT_NAME!r}")


def input_shape(datatype: Any, shape: Any, feature_shape: tuple[int, int]) -> list[int]:
    """Return the shape of the input; raise RequestError 400 unless its datatype and shape are the model's."""
    if datatype != FLOAT32:
        raise RequestError(400, f"datatype is {shown(datatype)}, expected {FLOAT32!r}")
    expected = f"expected [sounds, {feature_shape[0]}, {feature_shape[1]}]"
    if not isinstance(shape, list) or not all(type(size) is int for size in shape):
        raise RequestError(400, f"shape is {shown(shape)}, {expected}")
    if tuple(shape[1:]) != feature_shape or not 1 <= shape[0] <= MAX_SOUNDS:
        raise RequestError(400, f"shape is {shown(shape)}, {expected} with 1 to {MAX_SOUNDS} sounds")
    return shape


def from_bytes(raw: bytes, shape: list[int]) -> np.ndarray:
    """Return little-endian float32 numbers as float32 ``(sounds, frames, bins)``.

    Raises:
        RequestError: 400, the length does not fit the shape, or a number is not finite.
    """
    expected = math.prod(shape) * 4
    if len(raw) != expected:
        raise RequestError(400, f"the binary data have {len(raw)} bytes, expected {expected} for shape {shape}")
    return decode_raw(raw, (shape[1], shape[2]))


def from_numbers(data: Any, shape: list[int]) -> np.ndarray:
    """Return flat or nested numbers as float32 ``(sounds, frames, bins)``.

    Raises:
        RequestError: 400, the count does not fit the shape, or a value is no finite number.
    """
    if isinstance(data, list) and data and isinstance(data[0], list):
        if len(data) != shape[0]:
            raise RequestError(400, f"data hold {len(data)} sounds, expected {shape[0]} for shape {shape}")
        return to_features(data, "data", (shape[1], shape[2]))
    if not isinstance(data, list):
        raise RequestError(400, f"data is {json_type(data)}, expected an array of numbers")
    if len(data) != math.prod(shape):
        raise RequestError(400, f"data hold {len(data)} numbers, expected {math.prod(shape)} for shape {shape}")
    numbers = to_numbers(data, 1)
    if numbers is None:
        for index, value in enumerate(data):
            if type(value) not in (int, float):
                raise RequestError(400, f"data[{index}]: {shown(value)} is not a number")
        raise RequestError(400, "data hold a number that is too large for float32")
    features = to_float32(numbers).reshape(shape)
    check_finite(features)
    return features


def require_output(index: int, name: Any, card: ModelCard) -> str:
    """Return the name of a requested output; raise RequestError 400 if the model has none of that name."""
    if not isinstance(name, str) or name not in [tensor.name for tensor in outputs_of(card)]:
        path = f"/v2/models/{MODEL_NAME}"
        raise RequestError(400, f"outputs[{index}]: the model has no output {shown(name)}. {path} lists them.")
    return name
