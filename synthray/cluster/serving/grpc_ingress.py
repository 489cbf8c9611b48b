"""The Open Inference Protocol over Ray Serve's gRPC proxy.

The RPCs themselves are in ``synthray.serve.protocols.grpc_inference``, which needs the extra ``grpc``.
"""

from __future__ import annotations

import socket
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ray.serve.config import gRPCOptions

from synthray.errors import ConfigError, SynthrayError
from synthray.serve.config import Address
from synthray.serve.service import Service

if TYPE_CHECKING:
    from synthray.serve.protocols.grpc_inference import Inference

CONNECT_TIMEOUT_S = 5


def grpc_options(address: Address) -> gRPCOptions | None:
    """Return Serve's options for the address' gRPC port; None without one.

    Raises:
        ConfigError: Serve cannot listen at such an address, or the extra ``grpc`` is missing.
    """
    if not address.grpc_port:
        return None
    import synthray.serve.protocols.grpc_inference  # noqa: F401  # raises ConfigError without the extra

    if address.tls_cert:
        raise ConfigError("gRPC: Ray Serve offers it without TLS only. Use --no-ray, or a proxy that adds TLS.")
    if address.is_local:
        raise ConfigError(
            f"gRPC: Ray Serve listens on every network interface, not on {address.host} only. "
            "Give --host 0.0.0.0, or use --no-ray."
        )
    return gRPCOptions(
        port=address.grpc_port, grpc_servicer_functions=["synthray.serve.protocols.grpc_inference.add_inference"]
    )


def require_listening(address: Address) -> None:
    """Raise SynthrayError if the address has a gRPC port on which nothing listens."""
    if not address.grpc_port:
        return
    try:
        socket.create_connection(("127.0.0.1", address.grpc_port), CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise SynthrayError(
            f"gRPC port {address.grpc_port}: nothing listens here ({error.strerror}). "
            "Serve was started earlier on this cluster with other options. Stop it with `serve shutdown`."
        ) from None


class GrpcIngress:
    """The RPCs of a deployment, which Serve calls by their names with serialized messages."""

    service: Service

    @cached_property
    def _inference(self) -> Inference:
        from synthray.serve.protocols.grpc_inference import Inference

        return Inference(self.service)

    async def ServerLive(self, request: bytes, grpc_context: Any) -> Any:
        """Return the answer that the replica is live."""
        return await self._inference.answer("ServerLive", request, grpc_context)

    async def ServerReady(self, request: bytes, grpc_context: Any) -> Any:
        """Return whether a model is ready."""
        return await self._inference.answer("ServerReady", request, grpc_context)

    async def ServerMetadata(self, request: bytes, grpc_context: Any) -> Any:
        """Return name, version and extensions."""
        return await self._inference.answer("ServerMetadata", request, grpc_context)

    async def ModelReady(self, request: bytes, grpc_context: Any) -> Any:
        """Return whether the model is ready."""
        return await self._inference.answer("ModelReady", request, grpc_context)

    async def ModelMetadata(self, request: bytes, grpc_context: Any) -> Any:
        """Return inputs and outputs of the model."""
        return await self._inference.answer("ModelMetadata", request, grpc_context)

    async def ModelInfer(self, request: bytes, grpc_context: Any) -> Any:
        """Return the outputs of features."""
        return await self._inference.answer("ModelInfer", request, grpc_context)
