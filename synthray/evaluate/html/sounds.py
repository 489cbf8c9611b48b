"""Sounds of a report: equal loudness, WAV as data URI, and outlines of waveforms.

Playing them is in ``report.js``.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from synthray.synth.files.sound_file import encode_wav
from synthray.synth.instrument import SAMPLE_RATE_HZ

Doubles = npt.NDArray[np.float64]

TARGET_LUFS = -18.0
PEAK_LIMIT = 0.98  # of full scale
SILENT_PEAK = 2.0**-16  # half a step of 16 bits
BLOCK_S, HOP_S = 0.4, 0.1
RELATIVE_GATE_DB, ABSOLUTE_GATE_LUFS = -10.0, -70.0

# The two filters of BS.1770's K-weighting at 48 kHz, (b, a): a shelf for the head, a high-pass.
K_WEIGHTING_RATE_HZ = 48000.0
K_WEIGHTING = (
    ((1.53512485958697, -2.69169618940638, 1.19839281085285), (1.0, -1.69065929318241, 0.73248077421585)),
    ((1.0, -2.0, 1.0), (1.0, -1.99004745483398, 0.99007225036621)),
)


@dataclass(frozen=True)
class LevelledSound:
    """A sound at the loudness of its example."""

    audio: npt.NDArray[np.float32]
    """``(samples,)``, with the gain applied."""
    gain_db: float
    is_silent: bool
    """True if the sound is silent; its gain is then 0."""


def equal_loudness(sounds: Sequence[npt.NDArray[np.float32]]) -> tuple[float, list[LevelledSound]]:
    """Return the common loudness in LUFS, and each sound at that loudness.

    The common loudness is ``TARGET_LUFS``, or lower if a sound with high peaks would clip.
    """
    measured = [loudness_lufs(audio) for audio in sounds]
    heard = [(lufs, float(np.abs(audio).max())) for lufs, audio in zip(measured, sounds, strict=True) if lufs > -np.inf]
    target = min([TARGET_LUFS, *(lufs + 20 * np.log10(PEAK_LIMIT / peak) for lufs, peak in heard)])
    gains_db = [target - lufs if lufs > -np.inf else 0.0 for lufs in measured]
    return target, [
        LevelledSound(np.asarray(audio * 10 ** (gain_db / 20), np.float32), gain_db, lufs == -np.inf)
        for audio, gain_db, lufs in zip(sounds, gains_db, measured, strict=True)
    ]


def loudness_lufs(audio: npt.NDArray[np.float32]) -> float:
    """Return the integrated loudness of a sound ``(samples,)`` in LUFS, -inf if it is silent.

    As in ITU-R BS.1770-4, annex 1: K-weighting, blocks of 400 ms, an absolute and a relative gate. The absolute gate
    counts from the sound's peak, because the level of a match carries no information.
    """
    peak = float(np.abs(audio).max())
    if peak < SILENT_PEAK:
        return -np.inf
    weighted = k_weighted(audio / peak)
    block, hop = round(BLOCK_S * SAMPLE_RATE_HZ), round(HOP_S * SAMPLE_RATE_HZ)
    powers = np.lib.stride_tricks.sliding_window_view(weighted**2, block)[::hop].mean(axis=1)
    kept = powers[_lufs(powers) > ABSOLUTE_GATE_LUFS]
    if not len(kept):
        return -np.inf
    kept = kept[_lufs(kept) > _lufs(kept.mean()) + RELATIVE_GATE_DB]
    return float(_lufs(kept.mean()) + 20 * np.log10(peak))


def k_weighted(audio: npt.NDArray[np.floating]) -> Doubles:
    """Return a sound after K-weighting, which models the ear's sensitivity, float64 ``(samples,)``.

    BS.1770 gives the filters for 48 kHz. Here their frequency response is applied, which fits every rate.
    """
    padded = 2 * len(audio)  # so that the end does not wrap to the beginning
    frequency_hz = np.fft.rfftfreq(padded, 1 / SAMPLE_RATE_HZ)
    delay = np.exp(-2j * np.pi * frequency_hz / K_WEIGHTING_RATE_HZ)
    spectrum = np.fft.rfft(audio, padded)
    for b, a in K_WEIGHTING:
        spectrum *= (b[0] + b[1] * delay + b[2] * delay**2) / (a[0] + a[1] * delay + a[2] * delay**2)
    return np.asarray(np.fft.irfft(spectrum, padded)[: len(audio)])


def wav_uri(audio: npt.NDArray[np.float32]) -> str:
    """Return a sound as the data URI of a 16-bit WAV file."""
    return "data:audio/wav;base64," + base64.b64encode(encode_wav(audio)).decode()


def outline(audio: npt.NDArray[np.float32], columns: int, height: int, peak: float) -> str:
    """Return the SVG path of a waveform, ``columns`` wide and ``height`` high.

    It surrounds the least and the greatest sample of each column.

    Args:
        audio: ``(samples,)``.
        columns: width of the drawing.
        height: height of the drawing, between ``-peak`` and ``peak``.
        peak: the sample that touches the upper edge.
    """
    starts = np.arange(columns) * len(audio) // columns
    scale = height / 2 / (peak or 1.0)
    upper = np.rint(height / 2 - np.maximum.reduceat(audio, starts) * scale).astype(int)
    lower = np.rint(height / 2 - np.minimum.reduceat(audio, starts) * scale).astype(int)
    there = [f"{x} {y}" for x, y in enumerate(upper)]
    back = [f"{x} {y}" for x, y in reversed([*enumerate(lower)])]
    return f"M{'L'.join(there + back)}Z"


def _lufs(power: npt.ArrayLike) -> Doubles:
    with np.errstate(divide="ignore"):  # digital silence
        return np.asarray(-0.691 + 10 * np.log10(power))
