"""What a request says about its body, and reading it without ever holding more than is allowed."""

from __future__ import annotations

from starlette.requests import Request

from synthray.serve.decode import RequestError

RAW = "application/octet-stream"
# What clients send when nobody told them what the body is: curl's own default, and none at all.
UNSTATED = ("", "application/x-www-form-urlencoded")


def content_type(request: Request) -> str:
    """The media type alone, in lower case; empty where none is given."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def refuse_encoding(request: Request) -> None:
    """Raise 415 for a compressed body: its true size could not be limited."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("", "identity"):
        raise RequestError(415, f"content-encoding {encoding!r} is not supported; send the body as it is")


def prefers_wav(request: Request) -> bool:
    """Whether ``Accept`` asks for sound rather than JSON.

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
        raise RequestError(406, f"accept is {accept!r}; this answers application/json or audio/wav")
    return quality["audio/wav"] > quality["application/json"]


def _weight(options: str) -> float:
    for option in options.split(";"):
        key, _, value = option.partition("=")
        if key.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0


async def read_body(request: Request, limit: int) -> bytes:
    """The body, at most ``limit`` bytes.

    Raises:
        RequestError: 413, it states or turns out to be longer; nothing beyond the limit was kept.
    """
    refuse_encoding(request)
    stated = request.headers.get("content-length", "0")
    if not stated.isascii() or not stated.isdigit():
        raise RequestError(400, f"content-length is {stated!r}, not a number")
    if int(stated) > limit:
        raise RequestError(413, f"the body has {int(stated)} bytes, the limit is {limit}")
    received = bytearray()
    async for block in request.stream():
        if len(received) + len(block) > limit:
            raise RequestError(413, f"the body is longer than the limit of {limit} bytes")
        received += block
    return bytes(received)
