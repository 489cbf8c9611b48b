"""The table of distances, and all distances of pairs of sounds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from synthray.errors import SoundError
from synthray.match.distances.envelope import envelope_similarity, rms_envelope
from synthray.match.distances.spectral import (
    chunk_levels,
    cumulative_spectra,
    log_spectral_distance,
    mel_levels,
    multi_scale_distance,
    transport_distance,
)
from synthray.match.distances.warping import cepstra, warped_distance, warped_timbre_distance
from synthray.synth.dsp.lanes import Floats
from synthray.synth.instrument import N_SAMPLES


@dataclass(frozen=True)
class Distance:
    """A distance or similarity between two sounds, in two steps.

    A sound that is compared several times is described once.
    """

    name: str
    title: str
    unit: str
    describe: Callable[[Floats], Any]
    """Takes audio float32 (sounds, 22050) and returns its description for ``compare``."""
    compare: Callable[[Any, Any], npt.NDArray[np.float64]]
    """Takes the descriptions of originals and of answers and returns float64 (pairs,)."""
    higher_is_better: bool = False


DISTANCES = (
    Distance("mss", "MSS", "dB", mel_levels, multi_scale_distance),
    Distance("wmfcc", "wMFCC", "", cepstra, warped_distance),
    Distance("wmfcc_without_c0", "wMFCC without c0", "", cepstra, warped_timbre_distance),
    Distance("sot", "SOT", "", cumulative_spectra, transport_distance),
    Distance("rms", "RMS similarity", "", rms_envelope, envelope_similarity, higher_is_better=True),
    Distance("lsd", "log-spectral", "dB", chunk_levels, log_spectral_distance),
)
"""All distances that an evaluation reports. To add one, see docs/architecture.md."""

Description = dict[Callable[[Floats], Any], Any]
"""Results of each ``Distance.describe``."""


def describe(audio: npt.ArrayLike) -> Description:
    """Return the descriptions of sounds, float32 (sounds, 22050), that all distances need."""
    checked = _checked(audio)
    return {function: function(checked) for function in {distance.describe: None for distance in DISTANCES}}


def compare(originals: Description, answers: Description) -> npt.NDArray[np.float64]:
    """Return all distances of described sounds, float64 (pairs, distances), in the order of ``DISTANCES``."""
    return np.stack([d.compare(originals[d.describe], answers[d.describe]) for d in DISTANCES], axis=1)


def _checked(audio: npt.ArrayLike) -> Floats:
    checked = np.asarray(audio, np.float32)
    if checked.ndim != 2 or checked.shape[1] != N_SAMPLES:
        raise SoundError(f"audio has the shape {checked.shape}, not (sounds, {N_SAMPLES})")
    return checked
