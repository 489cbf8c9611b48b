"""Query, headers and body of a request: its options, its media type, the answers it accepts, its bytes within a limit.

``protocols/decode.py`` decodes features, ``sounds/request_sound.py`` sounds.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from typing import Any

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request

from synthray.errors import RequestError, json_type, shown
from synthray.serve.config import AppConfig
from synthray.serve.service import service_of

# zlib's wbits: 31 reads gzip only (47 would also detect zlib); 15 reads zlib's format, which HTTP calls deflate.
_COMPRESSIONS = {"": 0, "identity": 0, "gzip": 31, "x-gzip": 31, "deflate": 15}
JSON, WAV, RAW = "application/json", "audio/wav", "application/octet-stream"
# Content types of requests for which the user set none: most clients send no header, curl sends this one.
UNSTATED = ("", "application/x-www-form-urlencoded")


def read_query(request: Request, known: tuple[str, ...] = ()) -> dict[str, str]:
    """Return the options in a query by name.

    Raises:
        RequestError: 400, a name is unknown or repeated.
    """
    query = request.query_params
    for name in query:
        if name not in known:
            raise RequestError(400, f"query: {shown(name)} is unknown, expected {' or '.join(known) or 'no query'}")
        if (count := len(query.getlist(name))) > 1:
            raise RequestError(400, f"query: {name} is given {count} times, expected once")
    return dict(query)


def content_type(request: Request) -> str:
    """Return the media type in lower case without its options, or an empty string."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def require_json_type(request: Request, or_raw: str = "") -> str:
    """Return the media type of a body that may be JSON; raise RequestError 415 for another one.

    Args:
        request: its headers name the media type.
        or_raw: if given, raw bytes are accepted, too, and the error message ends with this text.
    """
    kind = content_type(request)
    if kind not in (JSON, "text/plain", *UNSTATED) and not (or_raw and kind == RAW):
        raise RequestError(415, f"content-type is {kind!r}, expected {JSON}{or_raw}")
    return kind


def preferred(request: Request, offered: tuple[str, ...]) -> str:
    """Return the offered media type that ``Accept`` prefers, the first one if it has no preference.

    Raises:
        RequestError: 406, the client accepts none of them.
    """
    accept = request.headers.get("accept", "") or "*/*"
    weights: dict[str, float] = {}
    for position, part in enumerate(accept.split(",")):
        name, _, options = part.strip().lower().partition(";")
        name = name.strip().replace("audio/x-wav", "audio/wav")
        weight = _weight(options) - position * 1e-6  # of two equal weights, the first one is preferred
        weights[name] = max(weights.get(name, weight), weight)

    def weight_of(kind: str) -> float:
        # A client that takes anything gets a type that it names, or else the first one.
        anything = weights.get("*/*", 0.0) * 1e-3 ** (offered.index(kind) + 1)
        return weights.get(kind, weights.get(kind.partition("/")[0] + "/*", anything))

    best = max(offered, key=weight_of)
    if weight_of(best) <= 0:
        raise RequestError(406, f"accept is {accept!r}, expected {' or '.join(offered)}")
    return best


async def read_body(request: Request, config: AppConfig) -> bytes:
    """Return the body, at most ``config.max_body_bytes`` of it, decompressed.

    Raises:
        Busy: the bodies of all running requests are too long together.
        RequestError: 413, the body is longer; 415, it has an unknown compression; 408, the client is too slow; 400, its
            stated length is no number, or the compressed data are corrupt.
    """
    limit = config.max_body_bytes
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in _COMPRESSIONS:
        raise RequestError(415, f"content-encoding {encoding!r} is not supported, expected gzip, deflate or none")
    stated = request.headers.get("content-length", "0")
    if not stated.isascii() or not stated.isdigit():
        raise RequestError(400, f"content-length is {stated!r}, expected a number")
    if int(stated) > limit:
        raise RequestError(413, f"the body has {int(stated)} bytes, the limit is {limit}")
    blocks: list[bytes] = []
    received = 0
    try:
        async with asyncio.timeout(config.body_timeout_s):
            async for block in request.stream():
                if received + len(block) > limit:
                    raise RequestError(413, f"the body is longer than the limit of {limit} bytes")
                service_of(request).body_memory.take(request, len(block))
                blocks.append(block)
                received += len(block)
    except TimeoutError:
        raise RequestError(
            408, f"the body: timed out after {config.body_timeout_s:g} s, with {received} bytes. Send it faster."
        ) from None
    body = b"".join(blocks)
    window_bits = _COMPRESSIONS[encoding]
    if not window_bits:
        return body
    text = await run_in_threadpool(_decompressed, body, limit, window_bits)
    service_of(request).body_memory.take(request, len(text) - received)  # in place of the compressed bytes
    return text


def parse_object(body: bytes, name: str = "the body") -> dict[str, Any]:
    """Return the JSON object in a body or in another text; raise RequestError 400 if there is none."""
    try:
        request = _parse(body)
    except (ValueError, RecursionError) as error:
        # UnicodeDecodeError is a ValueError, and json raises ValueError for numbers of thousands of digits.
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise RequestError(400, f"{name} is not JSON: {reason}") from None
    if not isinstance(request, dict):
        raise RequestError(400, f"{name} is {json_type(request)}, expected an object")
    return request


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:  # NaN and integers beyond 64 bits, for which there are messages of our own
        return json.loads(body)


def _decompressed(body: bytes, limit: int, window_bits: int) -> bytes:
    decompressor = zlib.decompressobj(window_bits)
    try:
        text = decompressor.decompress(body, limit + 1)
    except zlib.error as error:
        raise RequestError(400, f"the compressed body is corrupt: {error}") from None
    if len(text) > limit:
        raise RequestError(413, f"the decompressed body is longer than the limit of {limit} bytes")
    if not decompressor.eof:
        raise RequestError(400, f"the compressed body ends too early, after {len(body)} bytes")
    if decompressor.unused_data:
        left = len(decompressor.unused_data)
        raise RequestError(400, f"{left} bytes follow the compressed body. Send one gzip member.")
    return text


def _weight(options: str) -> float:
    for option in options.split(";"):
        key, _, value = option.partition("=")
        if key.strip() == "q":
            try:
                return float(value)
            except ValueError:
                return 0.0
    return 1.0
