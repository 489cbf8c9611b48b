"""Headers and body of a request: its media type, the answer it accepts, and its bytes within a limit.

The meaning of the bytes is decode.py's concern.
"""

from __future__ import annotations

from starlette.requests import Request

from synthray.errors import RequestError

RAW = "application/octet-stream"
# Clients that were given no content type send none, or this one (curl's default).
UNSTATED = ("", "application/x-www-form-urlencoded")


def content_type(request: Request) -> str:
    """Return the media type in lower case without its options, or an empty string."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def prefers_wav(request: Request) -> bool:
    """Return whether ``Accept`` prefers a WAV file to JSON.

    Raises:
        RequestError: 406, it accepts neither.
    """
    accept = request.headers.get("accept", "") or "*/*"
    quality = {"audio/wav": 0.0, "application/json": 0.0}
    for position, part in enumerate(accept.split(",")):
        name, _, options = part.strip().lower().partition(";")
        weight = _weight(options) - position * 1e-6
        for offered in quality:
            if name.strip().replace("x-wav", "wav") in (offered, offered.partition("/")[0] + "/*"):
                quality[offered] = max(quality[offered], weight)
            elif name.strip() == "*/*" and offered == "application/json":
                quality[offered] = max(quality[offered], weight * 1e-3)
    if max(quality.values()) <= 0:
        raise RequestError(406, f"accept is {accept!r}, expected application/json or audio/wav")
    return quality["audio/wav"] > quality["application/json"]


async def read_body(request: Request, limit: int) -> bytes:
    """Return the body, at most ``limit`` bytes.

    Raises:
        RequestError: 413, the body is longer; 415, it is compressed; 400, its stated length is no number.
    """
    # The size of a compressed body says nothing about the memory that it needs.
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestError(415, f"content-encoding {encoding!r} is not supported; send the body uncompressed")
    stated = request.headers.get("content-length", "0")
    if not stated.isascii() or not stated.isdigit():
        raise RequestError(400, f"content-length is {stated!r}, expected a number")
    if int(stated) > limit:
        raise RequestError(413, f"the body has {int(stated)} bytes, the limit is {limit}")
    received = bytearray()
    async for block in request.stream():
        if len(received) + len(block) > limit:
            raise RequestError(413, f"the body is longer than the limit of {limit} bytes")
        received += block
    return bytes(received)


def _weight(options: str) -> float:
    for option in options.split(";"):
        key, _, value = option.partition("=")
        if key.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
