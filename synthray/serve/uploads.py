"""Files of a form (multipart/form-data). The sounds in them are matching.py's concern."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.requests import Request

from synthray.errors import RequestError
from synthray.serve.config import AppConfig
from synthray.serve.request_body import read_body

FORM = "multipart/form-data"
MAX_FILES = 100
"""Files of one form."""


@dataclass(frozen=True)
class Upload:
    """One file of a form."""

    name: str
    raw: bytes


async def read_form(request: Request, config: AppConfig) -> list[Upload]:
    """Return the files of a form, in their order.

    Raises:
        RequestError: 400, the form is corrupt or holds no file; as ``read_body``.
    """
    body = await read_body(request, config)

    async def receive() -> MutableMapping[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    # The body is within its limit, so the parser needs none of its own.
    parser = Request(request.scope, receive)
    try:
        form = await parser.form(max_files=MAX_FILES, max_fields=MAX_FILES, max_part_size=config.max_body_bytes)
    except HTTPException as error:
        raise RequestError(400, f"the form cannot be read: {error.detail}") from None
    parts = [part for _, part in form.multi_items()]
    uploads = [Upload(part.filename or "", await part.read()) for part in parts if isinstance(part, UploadFile)]
    await form.close()
    if not uploads:
        raise RequestError(400, "the form holds no file, expected sound files (curl -F sound=@a.wav -F sound=@b.wav)")
    return uploads
