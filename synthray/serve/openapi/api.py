"""The running service: its models, limits and address, which the modules of this folder describe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from starlette.requests import Request

from synthray.serve.models.served import Served
from synthray.serve.service import Service, model_for, service_of

Json = dict[str, Any]


@dataclass(frozen=True)
class Api:
    """The service that the document describes."""

    service: Service
    served: Served
    """The model that answers."""
    url: str
    """Address of the service, without a slash at the end."""

    @property
    def refine_s(self) -> float:
        """Return the length of the search in examples, in seconds."""
        return min(1.0, self.service.config.max_refine_s)


def api_of(request: Request) -> Api:
    """Return the service at the address that a request names; raise RequestError 503 if no model is ready."""
    return Api(service_of(request), model_for(request), str(request.base_url).rstrip("/"))
