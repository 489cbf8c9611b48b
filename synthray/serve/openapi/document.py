"""The service's OpenAPI 3.1 document, at ``/openapi.json``.

Operations are in paths.py, schemas in schemas.py and answers.py, examples in
examples.py. page.py shows the document to people.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from synthray import __version__
from synthray.serve.http.access import TOKEN_VARIABLE
from synthray.serve.http.responses import json_response
from synthray.serve.http.uploads import MAX_FILES
from synthray.serve.openapi.answers import answer_schemas
from synthray.serve.openapi.api import Api, Json, api_of
from synthray.serve.openapi.errors import error_responses
from synthray.serve.openapi.examples import shared_examples
from synthray.serve.openapi.operation import TAGS
from synthray.serve.openapi.paths import paths
from synthray.serve.openapi.schemas import request_schemas


async def openapi(request: Request) -> Response:
    """Return the document of the served model."""
    return json_response(document(api_of(request)))


def document(api: Api) -> Json:
    """Return the OpenAPI document of a service."""
    card, tokens = api.served.predictor.card, api.service.tokens
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "synthray",
            "version": __version__,
            "summary": "From a sound to the synthesizer settings that make it",
            "description": _description(api),
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "tags": [{"name": name, "description": text} for name, text in TAGS.items()],
        "paths": paths(api),
        "security": [{"bearer": []}] if tokens else [],
        "components": {
            "schemas": request_schemas(card) | answer_schemas(card),
            "examples": shared_examples(api),
            "responses": error_responses(api),
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer"}},
        },
    }


def _description(api: Api) -> str:
    config, name = api.service.config, api.served.predictor.card.name
    access = (
        f"Send a token with each request: `Authorization: Bearer ${TOKEN_VARIABLE}`. Operations that need none say so."
        if api.service.tokens
        else "This service needs no token."
    )
    return (
        "A sound file goes to `:match`, which returns a preset: a value for each parameter of the synthesizer. "
        "`:render` returns the sound of a preset. `:analyse` and `:predict` are the two steps of a match without a "
        f"search: features of the sound, and the network's outputs for them. The served model is `{name}`.\n\n"
        f"{access} A body may be compressed with gzip or deflate and may have up to "
        f"{config.max_body_bytes / 2**20:g} MiB, also after decompression. A form may have up to {MAX_FILES} files. "
        "An error is JSON with the entry `error`, which names the field, index or value that is wrong."
    )
