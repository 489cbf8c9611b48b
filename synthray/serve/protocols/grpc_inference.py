"""The Open Inference Protocol, version 2, over gRPC: the RPCs of ``inference.GRPCInferenceService``.

With Ray they are called through Serve's proxy (``synthray.cluster.serving.grpc_ingress``), without Ray by
:func:`start_server`. The messages come from tritonclient, because clients use it, and protobuf allows only one
definition of a message in a process.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import grpc
import numpy as np
from google.protobuf.message import DecodeError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers

from synthray import __version__
from synthray.errors import ConfigError, ModelError, RequestError
from synthray.model.heads import INPUT_NAME
from synthray.serve.config import Address
from synthray.serve.http.access import refusal
from synthray.serve.http.responses import INTERNAL_ERROR, error_kind, status_of
from synthray.serve.metrics import timed
from synthray.serve.models.served import MODEL_NAME, Served, choose, model_labels, require_name
from synthray.serve.protocols.encode import require_finite
from synthray.serve.protocols.infer_codec import require_supported
from synthray.serve.protocols.tensors import (
    EXTENSIONS,
    SERVER_NAME,
    TensorMetadata,
    from_bytes,
    from_numbers,
    input_shape,
    model_metadata,
    naming,
    outputs_of,
    require_one_input,
    require_output,
)
from synthray.serve.service import Service

try:
    from tritonclient.grpc import service_pb2 as messages
except (ImportError, RuntimeError):  # tritonclient raises RuntimeError if it was installed without its extra for gRPC
    raise ConfigError("gRPC: the package tritonclient is not installed. Run pip install '.[grpc]'.") from None

logger = logging.getLogger(__name__)

SERVICE_NAME = "inference.GRPCInferenceService"
OPEN = ("ServerLive", "ServerReady", "ServerMetadata")
"""RPCs that need no token."""
_CODES = {
    400: grpc.StatusCode.INVALID_ARGUMENT,
    401: grpc.StatusCode.UNAUTHENTICATED,
    404: grpc.StatusCode.NOT_FOUND,
    409: grpc.StatusCode.FAILED_PRECONDITION,
    413: grpc.StatusCode.RESOURCE_EXHAUSTED,
    429: grpc.StatusCode.RESOURCE_EXHAUSTED,
    503: grpc.StatusCode.UNAVAILABLE,
}


class Context(Protocol):
    """The part of grpc.aio's and Ray Serve's context that is used here."""

    def invocation_metadata(self) -> Any:
        """Return pairs of names and values that the client sent."""

    def set_code(self, code: grpc.StatusCode) -> None:
        """Set the status of the RPC."""

    def set_details(self, details: str) -> None:
        """Set the message of the status."""


class Inference:
    """The RPCs of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._rpcs: dict[str, Callable[[Any], Awaitable[tuple[Any, Served | None]]]] = {
            "ServerLive": self._server_live,
            "ServerReady": self._server_ready,
            "ServerMetadata": self._server_metadata,
            "ModelReady": self._model_ready,
            "ModelMetadata": self._model_metadata,
            "ModelInfer": self._model_infer,
        }

    async def answer(self, rpc: str, request: bytes, context: Context) -> Any:
        """Return the response of an RPC; errors become the status of ``context`` and an empty response.

        Args:
            rpc: name of the RPC.
            request: the serialized message: Ray pickles requests, and tritonclient's messages cannot be pickled.
            context: context of the RPC.
        """
        started_s, status, served = time.perf_counter(), "OK", None
        metrics = self._service.metrics
        try:
            self._check(rpc, len(request), context)
            response, served = await self._rpcs[rpc](_parse(rpc, request))
        except Exception as error:
            code, message = _status(error)
            metrics.add("errors_total", kind=error_kind(error))
            context.set_code(code)
            context.set_details(message)
            status, response = code.name, getattr(messages, f"{rpc}Response")()
        metrics.add("requests_total", route=rpc, status=status, **model_labels(served))
        metrics.observe("request_seconds", time.perf_counter() - started_s, route=rpc, **model_labels(served))
        return response

    def _check(self, rpc: str, size: int, context: Context) -> None:
        """Raise RequestError if the token is missing or the message too long."""
        metadata = {name: value for name, value in context.invocation_metadata() if isinstance(value, str)}
        if rpc not in OPEN and (reason := refusal(Headers(metadata), f"/{SERVICE_NAME}/{rpc}", self._service.tokens)):
            raise RequestError(401, reason)
        if size > (limit := self._service.config.max_body_bytes):
            raise RequestError(413, f"the message has {size} bytes, the limit is {limit}")

    async def _server_live(self, _: Any) -> tuple[Any, None]:
        return messages.ServerLiveResponse(live=True), None

    async def _server_ready(self, _: Any) -> tuple[Any, None]:
        return messages.ServerReadyResponse(ready=bool(self._service.models.served)), None

    async def _server_metadata(self, _: Any) -> tuple[Any, None]:
        return messages.ServerMetadataResponse(name=SERVER_NAME, version=__version__, extensions=EXTENSIONS), None

    async def _model_ready(self, request: Any) -> tuple[Any, None]:
        try:
            self._choose(request.name, request.version)
        except RequestError as error:
            if error.status != 503:
                raise
            return messages.ModelReadyResponse(ready=False), None
        return messages.ModelReadyResponse(ready=True), None

    async def _model_metadata(self, request: Any) -> tuple[Any, Served]:
        served = self._choose(request.name, request.version)
        return messages.ModelMetadataResponse(**model_metadata(self._service.models, served)), served

    async def _model_infer(self, request: Any) -> tuple[Any, Served]:
        served = self._choose(request.model_name, request.model_version, predicts=True)
        with timed(self._service.metrics, "decode", served):
            features, names = await run_in_threadpool(decode_request, request, served)
        outputs = await self._service.batcher.predict(served, features)
        require_finite(outputs)
        return encode_response(request, {name: outputs[name] for name in names}, served), served

    def _choose(self, name: str, version: str, *, predicts: bool = False) -> Served:
        require_name(name)
        return choose(self._service.models, version=version or None, predicts=predicts)


