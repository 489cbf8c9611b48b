"""Making sounds: the notebook's layout, or straight to a data set.

Which sounds, ``sounds.py`` says; a killed run goes on where it stopped.
"""

from __future__ import annotations

import json
import pickle
from contextlib import suppress
from dataclasses import dataclass

from synthray.data.build.plan import BuildConfig
from synthray.data.examples import Examples
from synthray.data.manifest import FEATURES, MANIFEST, PRESETS
from synthray.data.open import open_dataset
from synthray.data.rendering import check_instrument
from synthray.data.sources.notebook import (
    KEYS,
    PARTS,
    encode_features,
    encode_parameters,
    features_path,
    keys_and_parts,
    parameters_path,
)
from synthray.data.sources.synthetic import BATCH_SIZE, SoundGenerator, SynthSource, next_batch
from synthray.errors import ConfigError, Conflict, NotFound
from synthray.storage import Store, open_store
from synthray.synth.instrument import INSTRUMENT

FORMATS = ("npy", "parquet")
RESERVATION = "generating.json"
"""Says, beside unfinished batches in the notebook's layout, which sounds are made there."""


@dataclass(frozen=True)
class GenerateConfig:
    """What is to be made.

    out: URI. batches: how many of 32 sounds. seed, reject_silent_dbfs: which sounds, see ``SoundGenerator``. format: the
    notebook's files, or ``"parquet"``, a data set; only that can be of ``dtype`` float16, ``content`` presets instead of
    sounds, or ``append`` to a published one.
    """

    out: str
    batches: int = 9
    seed: int = 0
    format: str = "npy"
    reject_silent_dbfs: float | None = None
    dtype: str = "float32"
    content: str = FEATURES
    append: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", open_store(self.out).uri)  # absolute: workers run in folders of their own
        if self.batches < 1:
            raise ConfigError(f"batches is {self.batches}; it must be at least 1")
        if self.format not in FORMATS:
            raise ConfigError(f"format is {self.format!r}; it can be npy or parquet")
        of_data_sets = {"dtype": self.dtype, "content": self.content, "append": self.append}
        asked = [name for name, value in of_data_sets.items() if value != getattr(type(self), name)]
        if self.format == "npy" and asked:
            raise ConfigError(f"--{asked[0]} needs --format parquet: the notebook's layout has nothing of the kind")
        _ = self.sounds, self.build

    @property
    def sounds(self) -> SoundGenerator:
        return SoundGenerator(self.seed, self.reject_silent_dbfs)

    @property
    def build(self) -> BuildConfig:
        """How a data set of them is made."""
        return BuildConfig(self.out, self.dtype, content=self.content, append=self.append)

    def source(self) -> SynthSource:
        """The batches of a data set: with ``append`` and the same seed, those that follow."""
        first = 0
        if self.append:
            base = open_dataset(self.append)
            if base.manifest.content == PRESETS:
                check_instrument(base.manifest, base.uri)
            first = next_batch(base.manifest.source, self.sounds)
        return SynthSource(self.sounds, tuple(range(first, first + self.batches)))


def reserve_output(config: GenerateConfig) -> None:
    """Take the place where the batches go; what an earlier run has made there of the same sounds is kept.

    Raises:
        Conflict: the place holds batches of another seed or instrument, or more of them than are asked for, or a
            published data set; or another job is making other sounds there.
    """
    store, ours = open_store(config.out), json.dumps(config.sounds.provenance).encode()
    _check_free(config, store)
    try:
        store.write(RESERVATION, ours, replace=False)
    except Conflict:
        with suppress(NotFound):  # that job has just ended: its batches are there
            if (theirs := store.read(RESERVATION)) != ours:
                raise Conflict(
                    f"{store.uri} is where other sounds are being made, or were: {theirs.decode(errors='replace')}; "
                    "give another --out, or remove it"
                ) from None
    _check_free(config, store)


def _check_free(config: GenerateConfig, store: Store) -> None:
    if store.exists(MANIFEST):
        raise Conflict(f"{store.uri} holds a published data set: give another --out")
    present = {entry.path for folder in ("parameters", "fft") for entry in store.list(folder)}
    wanted = {path(number) for number in range(config.batches) for path in (parameters_path, features_path)}
    if too_many := sorted(present - wanted):
        raise Conflict(
            f"{store.uri} holds {too_many[0]} already, beyond the {config.batches} batches asked for: "
            "give another --out, or remove it"
        )
    if parameters_path(0) in present and store.read(parameters_path(0)) != _parameters(config, 0)[0]:
        raise Conflict(f"{store.uri} holds other sounds already: give another --out, or remove it")
    for number in range(config.batches):
        if parameters_path(number) in present and features_path(number) not in present:
            store.delete(parameters_path(number))  # the features got lost: make the batch again


def finish(config: GenerateConfig) -> None:
    """``randomizer_parts.pkl`` and ``keys.pkl``, once all batches are there: only then are they found as finished."""
    store = open_store(config.out)
    keys, parts = keys_and_parts(INSTRUMENT)
    store.write(PARTS, pickle.dumps(parts, protocol=4))
    store.write(KEYS, pickle.dumps(keys, protocol=4))
    store.delete(RESERVATION)


def write_batch(config: GenerateConfig, number: int) -> bool:
    """One batch in the notebook's layout; False when an earlier run has written it.

    Raises:
        Conflict: other sounds stand in its place.
    """
    store = open_store(config.out)
    parameters, batch = _parameters(config, number)
    # The parameters are written after the features: where they stand, both do.
    if store.exists(parameters_path(number)):
        if store.read(parameters_path(number)) == parameters:
            return False
        raise Conflict(
            f"{store.uri}/{parameters_path(number)} holds other sounds already: give another --out, or remove it"
        )
    batch = batch or _rendered(config, number)
    store.write(features_path(number), encode_features(batch.features))
    store.write(parameters_path(number), parameters)
    return True


def _parameters(config: GenerateConfig, number: int) -> tuple[bytes, Examples | None]:
    """A batch's parameters file, and the batch itself where it had to be rendered to know which presets are silent."""
    batch = None if config.reject_silent_dbfs is None else _rendered(config, number)
    labels = batch.labels if batch else config.sounds.labels(number * BATCH_SIZE, BATCH_SIZE)
    return encode_parameters(labels, INSTRUMENT), batch


def _rendered(config: GenerateConfig, number: int) -> Examples:
    return config.sounds.batch(number * BATCH_SIZE, BATCH_SIZE)
