"""Reading sound files (WAV, FLAC, OGG, MP3, AIFF, …) at the instrument's rate and length, and writing WAV.

Decoding is in ``decoding.py``, the search for the beginning of the sound in ``synth/onset.py``, its features in
``synth/features.py``.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
import soundfile

from synthray.errors import SoundError
from synthray.synth.files.decoding import Doubles, SoundDecoder, decode_part, resample
from synthray.synth.instrument import DURATION_S, N_SAMPLES, SAMPLE_RATE_HZ
from synthray.synth.onset import HOP, MAX_SILENCE_S, Onset, find_onset, measure_levels

PRE_ROLL = 2
"""Samples that are kept in front of the onset, because half of the random presets have it found this late."""
KEPT = 55
"""A sound begins with the file, or at the end of a digital silence, if the onset follows within 5 ms (55 samples)."""
SILENT_RUN = 20
"""Equal samples that make a digital silence. Resampled files have no exact silence, because the filter rings."""
OFFSET_FROM = 0.01
"""A mean above this share of the RMS level is an offset. A smaller mean is normal: 2 s may end within a period."""
ABOVE_NOISE_PEAK = 1.25
"""An onset exceeds the largest of 110 samples of noise by this factor. The next 330 samples of noise rarely do."""
MAX_SILENT_SAMPLES = 600 * 2 * 96_000
"""Samples of all channels within which the first sound must come: some seconds of work."""
SHORTEST_S = HOP / SAMPLE_RATE_HZ
"""Length of the shortest sound whose level can be measured: 20 ms."""
CUT_FROM_S = 0.05
"""Cutting off this much may remove something audible."""


@dataclass(frozen=True)
class Sound:
    """The 2 s of a sound file that are matched."""

    audio: npt.NDArray[np.float32]
    """float32 (22050,) at 11025 Hz, from the onset on, padded with silence. Not normalised, without offset."""
    skipped_s: float
    """Time in front of ``audio``, in seconds."""
    length_s: float | None
    """Length of the file in seconds; None if the file was not decoded to its end."""

    @property
    def used_s(self) -> float:
        """Return how much of ``audio`` comes from the file, in seconds."""
        return DURATION_S if self.length_s is None else min(DURATION_S, self.length_s - self.skipped_s)

    @property
    def is_cut(self) -> bool:
        """Return whether the file continues after ``audio`` for long enough to be heard."""
        return self.length_s is None or self.length_s - self.skipped_s - DURATION_S >= CUT_FROM_S

    def to_json(self) -> dict[str, float | None]:
        """Return ``skipped_s``, ``used_s`` and ``length_s``, rounded to milliseconds."""
        length_s = None if self.length_s is None else round(self.length_s, 3)
        return {"skipped_s": round(self.skipped_s, 3), "used_s": round(self.used_s, 3), "length_s": length_s}


def read_sound(source: bytes | str | Path) -> Sound:
    """Return the first 2 s of the sound in a file, as one channel at 11025 Hz.

    The lengths in the file's header are not trusted, and the file is decoded in blocks. Silence and noise in front of
    the sound are skipped. The mean of several channels is used, or the loudest channel if the mean has much less
    energy.

    Args:
        source: the bytes of a file, or its path.

    Raises:
        SoundError: the file cannot be read, is empty or silent, or has samples that are not finite.
    """
    raw, name = (source, "the sound") if isinstance(source, bytes) else (_read(source), f"{source}")
    decoder = SoundDecoder(raw, name)
    max_silence_s = min(MAX_SILENCE_S, MAX_SILENT_SAMPLES / (decoder.rate_hz * decoder.channels))
    levels = measure_levels(resample(decoder.blocks(), decoder.rate_hz, decoder.channels), max_silence_s)
    length_s = decoder.frames_read / decoder.rate_hz if decoder.is_at_end else None
    if not decoder.frames_read:
        raise SoundError(f"{name} has no samples: nothing follows its header")
    onset = find_onset(levels)
    if onset is None and length_s is not None and length_s < SHORTEST_S:
        raise SoundError(f"{name} is too short: it lasts {1000 * length_s:.1f} ms")
    if onset is None:
        silence = f"throughout, for {length_s:.2f} s" if length_s is not None else f"for more than {max_silence_s:g} s"
        raise SoundError(f"{name} is silent {silence}: there is nothing to match")
    samples = decode_part(SoundDecoder(raw, name), onset.channel, onset.first, onset.last + N_SAMPLES)
    begin = _beginning(samples, onset)
    used = samples[begin : begin + N_SAMPLES]
    audio = np.zeros(N_SAMPLES, np.float32)
    audio[: len(used)] = _without_offset(used)
    return Sound(audio, (onset.first + begin) / SAMPLE_RATE_HZ, length_s)


def _beginning(samples: Doubles, onset: Onset) -> int:
    """Return the sample from which on a sound is used.

    The sound begins with the file, or with the last sample of a digital silence, if the onset is near.
    """
    exact = _exact_onset(samples, onset)
    begin = max(0, exact - PRE_ROLL)
    if onset.first + begin <= KEPT:
        return 0
    silent = int((samples[: exact + 1] != samples[0]).argmax())
    return silent - 1 if silent >= SILENT_RUN and begin - silent <= KEPT else begin


def _exact_onset(samples: Doubles, onset: Onset) -> int:
    """Return the first sample whose difference from the quiet part before it exceeds the onset's threshold.

    The difference must also exceed the peaks of the noise in the first half of the quiet part.
    """
    in_front = onset.sure_from - onset.first
    difference = np.abs(samples[: onset.last - onset.first] - (samples[:in_front].mean() if in_front else samples[0]))
    noise = difference[: in_front // 2]
    is_loud = difference > max(onset.threshold, ABOVE_NOISE_PEAK * noise.max(initial=0.0))
    return int(is_loud.argmax()) if is_loud.any() else in_front


def _without_offset(samples: Doubles) -> Doubles:
    mean = samples.mean()
    return samples - mean if abs(mean) > OFFSET_FROM * samples.std() else samples


def _read(path: str | Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise SoundError(f"{path} cannot be read: {error.strerror}") from None


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


def encode_wav(audio: npt.ArrayLike) -> bytes:
    """Return the bytes of the WAV file that :func:`write_wav` writes; raise its errors."""
    file = io.BytesIO()
    write_wav(file, audio)
    return file.getvalue()
