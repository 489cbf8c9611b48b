"""An S3 bucket, or any store that speaks S3, as a store.

One policy for every request; boto3's own retries are off. What may pass (no connection, a connection or a body that
breaks off, no answer in time, 5xx, "slow down") is tried again: after 0.1 s, then twice as long each time up to 5 s,
each pause cut short by chance, so that many workers do not all come back at once. When the trouble has lasted 60 s, or
the seconds that ``SYNTHRAY_STORAGE_RETRY_S`` says, a StorageError names the object. What will not pass (credentials,
a bucket that is not there, a name that is taken) is told at once.
"""

from __future__ import annotations

import logging
import math
import os
import random
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from synthray.errors import ConfigError, Conflict, NotFound, StorageError
from synthray.storage.base import Entry, Store

Result = TypeVar("Result")
_log = logging.getLogger(__name__)

RETRY_TIMEOUT = "SYNTHRAY_STORAGE_RETRY_S"
_RETRY_TIMEOUT_S = 60.0
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.1, 5.0
# How long one answer is waited for, once there is a connection.
_TIMEOUT_S = 30.0
# Trouble that lasts longer than this is told while it lasts: nobody should think that the job hangs.
_TELL_AFTER_S = 5.0

_ABSENT = {"404", "NoSuchKey", "NotFound"}
_TAKEN = {"PreconditionFailed", "412"}
# Answers below 500 after which the same request may well succeed.
_RETRYABLE_CODES = {
    "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "429", "RequestTimeout", "408",
    "IncompleteBody", "ConditionalRequestConflict", "OperationAborted",
}  # fmt: skip
_FULL = 507
# Answers from 500 on that stay as they are: not implemented, another HTTP, no room.
_PERMANENT_STATUSES = {501, 505, _FULL}


@lru_cache(maxsize=4)
def _client(process_id: int, endpoint: str, timeout_s: float) -> Any:  # noqa: ARG001 - a forked one would share sockets
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=5,
        read_timeout=timeout_s,
        max_pool_connections=32,
        # Many stores that speak S3 do not know AWS's newer trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        return boto3.session.Session(region_name=region).client("s3", config=config)
    except ValueError as error:
        raise ConfigError(f"AWS_ENDPOINT_URL is {endpoint!r}, AWS_REGION {region!r}: {error}") from None


def retry_timeout_s() -> float:
    """How long trouble with the store that may pass is ridden out, seconds; raises ConfigError."""
    text = os.environ.get(RETRY_TIMEOUT, "")
    try:
        retry_timeout_s = float(text or _RETRY_TIMEOUT_S)
    except ValueError:
        retry_timeout_s = math.nan
    if not retry_timeout_s >= 0:
        raise ConfigError(f"{RETRY_TIMEOUT} is {text!r}; it must be a number of seconds, 0 or more")
    return retry_timeout_s


def _answer(error: Exception) -> tuple[int, str, str]:
    """HTTP status, code and message of an answer; status 0 where there was none."""
    response = getattr(error, "response", None) or {}
    told = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(told.get("Code", "")), str(told.get("Message", ""))


def _is_retryable(error: Exception) -> bool:
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    if isinstance(error, boto.ClientError):
        status, code, _ = _answer(error)
        return code in _RETRYABLE_CODES or (status >= 500 and status not in _PERMANENT_STATUSES)
    broken = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, boto.ChecksumError)
    return isinstance(error, (*broken, ResponseParserError)) and "CERTIFICATE" not in str(error)


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL") or "AWS"


def _reason(error: Exception) -> str:
    status, code, message = _answer(error)
    if not status:
        return " ".join(str(error).split())
    return f"the store answers {' '.join(dict.fromkeys([str(status), code]))}: {message}"


def _timeout_error(where: str, error: Exception, seconds: float, tries: int) -> StorageError:
    if _answer(error)[0]:
        advice = f"see the log and the free space of the store (endpoint: {_endpoint()})"
    else:
        advice = f"see that the store runs, check the AWS_… variables (endpoint: {_endpoint()})"
    return StorageError(
        f"{where}: {_reason(error)}; gave up after {seconds:.0f} s and {tries} tries: {advice}, "
        "then run the same command again"
    )


