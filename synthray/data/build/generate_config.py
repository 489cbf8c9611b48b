"""Configuration of ``synthray generate``, for both output formats.

The npy format is written in ``notebook_writer.py``, the parquet format by the same steps as ``synthray convert``.
"""

from __future__ import annotations

from dataclasses import dataclass

from synthray.data.build.plan import BuildConfig
from synthray.data.manifest import FEATURES, PRESETS
from synthray.data.open import open_dataset
from synthray.data.rendering import check_instrument
from synthray.data.sources.synthetic import SoundGenerator, SynthSource, next_batch
from synthray.errors import ConfigError
from synthray.storage import open_store
from synthray.synth.priors import UNIFORM, Prior

FORMATS = ("npy", "parquet")


@dataclass(frozen=True)
class GenerateConfig:
    """Sounds to generate, and their format.

    ``dtype``, ``content`` and ``append`` apply to the parquet format only.
    """

    out: str
    """URI of the output; made absolute, because workers run in other directories."""
    batches: int = 9
    """Number of batches of 32 sounds."""
    seed: int = 0
    """Seed of the sounds, from 0 to 2**63 - 1."""
    format: str = "npy"
    """``npy`` for the NumPy/pickle batch layout, ``parquet`` for a data set."""
    reject_silent_dbfs: float | None = None
    """Resample presets quieter than this; None keeps all."""
    prior: str = str(UNIFORM)
    """Distribution of the presets, as ``Prior.parse`` reads it."""
    dtype: str = "float32"
    """Type of the stored features."""
    content: str = FEATURES
    """``features``; or ``presets``, from which readers render the features."""
    append: str = ""
    """URI of a published data set whose shards the new one references."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", open_store(self.out).uri)
        if self.batches < 1:
            raise ConfigError(f"batches is {self.batches}. It must be at least 1.")
        if self.format not in FORMATS:
            raise ConfigError(f"format: unknown value ({self.format!r}). Use {' or '.join(FORMATS)}.")
        for name in ("dtype", "content", "append"):
            if self.format == "npy" and getattr(self, name) != getattr(type(self), name):
                raise ConfigError(f"--{name} needs --format parquet; the npy format has no {name}.")
        _ = self.sounds, self.build  # both validate their fields

    @property
    def sounds(self) -> SoundGenerator:
        """Generator of the sounds."""
        return SoundGenerator(self.seed, self.reject_silent_dbfs, Prior.parse(self.prior))

    @property
    def build(self) -> BuildConfig:
        """Configuration of the data set, for the parquet format."""
        return BuildConfig(self.out, self.dtype, content=self.content, append=self.append)

    def source(self) -> SynthSource:
        """Return the batches of the data set.

        With ``append``, they continue after the batches of this seed in that data set, the base.

        Raises:
            ConfigError: the base has sounds of this seed with another ``reject_silent_dbfs`` or another prior.
            DataError: the base has presets of another instrument.
            NotFound: there is no data set at ``append``.
        """
        first = 0
        if self.append:
            base = open_dataset(self.append)
            if base.manifest.content == PRESETS:
                check_instrument(base.manifest, base.uri)
            first = next_batch(base.manifest.source_parts, self.sounds)
        return SynthSource(self.sounds, tuple(range(first, first + self.batches)))
