"""One operation of the OpenAPI document, and functions for its answers and parameters."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from synthray.serve.http.access import is_open
from synthray.serve.http.responses import MODEL_HEADER, SOUND_HEADER
from synthray.serve.models.served import BASE, STABLE
from synthray.serve.openapi.api import Api, Json
from synthray.serve.openapi.schemas import TEXT, Schema

TAGS = {
    "Sounds": "From a sound to a preset, and back.",
    "Features": "The network alone, in TensorFlow Serving's REST API.",
    "Model": "The served models, in TensorFlow Serving's REST API.",
    "Open Inference Protocol": "Version 2 of the protocol, which clients of KServe, Triton and MLServer speak.",
    "Service": "Health, metrics, this document, and the web page.",
}
MODEL: Json = {MODEL_HEADER: {"schema": TEXT, "description": "name of the model that answered"}}
SOUND: Json = {
    SOUND_HEADER: {
        "schema": TEXT,
        "description": "the part of the file that was used, in seconds; `length_s` only if it is known",
        "example": "skipped_s=0.52, used_s=2.0, length_s=7.1",
    }
}
BODY_ERRORS = (408, 413, 415, 429)


@dataclass(frozen=True)
class Operation:
    """One operation."""

    tag: str
    """Key of ``TAGS``."""
    name: str
    """Its identifier."""
    summary: str
    """One line."""
    answer: str
    """Description of the answer."""
    content: Json
    """Answers by media type, as ``media`` returns them."""
    errors: tuple[int, ...] = ()
    """Statuses of ``errors.ERRORS``."""
    description: str = ""
    """Sentences, with code in backticks."""
    parameters: tuple[Json, ...] = ()
    """Parameters in the path, query and headers."""
    body: Json | None = None
    """Bodies by media type, as ``media`` returns them."""
    headers: Json | None = None
    """Headers of the answer."""
    variant_of: str = ""
    """If the path has a version or label: name of the same operation without it."""

    def to_json(self, path: str, samples: dict[str, list[dict[str, str]]]) -> Json:
        """Return the operation of a path, with its samples of ``curl.curl_samples``."""
        answer: Json = {"description": self.answer, "content": self.content}
        responses: Json = {"200": answer | ({"headers": self.headers} if self.headers else {})}
        responses |= {str(status): {"$ref": f"#/components/responses/Error{status}"} for status in sorted(self.errors)}
        body = {"required": True, "content": self.body} if self.body else None
        optional = {
            "description": self.description,
            "parameters": list(self.parameters),
            "requestBody": body,
            "x-codeSamples": samples.get(self.name),
            "x-variant-of": self.variant_of,
        }
        operation: Json = {"tags": [self.tag], "operationId": self.name, "summary": self.summary}
        operation |= {key: value for key, value in optional.items() if value}
        return operation | {"responses": responses} | ({"security": []} if is_open(path) else {})


def media(schema: Schema, **examples: Json) -> Json:
    """Return the schema of a media type with its examples."""
    return {"schema": schema} | ({"examples": examples} if examples else {})


def path_parameter(name: str, text: str, example: str) -> Json:
    """Return a parameter of the path."""
    return {"name": name, "in": "path", "required": True, "schema": TEXT, "description": text, "example": example}


def query_parameter(name: str, schema: Schema, text: str, example: Any) -> Json:
    """Return a parameter of the query."""
    return {"name": name, "in": "query", "schema": schema, "description": text, "example": example}


def with_versions(api: Api, path: str, operation: Operation) -> dict[str, Operation]:
    """Return an operation by its path: for the model that the service chooses, for a version, and for a label.

    Args:
        path: the part after the path of the model, such as ``:predict``.
    """
    label = path_parameter("label", f"`{STABLE}`, or `canary` if the service has one", api.served.label)
    return {
        f"{BASE}{path}": operation,
        f"{BASE}/versions/{{version}}{path}": version_variant(api, operation),
        f"{BASE}/labels/{{label}}{path}": _variant(operation, "Label", "label", (label, *operation.parameters)),
    }


def version_variant(api: Api, operation: Operation, position: int = 0) -> Operation:
    """Return an operation for a model's number, which stands at a position among its parameters."""
    number = path_parameter(
        "version", "number of a served model; the status of the models lists them", str(api.served.version)
    )
    before, after = operation.parameters[:position], operation.parameters[position:]
    return _variant(operation, "Version", "number", (*before, number, *after))


def _variant(operation: Operation, name: str, where: str, parameters: tuple[Json, ...]) -> Operation:
    return replace(
        operation,
        name=f"{operation.name}{name}",
        summary=f"{operation.summary} (the model with a given {where})",
        parameters=parameters,
        errors=tuple({*operation.errors, 404, 503}),
        variant_of=operation.name,
    )