class S3Store(Store):
    """Objects of ``bucket`` whose keys begin with ``prefix``."""

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = bucket, prefix
        self.uri = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return S3Store, (self.bucket, self.prefix)

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _call(self, path: str, action: Callable[[Any], Result]) -> Result:
        """Run one request by the policy above; what is given up becomes an error that names the object."""
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        where = f"{self.uri}/{path}" if path else self.uri
        limit_s, began_s = retry_timeout_s(), time.monotonic()
        trouble_s, tries, told = None, 0, False
        while True:
            try:
                return action(_client(os.getpid(), os.environ.get("AWS_ENDPOINT_URL", ""), _TIMEOUT_S))
            except (BotoCoreError, ClientError, ResponseParserError) as error:
                if not _is_retryable(error):
                    raise self._refusal(where, error) from error
                now_s, tries = time.monotonic(), tries + 1
                # counted from the first failure: what was slow, but went on until then, was no trouble
                trouble_s = now_s if trouble_s is None else trouble_s
                pause_s = min(_FIRST_PAUSE_S * 2 ** min(tries - 1, 9), _LONGEST_PAUSE_S) * random.uniform(0.5, 1)
                if now_s + pause_s > trouble_s + limit_s:
                    raise _timeout_error(where, error, now_s - began_s, tries) from error
                if now_s - trouble_s > _TELL_AFTER_S and not told:
                    told = True
                    left_s = trouble_s + limit_s - now_s
                    _log.warning("%s: %s; trying again for %.0f s", where, _reason(error), left_s)
            time.sleep(pause_s)

    def _refusal(self, where: str, error: Exception) -> Exception:
        """What an answer means that would be the same next time."""
        status, code, message = _answer(error)
        if code in _ABSENT:
            return NotFound(f"{where} does not exist")
        if code == "NoSuchBucket":
            return NotFound(f"{where}: there is no bucket {self.bucket!r}; create it first")
        if code in _TAKEN:
            return Conflict(f"{where} exists already")
        if status in (401, 403):
            return StorageError(
                f"{where}: the store refuses ({code}: {message}); check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
                f"and that they may use the bucket {self.bucket!r}"
            )
        if status == _FULL:
            return StorageError(f"{where}: the store is full ({code}); make room, then run the same command again")
        if status:
            return StorageError(f"{where}: {_reason(error)}")
        return StorageError(f"{where}: {_reason(error)}; check the AWS_… variables (endpoint: {_endpoint()})")

    def read(self, path: str) -> bytes:
        # The body is read inside of the request: one that breaks off is asked for again from its beginning.
        return self._call(path, lambda s3: s3.get_object(Bucket=self.bucket, Key=self._key(path))["Body"].read())

    def write(self, path: str, data: bytes | memoryview, *, replace: bool = True) -> None:
        """As in every store.

        With ``replace=False``, a put that arrived while its answer was lost finds its own object when it is tried
        again: Conflict then, too. Who must know which it was, compares what is there.
        """
        condition = {} if replace else {"IfNoneMatch": "*"}
        self._call(
            path, lambda s3: s3.put_object(Bucket=self.bucket, Key=self._key(path), Body=bytes(data), **condition)
        )

    def exists(self, path: str) -> bool:
        try:
            self.entry(path)
        except NotFound:
            return False
        return True

    def list(self, prefix: str = "") -> list[Entry]:
        start = len(self._key(""))
        entries = [
            Entry(item["Key"][start:], item["Size"], item["LastModified"].timestamp())
            for page in self._pages(prefix, Prefix=self._key(f"{prefix.rstrip('/')}/" if prefix else ""))
            for item in page.get("Contents", ())
        ]
        return sorted(entries, key=lambda entry: entry.path)

    def folders(self) -> list[str]:
        start = len(self._key(""))
        pages = self._pages("", Prefix=self._key(""), Delimiter="/")
        return sorted(item["Prefix"][start:-1] for page in pages for item in page.get("CommonPrefixes", ()))

    def _pages(self, path: str, **query: str) -> list[dict[str, Any]]:
        from botocore.exceptions import IncompleteReadError

        def get(client: Any) -> list[dict[str, Any]]:
            pages = []
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **query):
                if "IsTruncated" not in page:  # boto3 takes an answer without a body for an empty listing
                    length = page["ResponseMetadata"]["HTTPHeaders"].get("content-length", "some")
                    raise IncompleteReadError(actual_bytes=0, expected_bytes=length)
                pages.append(page)
            return pages

        return self._call(path, get)

    def entry(self, path: str) -> Entry:
        head = self._call(path, lambda s3: s3.head_object(Bucket=self.bucket, Key=self._key(path)))
        return Entry(path, head["ContentLength"], head["LastModified"].timestamp())

    def delete(self, path: str) -> None:
        self._call(path, lambda s3: s3.delete_object(Bucket=self.bucket, Key=self._key(path)))
