"""What is to be trained, and how; the only home of the defaults."""

from __future__ import annotations

import hashlib
import json
import math
from dataclasses import asdict, dataclass, fields
from types import NoneType
from typing import Any, get_args, get_type_hints

from synthray.data.manifest import Manifest
from synthray.data.open import absolute
from synthray.data.order import EpochOrder
from synthray.errors import ConfigError, ModelError, NotFound
from synthray.model.saved import SUFFIX, model_name, read_card, read_verified
from synthray.storage import open_parent, open_store

# The notebook keeps one batch of nine. Of a large data set that would be more than an epoch's end should wait for.
_HOLDOUT_SHARE = 9
_MOST_HOLDOUT = 4096
NETWORKS = ("notebook", "log")
"""Names of networks; ``synthray.model.networks`` builds them."""
LEARNING_RATES = {"sgd": 0.01, "adamw": 0.001}
"""Optimizers, and what each learns with unless told otherwise: Keras's own defaults."""
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("float32", "mixed_bfloat16")


@dataclass(frozen=True)
class TrainConfig:
    """One training.

    data, out: URIs, made absolute: workers run in folders of their own. network, width: name of a network, and units of
    its layers. batch_size: examples of a step over all workers together, so that the result does not depend on how many
    they are. learning_rate: the optimizer's default when None. weight_decay: share of the weights that a step takes
    away, times the learning rate. schedule: ``cosine`` falls to zero over all epochs. warmup_steps: in which the
    learning rate rises from zero. clip_norm: the most that the gradient of all weights together may measure. ema: decay
    of a moving average of the weights, which is then what is validated and saved. precision: of the layers' arithmetic.
    jit: compile the gradient with XLA. validation_examples: kept from training, the data set's last ones; one ninth, at
    most 4096, when None. checkpoint_steps: steps between two checkpoints, besides one after each epoch.
    keep_checkpoints: how many of the newest stay, besides that of the best epoch.
    """

    data: str
    out: str
    network: str = "notebook"
    width: int = 256
    epochs: int = 20
    batch_size: int = 32
    seed: int = 0
    optimizer: str = "sgd"
    learning_rate: float | None = None
    weight_decay: float = 0.0
    schedule: str = "constant"
    warmup_steps: int = 0
    clip_norm: float | None = None
    ema: float | None = None
    precision: str = "float32"
    jit: bool = False
    validation_examples: int | None = None
    checkpoint_steps: int = 1000
    keep_checkpoints: int = 3

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", absolute(self.data))
        object.__setattr__(self, "out", open_store(self.out).uri)
        for name, choices in (
            ("network", NETWORKS),
            ("optimizer", tuple(LEARNING_RATES)),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in choices:
                raise ConfigError(f"{name} is {getattr(self, name)!r}; it can be {', '.join(choices)}")
        if self.learning_rate is None:
            object.__setattr__(self, "learning_rate", LEARNING_RATES[self.optimizer])
        for name in ("width", "epochs", "batch_size", "checkpoint_steps", "keep_checkpoints", "validation_examples"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for name in ("warmup_steps", "weight_decay"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be at least 0, and finite")
        for name in ("learning_rate", "clip_norm"):
            if getattr(self, name) is not None and not 0 < getattr(self, name) < math.inf:
                raise ConfigError(f"{name} is {getattr(self, name)}; it must be above 0, and finite")
        if self.ema is not None and not 0 < self.ema < 1:
            raise ConfigError(f"ema is {self.ema}; it must be between 0 and 1")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed is {self.seed}; it must be from 0 to 2**63 - 1")

    def holdout(self, rows: int) -> tuple[int, int]:
        """First row and number of rows of a data set that are kept for validation: its last ones.

        Raises:
            ConfigError: nothing would be left to train on.
        """
        count = self.validation_examples or max(1, min(rows // _HOLDOUT_SHARE, _MOST_HOLDOUT))
        if count >= rows:
            raise ConfigError(f"{count} validation examples leave nothing to train on: the data set has {rows}")
        return rows - count, count

    def order(self, manifest: Manifest) -> EpochOrder:
        """The order of the training examples."""
        first_held_out, _ = self.holdout(manifest.rows)
        rows = tuple(shard.rows for shard in manifest.shards)
        return EpochOrder(rows, self.batch_size, self.seed, count=first_held_out)

    def run_digest(self, manifest: Manifest) -> str:
        """Tells this training's checkpoints and logs from another's: 16 letters of a SHA-256 of what weights depend on.

        Not of how many the workers are, which may change at any time, nor the epochs, which may be raised later, unless
        the learning rate follows them.
        """
        depends = asdict(self) | {"data": manifest.digest}
        for name in ("out", "checkpoint_steps", "keep_checkpoints"):
            del depends[name]
        if self.schedule == "constant":
            del depends["epochs"]
        return hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain values, for the card."""
        return asdict(self)


SETTINGS = frozenset(field.name for field in fields(TrainConfig)) - {"data", "out"}
"""What may stand in a file of settings."""


def load_settings(uri: str) -> dict[str, Any]:
    """The settings in the JSON file at ``uri``, for ``TrainConfig``.

    Raises:
        NotFound: there is no such file. ConfigError: it is no JSON object of settings, each of its type.
    """
    store, name = open_parent(uri)
    try:
        settings = json.loads(store.read(name))
    except ValueError as error:
        raise ConfigError(f"{uri} is not JSON: {error}") from None
    if not isinstance(settings, dict):
        raise ConfigError(f"{uri} holds no JSON object")
    if unknown := sorted(settings.keys() - SETTINGS):
        raise ConfigError(f"{uri} sets {', '.join(unknown)}; it can set {', '.join(sorted(SETTINGS))}")
    hints = get_type_hints(TrainConfig)
    for name, value in settings.items():
        kinds = get_args(hints[name]) or (hints[name],)
        if type(value) not in kinds and not (type(value) is int and float in kinds):
            wanted = " or ".join("null" if kind is NoneType else kind.__name__ for kind in kinds)
            raise ConfigError(f"{uri}: {name} is {json.dumps(value)}; it must be {wanted}")
    return settings


def already_trained(config: TrainConfig, manifest: Manifest) -> str:
    """The URI of the model where this very training has been to its end already, or ''.

    Raises:
        ConfigError: nothing would be left to train on, or ``out`` holds a model of the same name with other settings.
    """
    config.order(manifest)
    name = model_name(manifest.source["batches"], config.epochs)
    uri = f"{open_store(config.out).uri}/{name}{SUFFIX}"
    try:
        card = read_card(uri)
        known = SETTINGS | {"data", "out"}
        before = TrainConfig(**{key: value for key, value in card.config.items() if key in known})
        if card.dataset["digest"] != manifest.digest or before.run_digest(manifest) != config.run_digest(manifest):
            raise ConfigError(f"{uri} was trained with other settings or on other data: give another --out to keep it")
        read_verified(uri)
    except (NotFound, ModelError):  # or damaged, or killed between the file and its card: it is saved once more
        return ""
    return uri
