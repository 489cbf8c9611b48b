"""Samples of a sound file as a stream of blocks, at the file's rate or at the instrument's.

A file is never decoded whole. Containers are in ``container.py``.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from synthray.errors import SoundError
from synthray.synth.container import is_recognised, readable_forms
from synthray.synth.instrument import SAMPLE_RATE_HZ

Floats = npt.NDArray[np.float64]

RATES_HZ = (1000, 768_000)
BLOCK_FRAMES = 4096  # a block in which the decoder fails is lost
LARGEST_SAMPLE = 1e30  # float32 ends at 3e38


class SoundDecoder:
    """An open sound file that is read forwards, in blocks."""

    def __init__(self, raw: bytes | memoryview, name: str) -> None:
        """Open a file.

        Args:
            raw: the whole file.
            name: of the file, for messages.

        Raises:
            SoundError: the file cannot be read, or has an unusual sample rate.
        """
        self._name = name
        self._file = _open(raw, name)
        self.rate_hz: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames_read = 0
        self.is_at_end = False
        if not RATES_HZ[0] <= self.rate_hz <= RATES_HZ[1]:
            low_hz, high_hz = RATES_HZ
            raise SoundError(f"{name} has a sample rate of {self.rate_hz} Hz, not from {low_hz} to {high_hz} Hz")

    def blocks(self) -> Iterator[Floats]:
        """Yield the samples, float64 (frames, channels), full scale at 1.

        A file that is corrupt or cut off ends where the decoder fails.

        Raises:
            SoundError: nothing can be decoded, or a sample is not finite.
        """
        while True:
            try:
                block: Floats = self._file.read(BLOCK_FRAMES, dtype="float64", always_2d=True)
            except soundfile.SoundFileError as error:
                if not self.frames_read:
                    raise SoundError(f"{self._name} cannot be decoded: {_reason(error)}") from None
                block = np.empty((0, self.channels))
            if not len(block):
                self.is_at_end = True
                return
            self._check(block)
            self.frames_read += len(block)
            yield block

    def _check(self, block: Floats) -> None:
        invalid = ~(np.abs(block) < LARGEST_SAMPLE)
        if invalid.any():
            frame, channel = (int(i) for i in np.argwhere(invalid)[0])
            raise SoundError(
                f"{self._name} has samples that are not finite numbers: "
                f"sample {self.frames_read + frame} of channel {channel} is {block[frame, channel]}"
            )


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is read to its end, not to the length in its header.

    soundfile limits reading to that length, and seeks after each block, only if the file can seek.
    """

    def seekable(self) -> bool:
        return False


def _open(raw: bytes | memoryview, name: str) -> Any:
    reasons = []
    for form in readable_forms(raw, name):
        try:
            return _ForwardFile(form)
        except (OSError, soundfile.SoundFileError, TypeError) as error:  # TypeError: headerless formats
            reasons.append(_reason(error))
    # libsndfile tries its formats in turn, and reports the error of the last one.
    reason = reasons[0] if is_recognised(raw) else "its format is unknown"
    raise SoundError(f"{name} cannot be read as a sound file (WAV, FLAC, OGG, MP3, AIFF, …): {reason}")


def _reason(error: Exception) -> str:
    """Return libsndfile's message, without what it says of the Python object."""
    reason = str(getattr(error, "error_string", "") or "its content is not valid")
    return reason.removeprefix("Error : ").rstrip(".")


def resample(blocks: Iterator[Floats], rate_hz: int, channels: int) -> Iterator[Floats]:
    """Convert a stream of blocks to the instrument's rate, as if silence were on both sides of it.

    soxr's HQ filter passes up to 5 kHz within 0.01 dB and attenuates from 5.5 kHz on by 138 dB. The result does not
    depend on the sizes of the blocks.

    Args:
        blocks: float64 (frames, channels) at ``rate_hz``.
        rate_hz: of the blocks.
        channels: of the blocks.

    Yields:
        float64 (frames, channels) at 11025 Hz.
    """
    if rate_hz == SAMPLE_RATE_HZ:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_hz, SAMPLE_RATE_HZ, channels, dtype="float64", quality="HQ")
    for block in blocks:
        yield stream.resample_chunk(block)
    yield stream.resample_chunk(np.empty((0, channels)), last=True)
