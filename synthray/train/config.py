"""Define the settings of a training; this module is the only home of their defaults.

The flags that set them are in ``synthray.cli``, and how many workers train is in ``synthray.cluster.training``.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from synthray.data.dataset import Dataset
from synthray.data.manifest import Manifest
from synthray.data.open import absolute, open_dataset
from synthray.data.order import EpochOrder
from synthray.errors import ConfigError, ModelError, NotFound
from synthray.model.architectures import ARCHITECTURES
from synthray.model.saved import SUFFIX, model_name, read_card, read_verified
from synthray.storage import open_parent, open_store

# Hold out 1/9 of the data, as the notebook does, but at most 4096 examples so that validation stays short.
_HOLDOUT_DIVISOR = 9
_MAX_HOLDOUT = 4096
# Labels outside of [0, 1] by at most this much count as 0 or 1.
_LABEL_MARGIN = 0.05
LEARNING_RATES = {"sgd": 0.01, "adamw": 0.001, "muon": 0.01}
"""Default learning rate of each optimizer. SGD's and AdamW's are Keras's, Muon's is from docs/experiments.md."""
WEIGHT_DECAYS = {"sgd": 0.0, "adamw": 0.004, "muon": 0.004}
"""Keras's default weight decay of each optimizer."""
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "mixed_bfloat16")
RECIPE: dict[str, Any] = {
    "network": "histogram",
    "optimizer": "adamw",
    "schedule": "cosine",
    "warmup_steps": None,
    "clip_norm": 5.0,
    "normalise": True,
}
"""Settings of a training for which no network is named. They work on features of any scale."""


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training.

    A changed default gives old checkpoints another meaning, because ``run_digest`` leaves defaults out. Add a field
    instead, whose default keeps the old behaviour.
    """

    data: str
    """URI of the data set, made absolute because each worker has its own working directory."""
    out: str
    """URI of the folder for model, checkpoints and logs, made absolute."""
    network: str = "notebook"
    """Name of a network, a key of ``ARCHITECTURES``."""
    width: int = 256
    """Units of the network's layers."""
    epochs: int = 20
    """Epochs to train."""
    batch_size: int = 32
    """Examples of a step over all workers, so that the result does not depend on their number."""
    seed: int = 0
    """Seed of the initial weights and of the order of examples."""
    optimizer: str = "sgd"
    """Name of an optimizer, a key of ``LEARNING_RATES``."""
    learning_rate: float | None = None
    """Peak learning rate; None for the optimizer's default."""
    weight_decay: float | None = None
    """Share of the weights that each step removes, times the learning rate; None for the optimizer's default."""
    schedule: str = "constant"
    """Schedule of the learning rate; ``cosine`` falls to zero over all epochs."""
    warmup_steps: int | None = 0
    """Steps in which the learning rate rises from zero; None for half of the first epoch, at most 500."""
    clip_norm: float | None = None
    """Limit on the global gradient norm; None for no limit."""
    ema: float | None = None
    """Decay of a moving average of the weights, which is then validated and saved; None for no average."""
    precision: str = "float32"
    """Keras dtype policy of the layers."""
    normalise: bool = False
    """Normalise the features of the analysis ``fft`` by their statistics; other analyses are already scaled."""
    audible_only: bool = False
    """Leave inaudible parameters out of the loss, if the data set is of synthray's own instrument."""
    jit: bool = False
    """Compile the gradient with XLA."""
    validation_examples: int | None = None
    """Number of last examples of the first source kept for validation; None for a ninth of them, at most 4096."""
    checkpoint_steps: int = 1000
    """Steps between two checkpoints within an epoch; each epoch also ends with one."""
    keep_checkpoints: int = 3
    """Number of newest checkpoints to keep; the best epoch's is kept too."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", absolute(self.data))
        object.__setattr__(self, "out", open_store(self.out).uri)
        self._check_choices()
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", LEARNING_RATES[self.optimizer])
        if self.weight_decay is None:
            object.__setattr__(self, "weight_decay", WEIGHT_DECAYS[self.optimizer])
        self._check_numbers()

    def _check_choices(self) -> None:
        kinds = {"network": tuple(ARCHITECTURES), "optimizer": tuple(LEARNING_RATES)}
        kinds |= {"schedule": SCHEDULES, "precision": PRECISIONS}
        for name, choices in kinds.items():
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is {getattr(self, name)!r}. It must be one of: {', '.join(choices)}.")

    def _check_numbers(self) -> None:
        def check(is_valid: Callable[[float], bool], expected: str, *names: str) -> None:
            for name in names:
                value = getattr(self, name)
                if value is not None and not is_valid(value):
                    raise ConfigError(f"{name} is {value}. It must be {expected}.")

        counts = ("width", "epochs", "batch_size", "checkpoint_steps", "keep_checkpoints", "validation_examples")
        check(lambda value: value >= 1, "at least 1", *counts)
        check(lambda value: 0 <= value < math.inf, "finite and at least 0", "warmup_steps", "weight_decay")
        check(lambda value: 0 < value < math.inf, "finite and above 0", "learning_rate", "clip_norm")
        check(lambda value: 0 < value < 1, "between 0 and 1", "ema")
        check(lambda value: 0 <= value < 2**63, "from 0 to 2**63 - 1", "seed")

    def open_data(self) -> Dataset:
        """Open the data set. Where its sounds are rendered, they get the features that the network prefers."""
        return open_dataset(self.data).with_analysis(ARCHITECTURES[self.network].analysis)

    def normalises(self, dataset: Dataset) -> bool:
        """Return whether the network normalises the features of a data set from ``open_data``."""
        return self.normalise and dataset.analysis == "fft"

    def holdout(self, manifest: Manifest) -> tuple[int, int]:
        """Return the first row and the number of the rows that are kept for validation.

        They are the last rows of the first source. So the same rows are held out before and after an append, and losses
        can be compared.

        Raises:
            ConfigError: no row is left to train on.
        """
        rows = manifest.first_part_rows
        count = self.validation_examples or max(1, min(rows // _HOLDOUT_DIVISOR, _MAX_HOLDOUT))
        if count >= rows:
            raise ConfigError(
                f"{count} validation examples leave nothing to train on: the data set has {rows} examples, without the "
                "appended ones. Lower validation_examples or use a larger data set."
            )
        return rows - count, count

    def order(self, manifest: Manifest) -> EpochOrder:
        """Return the order of the training examples. Raises ConfigError if there are none."""
        first, count = self.holdout(manifest)
        rows = tuple(shard.rows for shard in manifest.shards)
        return EpochOrder(rows, self.batch_size, self.seed, left_out=(first, first + count))

    def check_labels(self, manifest: Manifest) -> None:
        """Check that a network that predicts histograms can learn the ranges of a data set.

        Raises:
            ConfigError: a range has labels outside of [0, 1], which a histogram does not cover.
        """
        if not ARCHITECTURES[self.network].bins:
            return
        for parameter in manifest.table.ranges:
            low, high = (manifest.statistics[parameter.name][extreme] for extreme in ("minimum", "maximum"))
            if low < -_LABEL_MARGIN or high > 1 + _LABEL_MARGIN:
                raise ConfigError(
                    f"{parameter.name}: its positions are from {low:g} to {high:g}, but network {self.network!r} "
                    f"predicts positions in [0, 1]. Set the range's random_values in randomizer_parts.pkl to the "
                    "smallest and the largest number and convert again, or give --network notebook --normalise."
                )

    def run_digest(self, manifest: Manifest) -> str:
        """Return 16 hexadecimal digits that identify this training's checkpoints and logs.

        It is a SHA-256 of the data set's digest and of the settings that weights depend on. The number of workers may
        change at any time. The epochs may be raised later, unless the learning rate depends on them.

        Settings that have their default are left out, so that a new field keeps the digest of existing checkpoints.
        """
        irrelevant = {"out", "checkpoint_steps", "keep_checkpoints"}
        if self.schedule == "constant":
            irrelevant.add("epochs")
        settings = [(field.name, getattr(self, field.name), field.default) for field in fields(self)]
        relevant = {name: value for name, value, default in settings if value != default and name not in irrelevant}
        relevant["data"] = manifest.digest
        if manifest.first_part_rows < manifest.rows:
            relevant["holdout"] = "first part"  # older checkpoints held out the end of all examples instead
        return hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain values, for cards and logs."""
        return asdict(self)


