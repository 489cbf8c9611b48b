"""Files of a form (multipart/form-data), and its field ``start``. ``sounds/request_sound.py`` decodes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import dataclass

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request

from synthray.errors import RequestError
from synthray.serve.config import AppConfig
from synthray.serve.http.body import read_body

FORM = "multipart/form-data"
START = "start"
"""Field with a preset, as text or as a file."""
BLOCK_BYTES = 2**16
MAX_FILES = 100
"""Files of one form."""


@dataclass(frozen=True)
class Upload:
    """One file of a form."""

    name: str
    raw: bytes


@dataclass(frozen=True)
class Form:
    """The sound files of a form, in their order, and the preset at which the search starts."""

    uploads: list[Upload]
    start: bytes | None
    """JSON of the preset at which the search starts, if there is one."""


async def read_form(request: Request, config: AppConfig) -> Form:
    """Return the sound files and the start preset of a form.

    Raises:
        RequestError: 400, the form is corrupt, holds no file or several starts; also the errors of ``read_body``.
    """
    body = await read_body(request, config)

    async def blocks() -> AsyncGenerator[bytes, None]:
        for start in range(0, len(body), BLOCK_BYTES):
            await asyncio.sleep(0)  # the parser is slow: let other requests run between blocks
            yield body[start : start + BLOCK_BYTES]

    # The body is within its limit, so the parser needs none of its own.
    parser = MultiPartParser(
        request.headers, blocks(), max_files=MAX_FILES, max_fields=MAX_FILES, max_part_size=config.max_body_bytes
    )
    try:
        form = await parser.parse()
    except (MultiPartException, ValueError) as error:  # ValueError: an unusable charset
        raise RequestError(400, f"the form cannot be read: {getattr(error, 'message', error)}") from None
    uploads, starts = [], []
    for name, part in form.multi_items():
        raw = await part.read() if isinstance(part, UploadFile) else part.encode("utf-8", "surrogatepass")
        if name == START:
            starts.append(raw)
        elif isinstance(part, UploadFile):
            uploads.append(Upload(part.filename or "", raw))
    await form.close()
    if len(starts) > 1:
        raise RequestError(400, f"the form holds {len(starts)} fields {START}, expected one")
    if not uploads:
        raise RequestError(400, "the form holds no file, expected sound files (curl -F sound=@a.wav -F sound=@b.wav)")
    return Form(uploads, starts[0] if starts else None)
