"""Making sounds: the notebook's layout, or straight to a data set.

Example *i* of seed *s* is the same sound whatever the batch, worker or retry that makes it.
"""

from __future__ import annotations

import hashlib
import pickle
from dataclasses import dataclass, field
from typing import Any

from synthray.data.batch import Batch
from synthray.data.notebook import (
    KEYS,
    PARTS,
    encode_features,
    encode_parameters,
    features_path,
    keys_and_parts,
    parameters_path,
)
from synthray.data.storage import Store
from synthray.errors import ConfigError, Conflict
from synthray.synth.features import render_features
from synthray.synth.instrument import INSTRUMENT
from synthray.synth.parameters import ParameterTable
from synthray.synth.presets import noise_seeds, random_labels

BATCH_SIZE = 32


@dataclass(frozen=True)
class GenerateConfig:
    """What is to be made: ``batches`` of 32 sounds from ``seed``, in ``layout``, at the URI ``out``."""

    out: str
    batches: int = 9
    seed: int = 0
    layout: str = "notebook"

    def __post_init__(self) -> None:
        object.__setattr__(self, "out", Store.at(self.out).uri)  # absolute: workers run in folders of their own
        if self.batches < 1:
            raise ConfigError(f"batches is {self.batches}; it must be at least 1")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be from 0 to 2**63 - 1")
        if self.layout not in ("notebook", "parquet"):
            raise ConfigError(f"format is {self.layout!r}; it can be notebook or parquet")


@dataclass(frozen=True)
class SynthSource:
    """Batches that the instrument makes when they are read."""

    seed: int
    batches: tuple[int, ...]
    table: ParameterTable = field(default=INSTRUMENT)

    @property
    def provenance(self) -> dict[str, Any]:
        return {"kind": "synth", "seed": self.seed}

    def stamp(self, number: int) -> str:  # noqa: ARG002 - what is computed never changes
        return ""

    def read(self, number: int) -> tuple[Batch, str]:
        """One batch and a digest of it."""
        labels = self.labels(number)
        settings = self.table.labels_to_settings(labels)
        first = number * BATCH_SIZE
        # one thread: the tasks of a cluster share its cores already
        features = render_features(settings, noise_seeds(self.seed, first, BATCH_SIZE), threads=1)
        batch = Batch(features, labels)
        return batch, hashlib.sha256(labels.tobytes() + batch.features.tobytes()).hexdigest()

    def labels(self, number: int) -> Any:
        """Labels of one batch, float32 ``(32, learned)``."""
        return random_labels(self.table, self.seed, number * BATCH_SIZE, BATCH_SIZE)


def check_free(config: GenerateConfig) -> None:
    """See that nothing else stands where the batches go.

    Raises:
        Conflict: the place holds batches of another seed or instrument, or more of them than are asked for.
    """
    store = Store.at(config.out)
    source = SynthSource(config.seed, (0,))
    present = [entry.path for entry in store.list("parameters")]
    wanted = {parameters_path(number) for number in range(config.batches)}
    too_many = [path for path in present if path not in wanted]
    if too_many:
        raise Conflict(
            f"{store.uri} holds {too_many[0]} already, beyond the {config.batches} batches asked for: "
            "give another --out, or remove it"
        )
    ours = encode_parameters(source.labels(0), source.table)
    if parameters_path(0) in present and store.read(parameters_path(0)) != ours:
        raise Conflict(f"{store.uri} holds other sounds already: give another --out, or remove it")


def write_general_files(config: GenerateConfig) -> None:
    """``randomizer_parts.pkl`` and ``keys.pkl``, once all batches are there: only then are they found as finished."""
    store = Store.at(config.out)
    keys, parts = keys_and_parts(INSTRUMENT)
    store.write(PARTS, pickle.dumps(parts, protocol=4))
    store.write(KEYS, pickle.dumps(keys, protocol=4))


def write_batch(config: GenerateConfig, number: int) -> bool:
    """One batch in the notebook's layout; False when an earlier run has written it."""
    store = Store.at(config.out)
    source = SynthSource(config.seed, (number,))
    parameters = encode_parameters(source.labels(number), source.table)
    # The parameters are written after the features: where they stand, both do.
    if store.exists(parameters_path(number)) and store.read(parameters_path(number)) == parameters:
        return False
    batch, _ = source.read(number)
    store.write(features_path(number), encode_features(batch.features))
    store.write(parameters_path(number), parameters)
    return True
