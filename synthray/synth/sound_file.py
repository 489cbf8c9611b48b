"""Sound files: any that libsndfile reads (WAV, FLAC, OGG, MP3, …) into the instrument's 2 s, and WAV out of it."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import soundfile
from scipy.signal import resample_poly

from synthray.errors import SoundError
from synthray.synth.instrument import DURATION_S, N_SAMPLES, SAMPLE_RATE_HZ

LONGEST_S = 600.0
RATES_HZ = (1000, 384_000)
MOST_CHANNELS = 16
CUT_FROM_S = DURATION_S + 0.05  # of a file that lasts this long, something is lost that might be heard
MARGIN_S = 0.1  # read beyond the 2 s, so that the resampling filter finds sound on both sides


def read_sound(source: str | Path | bytes | BinaryIO) -> np.ndarray:
    """The first 2 s of a sound file: one channel (the mean of all) at 11025 Hz, padded with silence where shorter.

    Args:
        source: a path, the bytes of a file, or an open file.

    Returns:
        float32 (22050,); samples as the file has them, no normalisation.

    Raises:
        SoundError: not a sound file, empty, longer than 10 minutes, of an absurd sample rate, or with NaN in it.
    """
    with _opened(source) as (file, name):
        frames = file.read(int((DURATION_S + MARGIN_S) * file.samplerate), dtype="float32", always_2d=True)
        rate_hz = file.samplerate
    if not len(frames):
        raise SoundError(f"{name} is empty: it holds no samples")
    if not np.isfinite(frames).all():
        raise SoundError(f"{name} holds samples that are not finite numbers")
    return _fit(_resample(frames.mean(axis=1, dtype=np.float64), rate_hz))


def duration_s(source: str | Path | bytes | BinaryIO) -> float:
    """How many seconds a sound file lasts, of which ``read_sound`` takes the first 2; raises SoundError."""
    with _opened(source) as (file, _):
        return file.frames / file.samplerate


def write_wav(target: str | Path | BinaryIO, audio: np.ndarray) -> None:
    """Write ``audio``, float (samples,) in [-1, 1], as 16-bit WAV at 11025 Hz; what is louder is clipped.

    Raises:
        SoundError: the audio has another shape or holds NaN, or the file cannot be written.
    """
    audio = np.asarray(audio)
    if audio.ndim != 1 or not np.isfinite(audio).all():
        raise SoundError(f"audio to write is one channel of finite numbers, not of the shape {audio.shape}")
    try:
        soundfile.write(target, np.clip(audio, -1.0, 1.0), SAMPLE_RATE_HZ, subtype="PCM_16", format="WAV")
    except (OSError, soundfile.SoundFileError) as error:
        raise SoundError(f"{target} cannot be written: {error}") from None


@contextmanager
def _opened(source: str | Path | bytes | BinaryIO) -> Iterator[tuple[soundfile.SoundFile, str]]:
    """A sound file, open for reading, and its name for messages; what fails within is told as a SoundError."""
    name = f"{source}" if isinstance(source, str | Path) else "the sound"
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            _check_header(file, name)
            yield file, name
    except (OSError, soundfile.SoundFileError, TypeError) as error:
        reason = getattr(error, "error_string", "") or getattr(error, "strerror", "") or "it is of no known format"
        raise SoundError(f"{name} cannot be read as a sound file (WAV, FLAC, OGG, MP3): {reason}") from None


def _check_header(file: soundfile.SoundFile, name: str) -> None:
    low_hz, high_hz = RATES_HZ
    if not low_hz <= file.samplerate <= high_hz:
        raise SoundError(f"{name} has a sample rate of {file.samplerate} Hz, not from {low_hz} to {high_hz} Hz")
    if file.channels > MOST_CHANNELS:
        raise SoundError(f"{name} has {file.channels} channels, more than {MOST_CHANNELS}")
    if file.frames > LONGEST_S * file.samplerate:
        seconds = file.frames / file.samplerate
        raise SoundError(
            f"{name} lasts {seconds:.0f} s, longer than {LONGEST_S:.0f} s: cut out the sound to be matched"
        )


def _resample(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    """From ``rate_hz`` to the instrument's rate, by a polyphase filter; samples float64 (samples,)."""
    # An odd rate has an odd ratio, which would make a filter of millions of taps: nearly the ratio is near enough.
    ratio = (Fraction(SAMPLE_RATE_HZ) / rate_hz).limit_denominator(6000)
    return samples if ratio == 1 else resample_poly(samples, ratio.numerator, ratio.denominator)


def _fit(samples: np.ndarray) -> np.ndarray:
    sound = np.zeros(N_SAMPLES, np.float32)
    sound[: len(samples)] = samples[:N_SAMPLES]
    return sound
