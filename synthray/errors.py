"""Every error that synthray raises on purpose, with `is_transient`, `summary`, `shown` and `json_type`.

    SynthrayError
    ├── ConfigError        a flag or setting is invalid; nothing was started
    ├── StorageError       the store cannot be reached, or refuses
    │   └── NotFound       the object, data set or bucket does not exist
    ├── DataError          stored data are not as expected
    │   ├── BadBatch       one source batch cannot be used
    │   ├── UnsafePickle   a pickle contains more than plain data
    │   ├── CorruptShard   a shard does not match its manifest
    │   └── Conflict       the target already holds other data
    ├── ModelError         a model file or its card cannot be used
    ├── TrainingError      training cannot continue
    ├── Stopped            training stopped on request
    ├── SoundError         an audio file or preset cannot be used
    └── RequestError       the service rejects an HTTP request
        └── Busy           too many requests are being answered already

``Terminated`` is outside of the tree, because it is a ``KeyboardInterrupt``.

Messages name the object, index and value, and say what to do. Exit codes are not here but in `synthray.cli`.
"""

from __future__ import annotations

import reprlib


class SynthrayError(Exception):
    """The root of the tree. Commands print it as one line, without a traceback."""


class ConfigError(SynthrayError, ValueError):
    """An invalid flag or setting; the message names it and its value."""


class StorageError(SynthrayError):
    """A store that cannot be reached, or refuses; the message names the object."""


class NotFound(StorageError):
    """An object that does not exist; the message may name the command that creates it."""


class DataError(SynthrayError):
    """Stored data that are not as expected."""


class BadBatch(DataError):
    """A source batch that cannot be used."""

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source = source
        """Path of the batch below the root of its source."""
        self.reason = reason
        """One line that says what is wrong."""

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class UnsafePickle(DataError):
    """A pickle that asks for more than plain lists, numbers, strings and arrays."""


class CorruptShard(DataError):
    """A shard that does not match the size, digest or schema in its manifest."""


class Conflict(DataError):
    """A write to a place that already holds other data."""


class ModelError(SynthrayError):
    """A model file or card that is missing, corrupt or of another kind."""


class TrainingError(SynthrayError):
    """A training that cannot continue; the message says at which step, and why."""


class Stopped(SynthrayError):
    """A training that stopped on request; the same command resumes it."""


class SoundError(SynthrayError):
    """An audio file or preset that cannot be used."""


class Terminated(KeyboardInterrupt):
    """The end of a command after SIGTERM. Ctrl-C raises a plain ``KeyboardInterrupt``."""


class RequestError(SynthrayError):
    """An HTTP request that the service rejects."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(status, message)  # both, because pickle calls the class with these
        self.status = status
        """HTTP status of the response."""

    def __str__(self) -> str:
        return str(self.args[1])


class Busy(RequestError):
    """A request that comes while too many others are being answered; the same request works later."""

    def __init__(self, reason: str, retry_after_s: int = 1) -> None:
        super().__init__(429, f"{reason} Retry in {retry_after_s} s.")
        self._reason = reason
        self.retry_after_s = retry_after_s
        """Seconds after which a client should retry."""

    def __reduce__(self) -> tuple[type[Busy], tuple[str, int]]:
        return Busy, (self._reason, self.retry_after_s)


class _Shown(reprlib.Repr):
    """Short texts of values. Parts that are nested deeper or longer than the limits become ``...``."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel, self.maxstring, self.maxother = 2, 40, 40

    def repr_int(self, x: int, level: int) -> str:  # noqa: ARG002  # reprlib's signature
        """Return a number; Python refuses to print one of more than 4300 digits."""
        bits = x.bit_length()
        return repr(x) if bits <= LONGEST_NUMBER_BITS else f"an integer of {bits} bits"

    def repr_NoneType(self, x: None, level: int) -> str:  # noqa: ARG002, N802  # reprlib derives the name from the type
        """Return ``null``."""
        return "null"

    def repr_bool(self, x: bool, level: int) -> str:  # noqa: ARG002
        """Return ``true`` or ``false``."""
        return "true" if x else "false"


LONGEST_NUMBER_BITS = 128
LONGEST_TEXT = 80
_SHOWN = _Shown()


def is_transient(error: BaseException) -> bool:
    """Return whether another try may succeed after an error: a store that cannot be reached may recover."""
    return isinstance(error, StorageError) and not isinstance(error, NotFound)


def shown(value: object) -> str:
    """Return any value as text for a message, in JSON's notation, at most ``LONGEST_TEXT`` characters."""
    text = _SHOWN.repr(value)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 3]}..."


_JSON_TYPES = {
    dict: "an object",
    list: "an array",
    str: "a string",
    int: "a number",
    float: "a number",
    bool: "a boolean",
    type(None): "null",
}


def json_type(value: object) -> str:
    """Return the JSON type of a value, for a message, such as ``an array``."""
    return _JSON_TYPES.get(type(value), type(value).__name__)


_OURS = "synthray.errors."
# TensorFlow puts the graph location before the cause.
_LOCATIONS = ("Graph execution error", "Detected at node", "<stack traces", "File ")


def summary(error: BaseException | str) -> str:
    """Return the one line of an error's text that states its cause.

    Python and Ray put the cause last, below a traceback. TensorFlow puts it first, below graph locations.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith(_OURS)]
    if ours:
        return ours[-1].partition(": ")[2]
    if any("Traceback (most recent call last)" in line for line in lines):
        return lines[-1]
    fallback = lines[0] if lines else "" if isinstance(error, str) else type(error).__name__
    return next((line for line in lines if not line.startswith(_LOCATIONS)), fallback)
