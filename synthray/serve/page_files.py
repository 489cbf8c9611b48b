"""The web page's files, read once from the package and sent with an entity tag."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

# mimetypes depends on the system, and browsers reject modules of another type.
_TYPES = {
    ".js": "text/javascript",
    ".css": "text/css",
    ".html": "text/html",
    ".svg": "image/svg+xml",
    ".flac": "audio/flac",
}
"""Files of other types are not served."""
_HEADERS = {
    "content-security-policy": "default-src 'self'; media-src 'self' blob:; img-src 'self' blob: data:; "
    "object-src 'none'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # Browsers ask again each time, and get 304 while the file is unchanged.
    "cache-control": "no-cache",
}


async def page_file(request: Request) -> Response:
    """Return the page itself, or one of its files."""
    path = request.path_params.get("path", "index.html")
    files = _files()
    if path not in files:
        raise HTTPException(404)
    media_type, body, tag = files[path]
    headers = _HEADERS | {"etag": tag}
    if request.headers.get("if-none-match") == tag:
        return Response(status_code=304, headers=headers)
    return Response(body, media_type=media_type, headers=headers)


def media_types() -> list[str]:
    """Return the media types of the files."""
    return sorted({media_type for media_type, _, _ in _files().values()})


@cache
def _files() -> dict[str, tuple[str, bytes, str]]:
    """Return the media type, bytes and entity tag of each file, by its path below the page's folder."""
    folder, files = Path(__file__).with_name("page"), {}
    for file in folder.rglob("*"):
        if media_type := _TYPES.get(file.suffix):
            body = file.read_bytes()
            tag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
            files[file.relative_to(folder).as_posix()] = (media_type, body, tag)
    return files
