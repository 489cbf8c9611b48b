"""An S3 bucket, or any store that speaks S3, as a store.

boto3's own retries are off: ``retry.py`` has the policy, and this module decides which errors are transient.
Credentials, region and endpoint come from boto3's standard sources, such as ``AWS_ACCESS_KEY_ID``.
"""

from __future__ import annotations

import io
import logging
import os
import time
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from synthray.errors import ConfigError, Conflict, NotFound, StorageError
from synthray.storage.base import Entry, Store, is_foreign
from synthray.storage.retry import Retries, SlowAnswers, retry_timeout_s

Result = TypeVar("Result")
_log = logging.getLogger(__name__)

_CONNECT_TIMEOUT_S = 5.0
# Time between two pieces of a response, not of the whole.
_READ_TIMEOUT_S = 30.0
# S3 takes at most 5 GiB in one put, and a long put starts again from its beginning after a fault.
_MAX_PUT_BYTES = 256 * 2**20
_PART_BYTES = 64 * 2**20

_slow_answers = SlowAnswers()

NOT_FOUND_CODES = {"404", "NoSuchKey", "NotFound"}
CONFLICT_CODES = {"PreconditionFailed", "412"}
RETRYABLE_CODES = {
    "SlowDown", "Throttling", "ThrottlingException", "TooManyRequests", "429", "RequestTimeout", "408",
    "IncompleteBody", "ConditionalRequestConflict", "OperationAborted",
}  # fmt: skip
"""Codes of responses below status 500 that may succeed on a retry."""
_INSUFFICIENT_STORAGE = 507
PERMANENT_STATUSES = {501, 505, _INSUFFICIENT_STORAGE}
"""Statuses from 500 on that a retry does not change; all others are retryable."""


@lru_cache(maxsize=4)
def _client(process_id: int, endpoint: str, timeout_s: float) -> Any:  # noqa: ARG001
    """Return a client for one process: sockets must not be shared after a fork."""
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "total_max_attempts": 1},
        connect_timeout=_CONNECT_TIMEOUT_S,
        read_timeout=timeout_s,
        max_pool_connections=32,
        # Many S3-compatible stores do not support AWS's newer trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    try:
        return boto3.session.Session(region_name=region).client("s3", config=config)
    except ValueError as error:
        raise ConfigError(f"AWS_ENDPOINT_URL is {endpoint!r}, AWS_REGION {region!r}: {error}") from None


def _response(error: Exception) -> tuple[int, str, str]:
    """Return HTTP status, code and message of an error's response.

    The status is 0 if there was no response.
    """
    response = getattr(error, "response", None) or {}
    details = response.get("Error", {})
    status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(details.get("Code", "")), str(details.get("Message", ""))


