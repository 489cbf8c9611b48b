"""Samples of a sound file as a stream of blocks, at the file's rate or at the instrument's.

A file is never decoded whole. Containers are in ``container.py``.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from synthray.errors import SoundError
from synthray.synth.files.container import PartsFile, is_recognised, readable_forms
from synthray.synth.instrument import SAMPLE_RATE_HZ

Doubles = npt.NDArray[np.float64]

RATES_HZ = (1000, 768_000)
MAX_SAMPLES_PER_S = 64 * 48_000
"""Limit on the samples per second of all channels, to bound the work: 64 channels at 48 kHz, or 4 at 768 kHz."""
BLOCK_FRAMES = 4096  # a block in which the decoder fails is lost
STEEP_CROSSINGS = 512
"""Zero crossings on either side of the filter that halves the rate: 46 ms."""
LARGEST_SAMPLE = 1e30  # float32 ends at 3e38
_CANNOT_OPEN = (OSError, soundfile.SoundFileError, TypeError)  # TypeError: headerless formats


class SoundDecoder:
    """An open sound file that is read forwards, in blocks."""

    def __init__(self, raw: bytes | memoryview, name: str) -> None:
        """Open a file.

        Args:
            raw: the whole file.
            name: of the file, for messages.

        Raises:
            SoundError: the file cannot be read, has an unusual sample rate, or has too many channels for its rate.
        """
        self._name = name
        self._file = _open(raw, name)
        self.rate_hz: int = self._file.samplerate
        self.channels: int = self._file.channels
        self.frames_read = 0
        self.is_at_end = False
        if not RATES_HZ[0] <= self.rate_hz <= RATES_HZ[1]:
            allowed = f"from {RATES_HZ[0]} to {RATES_HZ[1]} Hz"
            raise SoundError(f"{name} has a sample rate of {self.rate_hz} Hz. It must be {allowed}.")
        if self.channels * self.rate_hz > MAX_SAMPLES_PER_S:
            raise SoundError(
                f"{name} has {self.channels} channels at {self.rate_hz} Hz, more than {MAX_SAMPLES_PER_S} samples a "
                "second. Remove channels, or lower the sample rate."
            )

    def blocks(self) -> Iterator[Doubles]:
        """Yield the samples, float64 (frames, channels), full scale at 1.

        A file that is corrupt or cut off ends where the decoder fails.

        Raises:
            SoundError: nothing can be decoded, or a sample is not finite.
        """
        while True:
            try:
                block: Doubles = self._file.read(BLOCK_FRAMES, dtype="float64", always_2d=True)
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

    def _check(self, block: Doubles) -> None:
        invalid = ~(np.abs(block) < LARGEST_SAMPLE)
        if invalid.any():
            frame, channel = (int(i) for i in np.argwhere(invalid)[0])
            raise SoundError(
                f"{self._name} has samples that are not finite numbers: "
                f"sample {self.frames_read + frame} of channel {channel} is {block[frame, channel]}"
            )


class _ForwardFile(soundfile.SoundFile):  # type: ignore[misc]  # soundfile has no types
    """A file that is read to its end, not to the length in its header.

    If a file can seek, soundfile reads only to that length and seeks after each block. So this one cannot seek.
    """

    def seekable(self) -> bool:
        return False


def _open(raw: bytes | memoryview, name: str) -> Any:
    reasons = []
    for form in readable_forms(raw, name):
        with suppress(*_CANNOT_OPEN):
            return _ForwardFile(form)
        try:
            return _open_by_path(form)
        except _CANNOT_OPEN as error:
            reasons.append(_reason(error))
    # libsndfile tries its formats in turn, and reports the error of the last one.
    reason = reasons[0] if is_recognised(raw) else "its format is unknown"
    raise SoundError(f"{name} cannot be read as a sound file (WAV, FLAC, OGG, MP3, AIFF, …): {reason}")


def _open_by_path(form: PartsFile) -> _ForwardFile:
    """Open a copy that has a path.

    Without a path, libsndfile may take ``._`` or ``.AppleDouble/`` in the working directory for a part of the sound.
    macOS and its file servers write such files.
    """
    form.seek(0)
    with open(os.memfd_create("sound"), "wb") as copy:  # noqa: PTH123  # a descriptor, not a path
        shutil.copyfileobj(form, copy)
        copy.flush()
        return _ForwardFile(f"/proc/self/fd/{copy.fileno()}")


def _reason(error: Exception) -> str:
    """Return libsndfile's message, without the parts about the Python object or a file on the disk."""
    reason = str(getattr(error, "error_string", ""))
    if not reason or "not a regular file" in reason:
        return "its content is not valid"
    return reason.removeprefix("Error : ").rstrip(".")


