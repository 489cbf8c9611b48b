"""Random sounds of the instrument, and batches of them as a source for a data set.

Sound *i* of a seed is always the same, whichever batch, worker or retry renders it. Nothing is read or written here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from synthray.data.examples import Examples
from synthray.data.rendering import features_of_labels
from synthray.errors import ConfigError, DataError
from synthray.synth.instrument import INSTRUMENT, INSTRUMENT_VERSION
from synthray.synth.loudness import loudness_dbfs
from synthray.synth.parameters import ParameterTable
from synthray.synth.presets import noise_seeds
from synthray.synth.priors import UNIFORM, Prior, random_presets

BATCH_SIZE = 32

_MAX_DRAWS = 100  # about 1 % of random presets are silent, so only a limit that is too high needs all draws


@dataclass(frozen=True)
class SoundGenerator:
    """An endless, reproducible sequence of random sounds."""

    seed: int
    """Number of the sequence, from 0 to 2**63 - 1."""
    reject_silent_dbfs: float | None = None
    """Presets below this loudness (``loudness_dbfs``) are drawn again. None keeps all."""
    prior: Prior = UNIFORM
    """Distribution of the presets."""

    def __post_init__(self) -> None:
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}. It must be from 0 to 2**63 - 1.")
        if self.reject_silent_dbfs is not None and not -math.inf < self.reject_silent_dbfs <= -20:
            raise ConfigError(
                f"reject_silent is {self.reject_silent_dbfs:g} dBFS. Give at most -20, or nearly all are rejected."
            )

    @property
    def provenance(self) -> dict[str, Any]:
        """The entry for the manifest's ``source``."""
        rejecting = {} if self.reject_silent_dbfs is None else {"reject_silent_dbfs": self.reject_silent_dbfs}
        prior = {} if self.prior == UNIFORM else {"prior": str(self.prior)}
        return {"kind": "synth", "instrument": INSTRUMENT_VERSION, "seed": self.seed, **prior, **rejecting}

    def labels(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Return the labels of ``count`` sounds before any is rejected: float32 ``(count, learned)``."""
        return random_presets(self.seed, first, count, prior=self.prior)

    def batch(self, first: int, count: int, dtype: str = "float32", analysis: str = "fft") -> Examples:
        """Return sounds ``first`` to ``first + count - 1``, rendered in this thread.

        Returns:
            features of ``dtype`` ``(count, frames, levels)``, labels float32 ``(count, learned)``.

        Raises:
            DataError: no draw of a preset is loud enough.
        """
        labels, seeds = self.labels(first, count), noise_seeds(self.seed, first, count)
        if analysis != "fft":
            if self.reject_silent_dbfs is not None:
                labels = self.batch(first, count).labels  # loudness comes from the magnitudes of ``fft``
            return Examples(features_of_labels(labels, seeds, dtype, analysis), labels, seeds)
        features = features_of_labels(labels, seeds)  # in float32: the dtype must not decide which sounds are silent
        if self.reject_silent_dbfs is None:
            return Examples(features.astype(dtype, copy=False), labels, seeds)
        silent = loudness_dbfs(features) < self.reject_silent_dbfs
        replaced = int(silent.sum())
        for redrawn in range(1, _MAX_DRAWS):
            if not silent.any():
                return Examples(features.astype(dtype, copy=False), labels, seeds, replaced)
            labels[silent] = random_presets(self.seed, first, count, redrawn, self.prior)[silent]
            features[silent] = features_of_labels(labels[silent], seeds[silent])
            silent = loudness_dbfs(features) < self.reject_silent_dbfs
        raise DataError(
            f"sound {first + int(np.argmax(silent))} of seed {self.seed} is below {self.reject_silent_dbfs:g} dBFS in "
            f"each of {_MAX_DRAWS} draws. Lower the limit."
        )


def next_batch(source_parts: list[dict[str, Any]], sounds: SoundGenerator) -> int:
    """Return the number of the first batch of ``sounds`` that a data set does not hold.

    Args:
        source_parts: as in the data set's manifest.
        sounds: the sounds to append.

    Raises:
        ConfigError: the data set has sounds of this seed with another ``reject_silent_dbfs`` or another prior.
    """
    same_seed = [part for part in source_parts if part["kind"] == "synth" and part["seed"] == sounds.seed]
    for part in same_seed:
        if part.get("reject_silent_dbfs") != sounds.reject_silent_dbfs:
            raise ConfigError(
                f"--append: the data set has sounds of seed {sounds.seed} with another --reject-silent "
                f"({part.get('reject_silent_dbfs')}). Give the same value, or another --seed."
            )
        if part.get("prior", str(UNIFORM)) != str(sounds.prior):
            raise ConfigError(
                f"--append: the data set has sounds of seed {sounds.seed} with another --prior "
                f"({part.get('prior', UNIFORM)}). Give the same value, or another --seed."
            )
    return max((part.get("first_batch", 0) + part["batches"] for part in same_seed), default=0)


@dataclass(frozen=True)
class SynthSource:
    """Batches of ``BATCH_SIZE`` sounds that are rendered when they are read."""

    sounds: SoundGenerator
    batches: tuple[int, ...]
    """Numbers of the batches: batch *n* begins with sound ``n * BATCH_SIZE``."""
    table: ParameterTable = field(default=INSTRUMENT)
    repeatable: ClassVar[bool] = True

    @property
    def provenance(self) -> dict[str, Any]:
        """The entry for the manifest's ``source``."""
        first = {"first_batch": self.batches[0]} if self.batches[0] else {}
        return self.sounds.provenance | first

    def name(self, number: int) -> str:
        """Return the name of a batch in messages."""
        return f"batch {number}"

    def stamp(self, number: int) -> str:  # noqa: ARG002 - the interface of sources
        """Return an empty text: a computed batch never changes."""
        return ""

    def large_shape(self, number: int) -> None:
        """Return None: no batch is large."""

    def read(self, number: int, rows: range | None = None) -> Examples:
        """Return one batch or some of its sounds, rendered."""
        rows = rows or range(BATCH_SIZE)
        return self.sounds.batch(number * BATCH_SIZE + rows.start, len(rows))
