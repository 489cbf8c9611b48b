"""The configuration of a search, and the only home of its defaults. The values to try are in ``space.py``."""

from __future__ import annotations

from dataclasses import dataclass

from synthray.data.manifest import Manifest
from synthray.data.open import absolute
from synthray.errors import ConfigError
from synthray.model.architectures import ARCHITECTURES
from synthray.storage import open_store
from synthray.train.config import TrainConfig
from synthray.tune.space import Axis, draw


@dataclass(frozen=True)
class SearchConfig:
    """One search."""

    data: str
    """URI of the data set."""
    out: str
    """URI of the folder for tables, best settings and checkpoints."""
    axes: tuple[Axis, ...]
    """The values to try of each setting."""
    trials: int = 16
    """Number of trials."""
    epochs: int = 10
    """Maximum epochs of a trial."""
    seed: int = 0
    """Seed of the drawn settings, and of the weights and order of each trial."""
    validation_examples: int | None = None
    """Number of held-out examples; None as in ``TrainConfig``."""
    trials_at_once: int = 0
    """Number of trials that run at the same time; 0 for one per GPU, or per CPU without GPUs."""
    gpu: bool = False
    """Reserve one GPU per trial, even if the cluster has none yet."""
    minutes: float | None = None
    """Time limit of the search; None for no limit."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "data", absolute(self.data))
        object.__setattr__(self, "out", open_store(self.out).uri)
        if self.trials < 1:
            raise ConfigError(f"trials is {self.trials}. It must be at least 1.")
        if self.trials_at_once < 0:
            raise ConfigError(f"trials_at_once is {self.trials_at_once}. It must be at least 1, or 0 for one per GPU.")
        if self.minutes is not None and not self.minutes > 0:
            raise ConfigError(f"minutes is {self.minutes}. It must be above 0.")
        if len({ARCHITECTURES[name].bins for name in self.networks}) > 1:
            raise ConfigError(
                f"network is {','.join(self.networks)}: the loss of a histogram cannot be compared with that of a "
                "number. Search these networks one after the other, each with its own --out."
            )

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the names of the networks to try."""
        return next(axis.choices for axis in self.axes if axis.name == "network")

    @property
    def bins(self) -> int:
        """Return the bins of the histograms that the networks predict, or 0 if they predict numbers."""
        return ARCHITECTURES[self.networks[0]].bins

    def configs(self, manifest: Manifest) -> list[TrainConfig]:
        """Return the training configuration of each trial.

        Raises:
            ConfigError: a trial cannot be trained on this data set.
        """
        configs = [
            TrainConfig(
                self.data, self.out, epochs=self.epochs, seed=self.seed, validation_examples=self.validation_examples,
                keep_checkpoints=1, **settings,
            )
            for settings in draw(self.axes, self.trials, self.seed)
        ]  # fmt: skip
        for config in configs:
            config.order(manifest)
            config.check_labels(manifest)
        return configs
