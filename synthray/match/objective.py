"""The distance between presets and one target sound, which a search minimises.

It approximates the multi-scale spectral distance (MSS) in a fraction of the time. The lengths of its windows are powers
of two, and there are fewer windows. Each sound is compared in decibels of its own maximum. A small weight of the
difference in loudness breaks ties between presets that differ in level only. The search itself is in ``search.py``.
"""

from __future__ import annotations

import queue
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from synthray.match.distances.spectral import SCALES
from synthray.match.spectrum import Resolution, Spectrograph
from synthray.synth.dsp.lanes import LANES, Floats, compiled, f32, use_widest_registers
from synthray.synth.instrument import INSTRUMENT, N_SAMPLES
from synthray.synth.voice import check_settings, in_threads, render_interleaved_into

RESOLUTIONS = (
    Resolution(window=128, size=128, hop=110, bands=32),
    Resolution(window=256, size=256, hop=220, bands=64),
    Resolution(window=1024, size=1024, hop=1102, bands=128),
)
EXACT = tuple(Resolution(window, 1 << window.bit_length(), hop, bands) for window, hop, bands in SCALES)
"""Windows, hops and bands of the MSS itself, padded to powers of two for the FFT. It takes six times as long."""
LOUDNESS_WEIGHT = 0.03
"""Weight of 1 dB of difference in loudness."""
LARGEST_LOUDNESS_DB = 30.0
"""A larger difference in loudness counts as this."""


class Objective:
    """Distances of presets from a target; ``evaluations`` counts them.

    Args:
        target: float32 ``(22050,)``, 2 s at 11025 Hz.
        threads: threads that render. The distances are the same for any number of them.
        resolutions: of the spectra that are compared.
        loudness_weight: of 1 dB of difference in loudness.
    """

    def __init__(
        self,
        target: Floats,
        threads: int = 1,
        resolutions: tuple[Resolution, ...] = RESOLUTIONS,
        loudness_weight: float = LOUDNESS_WEIGHT,
    ) -> None:
        self._threads, self._loudness_weight = threads, f32(loudness_weight)
        self._spectrographs: queue.SimpleQueue[Spectrograph] = queue.SimpleQueue()
        for _ in range(threads):
            self._spectrographs.put(Spectrograph(resolutions))
        with self._borrowed() as spectrograph:
            spectrograph.samples[:] = np.reshape(target, (N_SAMPLES, 1))
            self._target = spectrograph.levels()[:, 0].copy()
            self._loudness_db = _loudness_db(spectrograph.samples)[0]
        counts = [resolution.frames * resolution.bands for resolution in resolutions]
        self._weights = np.asarray(np.repeat(1 / (np.array(counts) * len(counts)), counts), np.float32)
        self.evaluations = 0

    def __call__(self, labels: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Return the distances of presets in dB, float64 ``(presets,)``, for labels float32 ``(presets, learned)``."""
        settings = check_settings(INSTRUMENT.labels_to_settings(labels))
        distances = np.empty(len(settings))

        def measure(first: int) -> None:
            block = settings[first : first + LANES]
            with self._borrowed() as spectrograph:
                levels = self._render(spectrograph, block)
                distances[first : first + len(block)] = self._distances(spectrograph, levels)[: len(block)]

        in_threads(measure, range(0, len(settings), LANES), self._threads)
        self.evaluations += len(settings)
        return distances

    @contextmanager
    def _borrowed(self) -> Iterator[Spectrograph]:
        """Lend a spectrograph to a thread."""
        spectrograph = self._spectrographs.get()
        try:
            yield spectrograph
        finally:
            self._spectrographs.put(spectrograph)

    def _render(self, spectrograph: Spectrograph, settings: Floats) -> Floats:
        """Return levels ``(numbers, 32)`` of at most 32 presets; copies of the last one fill the other lanes."""
        settings = np.concatenate([settings, np.repeat(settings[-1:], LANES - len(settings), axis=0)])
        render_interleaved_into(spectrograph.samples, settings, np.zeros(LANES, np.uint64))
        return spectrograph.levels()

    def _distances(self, spectrograph: Spectrograph, levels: Floats) -> Floats:
        difference_db = np.abs(_loudness_db(spectrograph.samples) - self._loudness_db)
        distances = self._loudness_weight * np.minimum(difference_db, f32(LARGEST_LOUDNESS_DB))
        _add_differences(levels, self._target, self._weights, distances)
        return np.asarray(distances)


def _loudness_db(samples: Floats) -> Floats:
    """Return the RMS level of sounds ``(samples, lanes)`` in dB of full scale, at least -120, float32 ``(lanes,)``."""
    energy = np.zeros(LANES, np.float32)
    _add_squares(samples, energy)
    return np.asarray(10 * np.log10(energy / f32(N_SAMPLES) + f32(1e-12)), np.float32)


@compiled
def _add_squares(samples: Floats, energy: Floats) -> None:
    """Add the squares of ``samples`` (samples, lanes) to ``energy`` (lanes,)."""
    use_widest_registers()
    for sample in range(len(samples)):
        for lane in range(LANES):
            energy[lane] += samples[sample, lane] * samples[sample, lane]


@compiled
def _add_differences(levels: Floats, target: Floats, weights: Floats, distances: Floats) -> None:
    """Add the weighted absolute differences of ``levels`` (numbers, lanes) to ``distances`` (lanes,)."""
    use_widest_registers()
    for number in range(len(target)):
        aim, weight = target[number], weights[number]
        for lane in range(LANES):
            distances[lane] += weight * abs(levels[number, lane] - aim)
