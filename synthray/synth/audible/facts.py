"""Facts about presets that decide what can be heard: shares of the sources, and changes when a parameter moves.

The rules in ``rules.py`` use them, and ``spectrum_estimate.py`` estimates the spectra behind them. Changes are RMS
level differences in dB over the moments and bands that can be heard.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, reduce

import numpy as np
import numpy.typing as npt

from synthray.synth.audible.source_estimate import (
    MODULATION,
    NOISE,
    OSCILLATOR_1,
    OSCILLATOR_2,
    Floats,
    in_db,
    noise_powers,
    power,
    setting,
)
from synthray.synth.audible.spectrum_estimate import (
    cutoff_octaves,
    envelope,
    estimate_spectrum,
    squared_level_change_db,
)
from synthray.synth.instrument import INSTRUMENT

Bools = npt.NDArray[np.bool_]

RANGES = {parameter.name: parameter for parameter in INSTRUMENT.ranges}
CHOICES = {parameter.name: parameter for parameter in INSTRUMENT.choices}
MOVE = 0.25
"""Distance by which a range is moved, as a share of its width."""
CAUTION = np.float32(2.0)
"""Factor on each change towards targets. Many parameters move to targets at once, and their changes add up."""
SOURCES = {"oscillator_1": (OSCILLATOR_1, MODULATION), "oscillator_2": (OSCILLATOR_2,), "noise": (NOISE,)}
"""Parts of the sound that the level of each source controls."""


class Facts:
    """Facts about presets that the rules use, each an array (sounds,)."""

    def __init__(self, settings: Floats, targets: Mapping[str, float] | None = None) -> None:
        """Estimate the spectra of presets.

        Args:
            settings: float32 (sounds, parameters), in human units.
            targets: the setting that each parameter moves to, by name. None moves ranges by ``MOVE``, up and down.
        """
        self.settings = settings
        self._targets = targets
        self.spectrum = estimate_spectrum(settings)

    def of(self, name: str) -> Floats:
        """Return a parameter's settings."""
        return setting(self.settings, name)

    def is_class(self, name: str, value: str) -> Bools:
        """Return whether a choice has the class ``value``."""
        same: Bools = self.of(name) == CHOICES[name].values.index(value)
        return same

    @cached_property
    def oscillator_1_share(self) -> Floats:
        """Share of oscillator 1 in the heard sound, including the side bands of its modulation."""
        return self._share(OSCILLATOR_1) + self._share(MODULATION)

    @cached_property
    def oscillator_2_share(self) -> Floats:
        """Share of oscillator 2 in the heard sound, including the side bands of oscillator 1 that it causes."""
        return self._share(OSCILLATOR_2) + self._share(MODULATION)

    @cached_property
    def tonal_share(self) -> Floats:
        """Share of all sources except the noise in the heard sound."""
        return 1.0 - self._share(NOISE)

    @cached_property
    def level_at_release_db(self) -> Floats:
        """Level when the key is released, relative to the peak."""
        level = envelope(self.settings, "amplitude", self.of("note_hold")[:, None] / 1000.0)[:, 0]
        peak = np.maximum(self.spectrum.level.max(axis=1), level)
        return 2.0 * (in_db(level) - in_db(peak))

    def level_change_db(self, source: str) -> Floats:
        """Return the change when the level of a source moves."""
        name = f"{source}_level"
        share = self.spectrum.shares[list(SOURCES[source])].sum(0)
        return self._largest_in_bands(share, [power(values - self.of(name))[:, None] for values in self._moved(name)])

    @cached_property
    def noise_color_change_db(self) -> Floats:
        """Change when the colour of the noise moves."""
        level_db = np.zeros(len(self.settings), np.float32)
        now = noise_powers(level_db, self.of("noise_color"))
        ratios = [noise_powers(level_db, corner_hz) / now for corner_hz in self._moved("noise_color")]
        return self._largest_in_bands(self.spectrum.shares[NOISE], ratios)

    def amplitude_envelope_change_db(self, stage: str) -> Floats:
        """Return the change of the level when a stage of the amplitude envelope moves."""
        spectrum = self.spectrum
        levels = (
            envelope(self.settings, "amplitude", spectrum.times_s, **{stage: values})
            for values in self._moved(f"amplitude_envelope_{stage}")
        )
        squares = [squared_level_change_db(spectrum.level, level, spectrum.weights_s) for level in levels]
        return self._root_of_largest(squares)

    def filter_envelope_change_db(self, stage: str) -> Floats:
        """Return the change when a stage of the filter envelope moves."""
        times_s, amount = self.spectrum.times_s, self.of("filter_envelope_amount")
        shapes = (
            envelope(self.settings, "filter", times_s, **{stage: values})
            for values in self._moved(f"filter_envelope_{stage}")
        )
        return self._largest_of_cutoffs([cutoff_octaves(self.settings, amount, shape) for shape in shapes])

    @cached_property
    def filter_envelope_amount_change_db(self) -> Floats:
        """Change when the amount of the filter envelope moves."""
        shape = envelope(self.settings, "filter", self.spectrum.times_s)
        amounts = self._moved("filter_envelope_amount")
        return self._largest_of_cutoffs([cutoff_octaves(self.settings, amount, shape) for amount in amounts])

    @cached_property
    def filter_change_db(self) -> Floats:
        """Change when the cutoff shifts by one octave, extrapolated from the present slopes of the filter."""
        return self._root_of_largest([self.spectrum.squared_slope.sum(1)])

    @cached_property
    def filter_lfo_amount_change_db(self) -> Floats:
        """Change when the amount of the filter's LFO moves.

        The mean square of the LFO is about half of its squared peak.
        """
        now = self.of("filter_lfo_amount")
        squared_change = np.float32(0.5) * self.spectrum.squared_slope.sum(1)
        return self._root_of_largest(
            [(values - now) ** 2 * squared_change for values in self._moved("filter_lfo_amount")]
        )

    @cached_property
    def resonance_change_db(self) -> Floats:
        """Change when the resonance moves."""
        now = self.of("filter_resonance")
        squares = [
            np.log(values / now) ** 2 * self.spectrum.squared_resonance for values in self._moved("filter_resonance")
        ]
        return self._root_of_largest(squares)

    def _largest_in_bands(self, share: Floats, ratios: list[Floats]) -> Floats:
        """Return the largest change when a ``share`` (sounds, bands) of each band grows by one of ``ratios``."""
        changes_db = [in_db(1.0 + share * (ratio - 1.0)) for ratio in ratios]
        return self._root_of_largest([np.vecdot(change_db**2, self.spectrum.band_weights) for change_db in changes_db])

    def _largest_of_cutoffs(self, cutoffs: list[Floats]) -> Floats:
        """Return the largest change when the cutoff moves as in one of ``cutoffs`` (sounds, moments)."""
        shifts = [octaves - self.spectrum.cutoff_octaves for octaves in cutoffs]
        return self._root_of_largest([np.vecdot(shift**2, self.spectrum.squared_slope) for shift in shifts])

    def _share(self, source: int) -> Floats:
        share: Floats = np.vecdot(self.spectrum.shares[source], self.spectrum.band_weights)
        return share

    def _moved(self, name: str) -> list[Floats]:
        """Return the settings that a range moves to, or its present setting in a direction without room."""
        parameter, now = RANGES[name], self.of(name)
        if self._targets is not None:
            return [np.full_like(now, self._targets[name])]
        if parameter.curve == "log":
            factor = np.float32((parameter.maximum / parameter.minimum) ** MOVE)
            down, up = now / factor, now * factor
        else:
            step = np.float32(MOVE * (parameter.maximum - parameter.minimum))
            down, up = now - step, now + step
        return [np.where(down >= parameter.minimum, down, now), np.where(up <= parameter.maximum, up, now)]

    def _root_of_largest(self, squares: list[Floats]) -> Floats:
        """Return the square root of the largest of some squared changes, element by element."""
        root: Floats = np.sqrt(reduce(np.maximum, squares))
        return root if self._targets is None else CAUTION * root