def is_retryable(error: Exception) -> bool:
    """Return whether the same request may succeed later."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    if isinstance(error, boto.ClientError):
        status, code, _ = _response(error)
        return code in RETRYABLE_CODES or (status >= 500 and status not in PERMANENT_STATUSES)
    transient = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, boto.ChecksumError)
    return isinstance(error, (*transient, ResponseParserError)) and "CERTIFICATE" not in str(error)


def _endpoint() -> str:
    return os.environ.get("AWS_ENDPOINT_URL") or "AWS"


def _reason(error: Exception) -> str:
    status, code, message = _response(error)
    if not status:
        return " ".join(str(error).split())
    return f"the store answers {' '.join(dict.fromkeys([str(status), code]))}: {message}"


def _timeout_error(where: str, error: Exception, retries: Retries, now_s: float) -> StorageError:
    if _response(error)[0]:
        advice = "Check the log and the free space of the store"
    else:
        advice = "Check that the store runs, and the AWS_… variables"
    return StorageError(
        f"{where}: {_reason(error)}; gave up after {now_s - retries.began_s:.0f} s and {retries.attempts} attempts. "
        f"{advice} (endpoint: {_endpoint()}), then run the same command again."
    )


def _log_if_slow(where: str, began_s: float) -> None:
    now_s = time.monotonic()
    if _slow_answers.should_log(now_s - began_s, now_s):
        _log.warning("%s: the store is slow. It took %.0f s to answer.", where, now_s - began_s)


def _in_parts() -> Any:
    """Return boto3's configuration of an upload in parts. The object appears with the last one, as with a put."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)


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
        """Return the result of one request; retry transient errors.

        Other errors are raised as one of synthray's, which names the object.
        """
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        where = f"{self.uri}/{path}" if path else self.uri
        retries = Retries(retry_timeout_s())
        while True:
            began_s = time.monotonic()
            try:
                result = action(_client(os.getpid(), os.environ.get("AWS_ENDPOINT_URL", ""), _READ_TIMEOUT_S))
                _log_if_slow(where, began_s)
                return result
            except (BotoCoreError, ClientError, ResponseParserError) as error:
                if not is_retryable(error):
                    raise self._permanent_error(where, error) from error
                now_s = time.monotonic()
                delay_s = retries.next_delay_s(now_s)
                if delay_s is None:
                    raise _timeout_error(where, error, retries, now_s) from error
                if retries.should_log(now_s):
                    _log.warning("%s: %s; retrying for %.0f s", where, _reason(error), retries.seconds_left(now_s))
            time.sleep(delay_s)

    def _permanent_error(self, where: str, error: Exception) -> Exception:
        status, code, message = _response(error)
        if code in NOT_FOUND_CODES:
            return NotFound(f"{where} does not exist")
        if code == "NoSuchBucket":
            return NotFound(f"{where}: there is no bucket {self.bucket!r}. Create it first.")
        if code in CONFLICT_CODES:
            return Conflict(f"{where} exists already")
        if status in (401, 403):
            return StorageError(
                f"{where}: the store denies access ({code}: {message}). Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
                f"and their permissions on the bucket {self.bucket!r}."
            )
        if status == _INSUFFICIENT_STORAGE:
            return StorageError(f"{where}: the store is full ({code}). Free space, then run the same command again.")
        if status:
            return StorageError(f"{where}: {_reason(error)}")
        return StorageError(f"{where}: {_reason(error)}. Check the AWS_… variables (endpoint: {_endpoint()}).")

    def read(self, path: str) -> bytes:
        def get(client: Any) -> bytes:
            # The body is read within the attempt, so that an interrupted one is requested again from its start.
            body: bytes = client.get_object(Bucket=self.bucket, Key=self._key(path))["Body"].read()
            return body

        return self._call(path, get)

    def write(self, path: str, data: bytes | memoryview, *, replace: bool = True, durable: bool = False) -> None:  # noqa: ARG002 - S3 objects are durable
        """Write the whole object, see ``Store.write``.

        With ``replace=False``, a put whose response is lost finds its own object on the retry and raises Conflict.
        Callers that need to know compare the content.
        """
        place: dict[str, Any] = {"Bucket": self.bucket, "Key": self._key(path)}
        if replace and len(data) > _MAX_PUT_BYTES:
            self._call(path, lambda s3: s3.upload_fileobj(io.BytesIO(data), **place, Config=_in_parts()))
            return
        request = {"Body": bytes(data)} if replace else {"Body": bytes(data), "IfNoneMatch": "*"}
        self._call(path, lambda s3: s3.put_object(**place, **request))

    def exists(self, path: str) -> bool:
        try:
            self.entry(path)
        except NotFound:
            return False
        return True

    def list(self, prefix: str = "") -> Sequence[Entry]:
        start = len(self._key(""))
        entries = [
            Entry(item["Key"][start:], item["Size"], item["LastModified"].timestamp())
            for page in self._pages(prefix, Prefix=self._key(f"{prefix.rstrip('/')}/" if prefix else ""))
            for item in page.get("Contents", ())
            # A key that ends with / is the marker of a folder.
            if not item["Key"].endswith("/") and not any(map(is_foreign, item["Key"][start:].split("/")))
        ]
        return sorted(entries, key=lambda entry: entry.path)

    def folders(self) -> Sequence[str]:
        start = len(self._key(""))
        pages = self._pages("", Prefix=self._key(""), Delimiter="/")
        names = [item["Prefix"][start:-1] for page in pages for item in page.get("CommonPrefixes", ())]
        return sorted(name for name in names if name and not is_foreign(name))

    def _pages(self, path: str, **query: str) -> Sequence[dict[str, Any]]:
        """Return all pages of a listing, fetched within one attempt."""
        from botocore.exceptions import IncompleteReadError

        def get(client: Any) -> Sequence[dict[str, Any]]:
            pages = []
            for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **query):
                if "IsTruncated" not in page:  # boto3 parses a response that lost its body as an empty listing
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
