"""Reading sound files (WAV, FLAC, OGG, MP3, …) at the instrument's rate and length, and writing WAV.

Features of sounds are in ``features.py``.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile
from scipy.signal import resample_poly

from synthray.errors import SoundError
from synthray.synth.instrument import DURATION_S, N_SAMPLES, SAMPLE_RATE_HZ

MAX_DURATION_S = 600.0
RATES_HZ = (1000, 384_000)
MAX_CHANNELS = 16
CUT_FROM_S = DURATION_S + 0.05  # cutting a file of this length may remove something audible
MARGIN_S = 0.1  # read in addition to the 2 s, because the resampling filter needs sound on both sides


def read_sound(source: str | Path | bytes | BinaryIO) -> npt.NDArray[np.float32]:
    """Return the first 2 s of a sound file as one channel at 11025 Hz, padded with silence.

    Args:
        source: a path, the bytes of a file, or an open file.

    Returns:
        float32 (22050,), the mean of all channels, not normalised.

    Raises:
        SoundError: the file is not a sound file, is empty or longer than 10 minutes, has an unusual sample rate, or
            contains NaN.
    """
    with _opened(source) as (file, name):
        frames = file.read(int((DURATION_S + MARGIN_S) * file.samplerate), dtype="float32", always_2d=True)
        rate_hz = file.samplerate
    if not len(frames):
        raise SoundError(f"{name} is empty: it has no samples")
    if not np.isfinite(frames).all():
        raise SoundError(f"{name} has samples that are not finite numbers")
    return _fit(_resample(frames.mean(axis=1, dtype=np.float64), rate_hz))


def duration_s(source: str | Path | bytes | BinaryIO) -> float:
    """Return how long a sound file lasts; raises SoundError as ``read_sound``."""
    with _opened(source) as (file, _):
        return float(file.frames / file.samplerate)


def write_wav(target: str | Path | BinaryIO, audio: npt.ArrayLike) -> None:
    """Write ``audio``, float (samples,), as 16-bit WAV at 11025 Hz, clipped to [-1, 1].

    Raises:
        SoundError: the audio has another shape or contains NaN, or the file cannot be written.
    """
    audio = np.asarray(audio)
    if audio.ndim != 1 or not np.isfinite(audio).all():
        raise SoundError(f"the audio has the shape {audio.shape} or contains NaN. Give one channel of finite numbers.")
    try:
        soundfile.write(target, np.clip(audio, -1.0, 1.0), SAMPLE_RATE_HZ, subtype="PCM_16", format="WAV")
    except (OSError, soundfile.SoundFileError) as error:
        raise SoundError(f"{target} cannot be written: {error}") from None


@contextmanager
def _opened(source: str | Path | bytes | BinaryIO) -> Iterator[tuple[soundfile.SoundFile, str]]:
    """Open a sound file; yield it and its name for messages. Translate errors to SoundError."""
    name = f"{source}" if isinstance(source, str | Path) else "the sound"
    try:
        with soundfile.SoundFile(io.BytesIO(source) if isinstance(source, bytes) else source) as file:
            _check_header(file, name)
            yield file, name
    except (OSError, soundfile.SoundFileError, TypeError) as error:
        reason = getattr(error, "error_string", "") or getattr(error, "strerror", "") or "its format is unknown"
        raise SoundError(f"{name} cannot be read as a sound file (WAV, FLAC, OGG, MP3): {reason}") from None


def _check_header(file: soundfile.SoundFile, name: str) -> None:
    low_hz, high_hz = RATES_HZ
    if not low_hz <= file.samplerate <= high_hz:
        raise SoundError(f"{name} has a sample rate of {file.samplerate} Hz, not from {low_hz} to {high_hz} Hz")
    if file.channels > MAX_CHANNELS:
        raise SoundError(f"{name} has {file.channels} channels, more than {MAX_CHANNELS}")
    if file.frames > MAX_DURATION_S * file.samplerate:
        seconds = file.frames / file.samplerate
        raise SoundError(f"{name} lasts {seconds:.0f} s, more than {MAX_DURATION_S:.0f} s. Cut out the sound to match.")


def _resample(samples: npt.NDArray[np.float64], rate_hz: int) -> npt.NDArray[np.float64]:
    """Convert from ``rate_hz`` to the instrument's rate with a polyphase filter."""
    # The exact ratio of an unusual rate would need a filter of millions of taps.
    ratio = (Fraction(SAMPLE_RATE_HZ) / rate_hz).limit_denominator(6000)
    if ratio == 1:
        return samples
    resampled: npt.NDArray[np.float64] = resample_poly(samples, ratio.numerator, ratio.denominator)
    return resampled


def _fit(samples: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    sound = np.zeros(N_SAMPLES, np.float32)
    sound[: len(samples)] = samples[:N_SAMPLES]
    return sound
