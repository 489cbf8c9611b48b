"""An S3 bucket, or any store that speaks S3, as a store.

boto3's own retries are off: ``retry.py`` has the policy. ``s3_errors.py`` decides which errors are transient,
``s3_client.py`` has credentials, region and endpoint.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from synthray.errors import Conflict, NotFound, StorageError
from synthray.storage.base import Entry, Store, is_foreign
from synthray.storage.retry import Retries, SlowAnswers, retry_timeout_s
from synthray.storage.s3_client import client, endpoint
from synthray.storage.s3_errors import condition_refused, is_retryable, permanent_error, reason, response

Result = TypeVar("Result")
_log = logging.getLogger(__name__)

# Longest time between two pieces of a response. A whole response may take longer.
_READ_TIMEOUT_S = 30.0
# S3 takes at most 5 GiB in one put, and a long put starts again from its beginning after a fault.
_MAX_PUT_BYTES = 256 * 2**20
_PART_BYTES = 64 * 2**20
# The answer to a range that begins at the end of an object, or beyond it.
_RANGE_NOT_SATISFIABLE = 416

_slow_answers = SlowAnswers()


def _timeout_error(where: str, error: Exception, retries: Retries, now_s: float) -> StorageError:
    if response(error)[0]:
        advice = "Check the log and the free space of the store"
    else:
        advice = "Check that the store runs, and the AWS_… variables"
    return StorageError(
        f"{where}: {reason(error)}; gave up after {now_s - retries.began_s:.0f} s and {retries.attempts} attempts. "
        f"{advice} (endpoint: {endpoint(_READ_TIMEOUT_S)}), then run the same command again."
    )


def _log_if_slow(where: str, began_s: float) -> None:
    now_s = time.monotonic()
    if _slow_answers.should_log(now_s - began_s, now_s):
        _log.warning("%s: the store is slow. It took %.0f s to answer.", where, now_s - began_s)


def _in_parts() -> Any:
    """Return boto3's configuration of an upload in parts. The object appears at the end, as with a put."""
    from boto3.s3.transfer import TransferConfig

    return TransferConfig(multipart_threshold=_PART_BYTES, multipart_chunksize=_PART_BYTES, max_concurrency=4)


class S3Store(Store):
    """Objects of ``bucket`` whose keys begin with ``prefix``."""

    is_shared = True

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = bucket, prefix
        self.uri = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"

    def __reduce__(self) -> tuple[type, tuple[str, str]]:
        return S3Store, (self.bucket, self.prefix)

    @property
    def parent_uri(self) -> str | None:
        return self.uri.rpartition("/")[0] if self.prefix else None

    def _key(self, path: str) -> str:
        return f"{self.prefix}/{path}" if self.prefix else path

    def _call(self, path: str, action: Callable[[Any], Result]) -> Result:
        """Return the result of one request; retry transient errors.

        Other errors are raised as an error of ``synthray.errors`` that names the object.
        """
        from botocore.exceptions import BotoCoreError, ClientError
        from botocore.parsers import ResponseParserError

        where = f"{self.uri}/{path}" if path else self.uri
        retries = Retries(retry_timeout_s())
        while True:
            began_s = time.monotonic()
            try:
                result = action(client(_READ_TIMEOUT_S))
                _log_if_slow(where, began_s)
                return result
            except (BotoCoreError, ClientError, ResponseParserError) as error:
                if not is_retryable(error):
                    raise permanent_error(where, self.bucket, endpoint(_READ_TIMEOUT_S), error) from error
                now_s = time.monotonic()
                delay_s = retries.next_delay_s(now_s)
                if delay_s is None:
                    raise _timeout_error(where, error, retries, now_s) from error
                if retries.should_log(now_s):
                    _log.warning("%s: %s; retrying for %.0f s", where, reason(error), retries.seconds_left(now_s))
            time.sleep(delay_s)

    def read(self, path: str) -> bytes:
        return self._get(path)

    def read_range(self, path: str, start: int, length: int) -> bytes:
        try:
            return self._get(path, Range=f"bytes={start}-{start + length - 1}")
        except StorageError as error:
            if response(error.__cause__)[0] == _RANGE_NOT_SATISFIABLE:
                return b""
            raise

    def _get(self, path: str, **options: str) -> bytes:
        def get(client: Any) -> bytes:
            # The body is read within the attempt, so that an interrupted one is requested again from its start.
            body: bytes = client.get_object(Bucket=self.bucket, Key=self._key(path), **options)["Body"].read()
            return body

        return self._call(path, get)

    def write(self, path: str, data: bytes | memoryview, *, replace: bool = True, durable: bool = False) -> None:  # noqa: ARG002 - S3 objects are durable
        """Write the whole object, see ``Store.write``.

        With ``replace=False``, the response to a successful put may be lost. The retry then finds the new object and
        raises Conflict. Callers for which this matters compare the content. If the store has no conditional writes, a
        warning is logged, and two writers at the same time may both return without an error.
        """
        if not replace:
            self._write_new(path, bytes(data))
        elif len(data) > _MAX_PUT_BYTES:
            place = {"Bucket": self.bucket, "Key": self._key(path)}
            self._call(path, lambda s3: s3.upload_fileobj(io.BytesIO(data), **place, Config=_in_parts()))
        else:
            self._put(path, bytes(data))

    def _write_new(self, path: str, body: bytes) -> None:
        """Write a new object; raise Conflict if it exists."""
        if self._put_if_absent(path, body):
            return
        _log.warning(
            "%s: the store has no conditional writes. Do not run two commands with the same --out at once.", self.uri
        )
        if self.read(path) != body:
            raise Conflict(f"{self.uri}/{path} exists already: another command wrote it at the same time")

    def _put(self, path: str, body: bytes, **condition: str) -> None:
        self._call(path, lambda s3: s3.put_object(Bucket=self.bucket, Key=self._key(path), Body=body, **condition))

    def _put_if_absent(self, path: str, body: bytes) -> bool:
        """Write a new object; return whether the store enforces that no other writer can do the same.

        Raises:
            Conflict: the object exists.
        """
        if self.exists(path):  # a store that ignores the condition would replace it
            raise Conflict(f"{self.uri}/{path} exists already")
        try:
            self._put(path, body, IfNoneMatch="*")
        except StorageError as error:
            if not condition_refused(error.__cause__):
                raise
            self._put(path, body)
            return False
        try:
            self._put(path, body, IfNoneMatch="*")  # must fail now if the store enforces the condition
        except Conflict:
            return True
        return False

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
