"""Every error that synthray raises on purpose.

    SynthrayError
    ├── ConfigError        a flag, a setting or a request is wrong; nothing was started (exit code 2)
    ├── StorageError       the store could not be reached, or refused
    │   └── NotFound       what was asked for is not there
    ├── DataError          what was read is not what it should be
    │   ├── BadBatch       one source batch cannot be used (the reason is told)
    │   ├── UnsafePickle   a pickle holds more than plain data
    │   ├── CorruptShard   a shard does not match its manifest
    │   └── Conflict       other data already stands where this would be written
    ├── ModelError         a model file or its card cannot be used
    ├── TrainingError      training cannot go on
    ├── Stopped            training was asked to end, and has
    ├── SoundError         an audio file or a preset cannot be used
    └── RequestError       an HTTP request cannot be answered

The message names the object, the index and the value, and says what to do.
"""


class SynthrayError(Exception):
    """The root: what the jobs and the command line tell in one line, without a traceback."""


class ConfigError(SynthrayError, ValueError):
    """A setting is outside of what is possible; the message names it and its value."""


class StorageError(SynthrayError):
    """The store could not be reached, or refused; the message names the object."""


class NotFound(StorageError):
    """What was asked for does not exist; the message says which job makes it."""


class DataError(SynthrayError):
    """What was read is not what it should be."""


class BadBatch(DataError):
    """One batch of the source cannot be used.

    ``source`` is the object's path below the source's root, ``reason`` one line.
    """

    def __init__(self, source: str, reason: str) -> None:
        super().__init__(source, reason)
        self.source, self.reason = source, reason

    def __str__(self) -> str:
        return f"{self.source}: {self.reason}"


class UnsafePickle(DataError):
    """A pickle asks for more than plain lists, numbers, strings and arrays."""


class CorruptShard(DataError):
    """A shard does not match the size, digest or schema that its manifest states."""


class Conflict(DataError):
    """Other data already stands where this would be written."""


class ModelError(SynthrayError):
    """A model file or its card is missing, damaged or of another kind."""


class TrainingError(SynthrayError):
    """Training cannot go on; the message says at which step, and why."""


class Stopped(SynthrayError):
    """Training ended because it was asked to; the message says where. The same command goes on from there."""


class SoundError(SynthrayError):
    """An audio file or a preset cannot be used."""


class RequestError(SynthrayError):
    """A request that cannot be answered; ``status`` is the HTTP status of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


_OURS = "synthray.errors."
# TensorFlow's errors begin with the place in a graph where they were raised.
_LOCATIONS = ("Graph execution error", "Detected at node", "<stack traces", "File ")


def summary(error: BaseException | str) -> str:
    """Return the one line of an error's text that states its cause.

    Python and Ray put the cause last, below a traceback. TensorFlow puts it first, below graph locations.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    ours = [line for line in lines if line.startswith(_OURS)]
    if ours:
        return ours[-1].partition(": ")[2]
    if any(line.startswith("Traceback (most recent call last)") for line in lines):
        return lines[-1]
    fallback = lines[0] if lines else "" if isinstance(error, str) else type(error).__name__
    return next((line for line in lines if not line.startswith(_LOCATIONS)), fallback)