SETTINGS = frozenset(field.name for field in fields(TrainConfig)) - {"data", "out"}
"""Names that a file of settings may hold."""


def with_recipe(settings: dict[str, Any]) -> dict[str, Any]:
    """Return settings for ``TrainConfig``. If they name no network, ``RECIPE`` fills in the missing ones."""
    return settings if "network" in settings else RECIPE | settings


def load_settings(uri: str) -> dict[str, Any]:
    """Return the settings in a JSON file, as arguments for ``TrainConfig``.

    Raises:
        NotFound: the file does not exist.
        ConfigError: it is not a JSON object of known settings with values of the right types.
    """
    store, name = open_parent(uri)
    try:
        settings = json.loads(store.read(name))
    except ValueError as error:
        raise ConfigError(f"{uri}: not JSON ({error}). Give a JSON object of settings.") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{uri}: not a JSON object. Give a JSON object of settings.")
    if unknown := sorted(settings.keys() - SETTINGS):
        raise ConfigError(f"{uri}: unknown settings ({', '.join(unknown)}). Choose from {', '.join(sorted(SETTINGS))}.")
    hints = get_type_hints(TrainConfig)
    for name, value in settings.items():
        kinds = get_args(hints[name]) or (hints[name],)
        if type(value) not in kinds and not (type(value) is int and float in kinds):
            wanted = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
            raise ConfigError(f"{uri}: {name} is {json.dumps(value)}. It must be {wanted}.")
    return settings


def already_trained(config: TrainConfig, manifest: Manifest) -> str:
    """Return the URI of the model that this training has already saved, or ''.

    Raises:
        ConfigError: no row is left to train on, the network cannot learn the labels, or ``out`` holds a model of this
            name from another training.
    """
    config.order(manifest)
    config.check_labels(manifest)
    uri = f"{config.out}/{model_name(manifest.source['batches'], config.epochs)}{SUFFIX}"
    try:
        card = read_card(uri)
        known = SETTINGS | {"data", "out"}
        before = TrainConfig(**{key: value for key, value in card.config.items() if key in known})
        if card.dataset["digest"] != manifest.digest or before.run_digest(manifest) != config.run_digest(manifest):
            raise ConfigError(f"{uri}: trained with other settings or data. To keep this model, give another --out.")
        read_verified(uri)
    except (NotFound, ModelError):
        # A model without a card, left by a killed job, or a corrupt one is saved again.
        return ""
    return uri
