"""SoundGenerator of the instrument: example *i* of a seed, whatever batch, worker or retry makes it."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from synthray.data.examples import Examples
from synthray.data.rendering import render
from synthray.errors import ConfigError, DataError
from synthray.synth.instrument import INSTRUMENT, INSTRUMENT_VERSION
from synthray.synth.loudness import loudness_dbfs
from synthray.synth.parameters import ParameterTable
from synthray.synth.presets import noise_seeds, random_labels

BATCH_SIZE = 32

# Of random presets about one in a hundred is silent: so many draws in a row never are, unless the limit is too high.
_MOST_DRAWS = 100


@dataclass(frozen=True)
class SoundGenerator:
    """An endless row of random sounds.

    seed: which row. reject_silent_dbfs: a preset whose sound is nowhere as loud as this (``loudness_dbfs``) is drawn
    again until one is; None keeps all.
    """

    seed: int
    reject_silent_dbfs: float | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be from 0 to 2**63 - 1")
        if self.reject_silent_dbfs is not None and not -math.inf < self.reject_silent_dbfs <= -20:
            raise ConfigError(
                f"reject_silent is {self.reject_silent_dbfs:g} dBFS; at most -20, or nearly everything is rejected"
            )

    @property
    def provenance(self) -> dict[str, Any]:
        """For the manifest."""
        rejecting = {} if self.reject_silent_dbfs is None else {"reject_silent_dbfs": self.reject_silent_dbfs}
        return {"kind": "synth", "instrument": INSTRUMENT_VERSION, "seed": self.seed, **rejecting}

    def labels(self, first: int, count: int) -> np.ndarray:
        """Labels of sounds ``first`` to ``first + count - 1`` before any is rejected: float32 ``(count, learned)``."""
        return random_labels(INSTRUMENT, self.seed, first, count)

    def batch(self, first: int, count: int, dtype: str = "float32") -> Examples:
        """SoundGenerator ``first`` to ``first + count - 1``, rendered in this thread.

        Returns:
            features ``(count, 20, 551)`` of ``dtype``, labels float32.

        Raises:
            DataError: no draw of a preset was loud enough.
        """
        labels, seeds = self.labels(first, count), noise_seeds(self.seed, first, count)
        features = render(labels, seeds)  # in float32, so that what is silent does not depend on the dtype
        if self.reject_silent_dbfs is None:
            return Examples(features.astype(dtype, copy=False), labels, seeds)
        silent = first_silent = self._silent(features)
        for redrawn in range(1, _MOST_DRAWS):
            if not silent.any():
                replaced = int(first_silent.sum())
                return Examples(features.astype(dtype, copy=False), labels, seeds, replaced)
            labels[silent] = random_labels(INSTRUMENT, self.seed, first, count, redrawn)[silent]
            features[silent] = render(labels[silent], seeds[silent])
            silent = self._silent(features)
        raise DataError(
            f"sound {first + int(np.argmax(silent))} of seed {self.seed} is below {self.reject_silent_dbfs:g} dBFS in "
            f"each of {_MOST_DRAWS} draws; lower the limit"
        )

    def _silent(self, features: np.ndarray) -> np.ndarray:
        return loudness_dbfs(features) < self.reject_silent_dbfs


def next_batch(source: dict[str, Any], sounds: SoundGenerator) -> int:
    """The first batch of a row of sounds that a data set of this source does not hold."""
    parts = source.get("parts", [source])
    ours = [part for part in parts if part["kind"] == "synth" and part["seed"] == sounds.seed]
    for part in ours:
        if part.get("reject_silent_dbfs") != sounds.reject_silent_dbfs:
            raise ConfigError(
                f"the data set holds sounds of seed {sounds.seed} with another --reject-silent; give the same, or "
                "another --seed"
            )
    return max((part.get("first_batch", 0) + part["batches"] for part in ours), default=0)


@dataclass(frozen=True)
class SynthSource:
    """Batches that the instrument makes when they are read."""

    sounds: SoundGenerator
    batches: tuple[int, ...]
    table: ParameterTable = field(default=INSTRUMENT)
    repeatable: ClassVar[bool] = True

    @property
    def provenance(self) -> dict[str, Any]:
        first = {"first_batch": self.batches[0]} if self.batches[0] else {}
        return self.sounds.provenance | first

    def stamp(self, number: int) -> str:  # noqa: ARG002 - what is computed never changes
        return ""

    def read(self, number: int) -> Examples:
        """One batch, rendered."""
        return self.sounds.batch(number * BATCH_SIZE, BATCH_SIZE)
