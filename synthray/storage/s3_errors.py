"""Errors of S3 and of stores that speak S3: which are worth a retry, and what synthray raises for the others."""

from __future__ import annotations

from synthray.errors import Conflict, NotFound, StorageError

NOT_FOUND_CODES = {"404", "NoSuchKey", "NotFound"}
CONFLICT_CODES = {"PreconditionFailed", "412"}
RETRYABLE_CODES = {
    "SlowDown", "Throttling", "ThrottlingException", "ThrottledException", "RequestThrottled", "RequestLimitExceeded",
    "TooManyRequests", "RequestTimeout", "IncompleteBody", "ConditionalRequestConflict", "OperationAborted",
}  # fmt: skip
"""Codes of responses below status 500 that may succeed on a retry."""
RETRYABLE_STATUSES = {408, 425, 429}
CONDITION_REFUSED_STATUSES = {400, 405, 501}
_INSUFFICIENT_STORAGE = 507
PERMANENT_STATUSES = {501, 505, _INSUFFICIENT_STORAGE}
"""Statuses from 500 on that are not retried. All other statuses from 500 on are."""
WRONG_REGION_CODES = {
    "301", "PermanentRedirect", "AuthorizationHeaderMalformed", "IllegalLocationConstraintException", "InvalidRegion",
}  # fmt: skip


def response(error: BaseException | None) -> tuple[int, str, str]:
    """Return HTTP status, code and message of an error's response.

    The status is 0 if there was no response.
    """
    answer = getattr(error, "response", None) or {}
    details = answer.get("Error", {})
    status = answer.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return int(status), str(details.get("Code", "")), str(details.get("Message", ""))


def is_retryable(error: BaseException) -> bool:
    """Return whether the same request may succeed later."""
    from botocore import exceptions as boto
    from botocore.parsers import ResponseParserError

    if isinstance(error, boto.ClientError):
        status, code, _ = response(error)
        if code in RETRYABLE_CODES or status in RETRYABLE_STATUSES:
            return True
        return status >= 500 and status not in PERMANENT_STATUSES
    transient = (boto.ConnectionError, boto.HTTPClientError, boto.IncompleteReadError, boto.ChecksumError)
    return isinstance(error, (*transient, ResponseParserError)) and "CERTIFICATE" not in str(error)


def condition_refused(error: BaseException | None) -> bool:
    """Return whether a conditional put may have failed because the store has no conditional writes.

    If there was another cause, the same put fails without the condition, too.
    """
    return error is not None and response(error)[0] in CONDITION_REFUSED_STATUSES and not is_retryable(error)


def reason(error: Exception) -> str:
    """Return one line with the store's answer, or with the reason why there is none."""
    status, code, message = response(error)
    if not status:
        return " ".join(str(error).split())
    return f"the store answers {' '.join(dict.fromkeys([str(status), code]))}: {message}"


def permanent_error(where: str, bucket: str, endpoint: str, error: Exception) -> Exception:
    """Convert a permanent error of a request to an error of ``synthray.errors``; ``where`` names the object."""
    status, code, message = response(error)
    if code in NOT_FOUND_CODES:
        return NotFound(f"{where} does not exist")
    if code == "NoSuchBucket":
        return NotFound(f"{where}: there is no bucket {bucket!r}. Create it first.")
    if code in CONFLICT_CODES:
        return Conflict(f"{where} exists already")
    if status in (401, 403):
        return StorageError(
            f"{where}: the store denies access ({code}: {message}). Check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY "
            f"and their permissions on the bucket {bucket!r}. Without s3:ListBucket, missing objects are denied."
        )
    if code in WRONG_REGION_CODES:
        return StorageError(f"{where}: {reason(error)}. Set AWS_REGION to the region of the bucket {bucket!r}.")
    if status == _INSUFFICIENT_STORAGE:
        return StorageError(f"{where}: the store is full ({code}). Free space, then run the same command again.")
    if status:
        return StorageError(f"{where}: {reason(error)}")
    return StorageError(f"{where}: {reason(error)}. Check the AWS_… variables (endpoint: {endpoint}).")
