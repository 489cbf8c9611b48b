"""An S3 bucket, or any store that speaks S3, as a store."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

from synthray.data.storage import Entry, Store
from synthray.errors import Conflict, NotFound, StorageError

Result = TypeVar("Result")

_ATTEMPTS = 6
_ABSENT = {"404", "NoSuchKey", "NotFound"}
_TAKEN = {"PreconditionFailed", "ConditionalRequestConflict", "412", "409"}


@lru_cache(maxsize=4)
def _client(process_id: int) -> Any:  # noqa: ARG001 - one client a process: a forked one would share sockets
    import boto3
    from botocore.config import Config

    config = Config(
        retries={"mode": "standard", "max_attempts": _ATTEMPTS},
        connect_timeout=5,
        read_timeout=30,
        max_pool_connections=32,
        # Many stores that speak S3 do not know AWS's newer trailing checksums.
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
    return boto3.session.Session(region_name=region).client("s3", config=config)


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
        """Run one request; what boto3 gives up on becomes an error that names the object."""
        from botocore.exceptions import BotoCoreError, ClientError

        where = f"{self.uri}/{path}" if path else self.uri
        try:
            return action(_client(os.getpid()))
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            message = error.response.get("Error", {}).get("Message", "")
            if code in _ABSENT:
                raise NotFound(f"{where} does not exist") from None
            if code == "NoSuchBucket":
                raise NotFound(f"{where}: there is no bucket {self.bucket!r}; create it first") from None
            if code in _TAKEN:
                raise Conflict(f"{where} exists already") from None
            raise StorageError(f"{where}: the store answers {code}: {message}") from error
        except BotoCoreError as error:
            endpoint = os.environ.get("AWS_ENDPOINT_URL", "AWS")
            raise StorageError(
                f"{where}: {error} (endpoint: {endpoint}; tried {_ATTEMPTS} times; check the AWS_… variables)"
            ) from error

    def read(self, path: str) -> bytes:
        from botocore.exceptions import IncompleteReadError, ReadTimeoutError, ResponseStreamingError

        def get(client: Any) -> bytes:
            return client.get_object(Bucket=self.bucket, Key=self._key(path))["Body"].read()

        # boto3 retries a request, but not a body that breaks off while it is read.
        for attempt in range(_ATTEMPTS):
            try:
                return self._call(path, get)
            except StorageError as error:
                cut = isinstance(error.__cause__, IncompleteReadError | ReadTimeoutError | ResponseStreamingError)
                if not cut or attempt == _ATTEMPTS - 1:
                    raise
                time.sleep(0.1 * 2**attempt)
        raise AssertionError("unreachable")

    def write(self, path: str, data: bytes, *, replace: bool = True) -> None:
        condition = {} if replace else {"IfNoneMatch": "*"}
        self._call(path, lambda s3: s3.put_object(Bucket=self.bucket, Key=self._key(path), Body=data, **condition))

    def exists(self, path: str) -> bool:
        try:
            self._call(path, lambda s3: s3.head_object(Bucket=self.bucket, Key=self._key(path)))
        except NotFound:
            return False
        return True

    def list(self, prefix: str = "") -> list[Entry]:
        start = len(self._key(""))
        entries = [
            Entry(item["Key"][start:], item["Size"], item["LastModified"].timestamp())
            for page in self._pages(Prefix=self._key(f"{prefix.rstrip('/')}/" if prefix else ""))
            for item in page.get("Contents", ())
        ]
        return sorted(entries, key=lambda entry: entry.path)

    def folders(self) -> list[str]:
        start = len(self._key(""))
        pages = self._pages(Prefix=self._key(""), Delimiter="/")
        return sorted(item["Prefix"][start:-1] for page in pages for item in page.get("CommonPrefixes", ()))

    def _pages(self, **query: str) -> list[dict[str, Any]]:
        return self._call(
            "", lambda s3: list(s3.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, **query))
        )

    def modified_s(self, path: str) -> float:
        head = self._call(path, lambda s3: s3.head_object(Bucket=self.bucket, Key=self._key(path)))
        return head["LastModified"].timestamp()

    def delete(self, path: str) -> None:
        self._call(path, lambda s3: s3.delete_object(Bucket=self.bucket, Key=self._key(path)))