def resample(
    blocks: Iterator[Doubles], rate_hz: int, channels: int, target_hz: int = SAMPLE_RATE_HZ
) -> Iterator[Doubles]:
    """Convert a stream of blocks to another rate.

    The first frame's value is assumed before the stream. With zeros there, a recording with an offset would begin with
    a click. soxr's HQ filter passes up to 90 % of the lower Nyquist frequency within 0.01 dB. The result does not
    depend on the sizes of the blocks.

    Args:
        blocks: float64 (frames, channels) at ``rate_hz``.
        rate_hz: of the blocks.
        channels: of the blocks.
        target_hz: of the result.

    Yields:
        float64 (frames, channels) at ``target_hz``.
    """
    if rate_hz == target_hz:
        yield from blocks
        return
    stream = soxr.ResampleStream(rate_hz, target_hz, channels, dtype="float64", quality="HQ")
    first = np.zeros((1, channels))
    for number, block in enumerate(blocks):
        first = block[:1] if number == 0 else first
        yield stream.resample_chunk(block - first) + first
    yield stream.resample_chunk(np.empty((0, channels)), last=True) + first


def decode_part(decoder: SoundDecoder, channel: int | None, first: int, last: int) -> Doubles:
    """Return the samples from ``first`` up to ``last`` at the instrument's rate, float64 (samples,).

    Frequencies up to 5.45 kHz stay unchanged, because the network also reads the highest bins. So soxr converts to
    twice the instrument's rate, where its filter keeps all of them, and a steep filter halves the rate.

    Args:
        decoder: the file's decoder, from which nothing was read yet.
        channel: its number, or None for the mean of all.
        first: number of the first sample at 11025 Hz.
        last: number of the sample behind the last one. The result is shorter if the file ends before it.
    """
    blocks = _one_channel(decoder.blocks(), channel)
    if decoder.rate_hz == SAMPLE_RATE_HZ:
        return _cut_out(resample(blocks, decoder.rate_hz, 1), first, last)
    margin = 2 * STEEP_CROSSINGS
    start = max(0, 2 * first - margin)
    samples = _cut_out(resample(blocks, decoder.rate_hz, 1, 2 * SAMPLE_RATE_HZ), start, 2 * last + margin)
    count = min(last, (start + len(samples) + 1) // 2) - first
    rest = samples[:1]  # assumed outside of the file: zeros would click in a recording with an offset
    samples = np.concatenate([np.zeros(start - 2 * first + margin), samples - rest, np.zeros(2 * margin)])
    return _halve_rate(samples)[:count] + rest


def _one_channel(blocks: Iterator[Doubles], channel: int | None) -> Iterator[Doubles]:
    for block in blocks:
        yield block.mean(axis=1, keepdims=True) if channel is None else block[:, channel : channel + 1]


def _cut_out(blocks: Iterator[Doubles], first: int, last: int) -> Doubles:
    """Return samples ``first`` to ``last - 1`` of a stream of one channel."""
    parts: list[Doubles] = [np.empty(0)]
    position = 0
    for block in blocks:
        if position + len(block) > first:  # an empty part would keep the whole block in memory
            parts.append(block[max(0, first - position) : last - position, 0])
        position += len(block)
        if position >= last:
            break
    return np.concatenate(parts)


def _halve_rate(samples: Doubles) -> Doubles:
    """Filter samples and return every second one, where the whole filter lies within the samples.

    ``resample_poly`` of SciPy does the same, but importing ``scipy.signal`` takes longer than a match.
    """
    taps = _steep_filter()
    halved = np.convolve(samples[::2], taps[::2], "valid")
    return np.asarray(halved + np.convolve(samples[1::2], taps[1::2], "valid")[: len(halved)])


@cache
def _steep_filter() -> Doubles:
    """Return a filter that halves the rate: it passes 98.9 % of the band, and attenuates the rest by 90 dB.

    Kaiser's formula gives the width of its transition band, (90 - 8) / (2.285 * 2 pi) / zero crossings.
    """
    width = 5.71 / STEEP_CROSSINGS
    cutoff = (1 - width / 2) / 2
    positions = np.arange(-2 * STEEP_CROSSINGS, 2 * STEEP_CROSSINGS + 1)
    taps = np.sinc(cutoff * positions) * np.kaiser(len(positions), 9.0)
    return np.asarray(taps / taps.sum())
