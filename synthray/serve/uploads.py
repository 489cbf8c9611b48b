"""Files of a form (multipart/form-data). The sounds in them are matching.py's concern."""

from __future__ import annotations

import asyncio
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
BLOCK_BYTES = 2**16
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

    blocks = iter([body[start : start + BLOCK_BYTES] for start in range(0, len(body), BLOCK_BYTES)])

    async def receive() -> MutableMapping[str, Any]:
        await asyncio.sleep(0)  # the parser is slow: let other requests run between blocks
        block = next(blocks, b"")
        return {"type": "http.request", "body": block, "more_body": bool(block)}

    # The body is within its limit, so the parser needs none of its own.
    parser = Request(request.scope, receive)
    try:
        form = await parser.form(max_files=MAX_FILES, max_fields=MAX_FILES, max_part_size=config.max_body_bytes)
    except (HTTPException, ValueError) as error:  # ValueError: an unusable charset
        raise RequestError(400, f"the form cannot be read: {getattr(error, 'detail', error)}") from None
    parts = [part for _, part in form.multi_items()]
    uploads = [Upload(part.filename or "", await part.read()) for part in parts if isinstance(part, UploadFile)]
    await form.close()
    if not uploads:
        raise RequestError(400, "the form holds no file, expected sound files (curl -F sound=@a.wav -F sound=@b.wav)")
    return uploads