def decode_request(request: Any, served: Served) -> tuple[np.ndarray, list[str]]:
    """Return the features of a ModelInferRequest, float32 ``(sounds, frames, bins)``, and its outputs' names.

    Raises:
        RequestError: 400, the message names the tensor, index and value.
    """
    card = served.predictor.card
    require_one_input([tensor.name for tensor in request.inputs])
    [tensor] = request.inputs
    names = []
    for index, output in enumerate(request.outputs):
        names.append(require_output(index, output.name, card))
        with naming(f"outputs[{index}]"):
            require_supported(output.parameters)
    raw, numbers = request.raw_input_contents, tensor.contents.fp32_contents
    with naming(f"input {INPUT_NAME!r}"):
        shape = input_shape(tensor.datatype, list(tensor.shape), card.feature_shape)
        contents = [field.name for field, _ in tensor.contents.ListFields()]
        found = ["raw_input_contents"] * len(raw) + contents
        if len(found) > 1 or contents not in ([], ["fp32_contents"]):
            raise RequestError(400, f"has {', '.join(found)}, expected one of raw_input_contents or fp32_contents")
        require_supported(tensor.parameters)
        features = from_bytes(raw[0], shape) if raw else from_numbers(list(numbers), shape)
    return features, names or [output.name for output in outputs_of(card)]


def encode_response(request: Any, outputs: dict[str, np.ndarray], served: Served) -> Any:
    """Return the ModelInferResponse with outputs ``(sounds, units)`` by name."""
    return messages.ModelInferResponse(
        model_name=MODEL_NAME,
        model_version=str(served.version),
        id=request.id,
        outputs=[TensorMetadata(name, values.shape).to_json() for name, values in outputs.items()],
        raw_output_contents=[values.astype("<f4").tobytes() for values in outputs.values()],
    )


def add_inference(inference: Inference, server: Any) -> None:
    """Add the RPCs to a gRPC server."""
    handlers = {
        rpc: grpc.unary_unary_rpc_method_handler(
            partial(inference.answer, rpc), response_serializer=getattr(messages, f"{rpc}Response").SerializeToString
        )
        for rpc in (*OPEN, "ModelReady", "ModelMetadata", "ModelInfer")
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE_NAME, handlers),))


async def start_server(service: Service, address: Address) -> grpc.aio.Server:
    """Start a gRPC server in the running event loop, at the address' host and gRPC port, and return it."""
    limit = service.config.max_body_bytes
    server = grpc.aio.server(
        options=[
            ("grpc.max_receive_message_length", limit),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),  # a second server at this port is an error
        ]
    )
    add_inference(Inference(service), server)
    host = f"[{address.host}]" if ":" in address.host else address.host
    if address.tls_cert:
        files = Path(address.tls_key).read_bytes(), Path(address.tls_cert).read_bytes()
        server.add_secure_port(f"{host}:{address.grpc_port}", grpc.ssl_server_credentials([files]))
    else:
        server.add_insecure_port(f"{host}:{address.grpc_port}")
    await server.start()
    return server


def _parse(rpc: str, request: bytes) -> Any:
    """Return the message of an RPC; raise RequestError 400 if it is corrupt."""
    try:
        return getattr(messages, f"{rpc}Request").FromString(request)
    except DecodeError as error:
        raise RequestError(400, f"the message is not a valid {rpc}Request: {error}") from None


def _status(error: Exception) -> tuple[grpc.StatusCode, str]:
    """Return the code and message for an error."""
    if isinstance(error, RequestError | ModelError):
        return _CODES.get(status_of(error), grpc.StatusCode.UNKNOWN), str(error)
    logger.error("unexpected error in an RPC", exc_info=error)
    return grpc.StatusCode.INTERNAL, INTERNAL_ERROR
